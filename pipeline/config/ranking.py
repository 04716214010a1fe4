"""The config of a ranking model, and what its sections must agree on."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, PrivateAttr, model_validator

from steadyrank.models.features import CLOCKS
from steadyrank.models.score import names_in, parse_score, score_names
from steadyrank.pipeline.config.contract import Contract
from steadyrank.pipeline.config.events import is_from_events, require_events
from steadyrank.pipeline.config.features import (
    CategoricalFeature,
    FeatureConfig,
    has_column,
    is_dropped,
    is_embedded,
)
from steadyrank.pipeline.config.gates import Gates, SliceGate
from steadyrank.pipeline.config.log import Data
from steadyrank.pipeline.config.section import Section
from steadyrank.pipeline.config.stages import Export, Importance, Nightly, Serving, Tracking
from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.config.tasks import TaskConfig, column
from steadyrank.pipeline.config.training import Train
from steadyrank.pipeline.config.trunks import AnyTrunk
from steadyrank.pipeline.files.errors import near

# gates whose limits stand by task
JUDGED = ("auc", "gauc", "log_loss", "normalized_entropy", "score_gauc", "score_ndcg")
JUDGED += ("calibration",)
DRAWN = "data.negatives"  # in the place of a column of sample weights


class Config(Section):
    """A whole run."""

    data: Data
    """Where the log is, and how it is ordered and split."""
    features: Annotated[list[FeatureConfig], Field(min_length=1)]
    """What is known before the engagement."""
    tasks: Annotated[list[TaskConfig], Field(min_length=1)]
    """What is to be foretold."""
    score: str = ""
    """A formula over tasks and numeric features; empty: the product of the binary tasks, or
    of none of them, the first task."""
    contract: Contract | None = Contract()
    """What each new day must keep of those before; see [logs](logs.md#contract). null:
    nothing is held."""
    model: Annotated[AnyTrunk, Field(discriminator="trunk")]
    """The network, by its `trunk`."""
    train: Train = Train()
    """How long and how fast to train."""
    serving: Serving = Serving()
    """How the export is called."""
    export: Export = Export()
    """How the export is stored."""
    gates: Gates = Gates()
    """What a model must pass to be released; see [gates](gates.md)."""
    sweep: Sweep | None = None
    """Which settings `sweep` tries; see [sweeps](sweeps.md). null: none."""
    nightly: Nightly = Nightly()
    """What nights train on; see [nights](nightly.md)."""
    importance: Importance = Importance()
    """How much each feature matters, in the report; see [gates](gates.md#importance)."""
    tracking: Tracking = Tracking()
    """Where the run is told of, beside its own folder: an MLflow server."""
    _kept: tuple[FeatureConfig, ...] = PrivateAttr(())

    @property
    def from_events(self) -> tuple[FeatureConfig, ...]:
        """Features that are made out of the log's earlier rows: its own, and those kept."""
        return (*filter(is_from_events, self.features), *self._kept)

    def keeping(self, features: Iterable[FeatureConfig]) -> "Config":
        """A copy that makes further features from events: those that a baseline reads."""
        copy = self.model_copy()
        copy._kept = tuple(features)
        return copy

    @model_validator(mode="after")
    def _names(self):
        for section in ("features", "tasks"):
            counts = Counter(item.name for item in getattr(self, section))
            twice = [name for name, count in counts.items() if count > 1]
            if twice:
                raise ValueError(f"{section}: names must differ. Received twice: {twice}")
        if "score" in [task.name for task in self.tasks]:
            raise ValueError("tasks: 'score' is the name of the combined score")
        told = {task.truth: "truth" for task in self.tasks if task.truth}
        told |= {column(task): "label" for task in self.tasks}
        for feature in filter(has_column, self.features):
            if column(feature) in told:
                raise ValueError(
                    f"features.{feature.name}: column {column(feature)!r} is a task's "
                    f"{told[column(feature)]}; a feature must be known before the "
                    "engagement"
                )
        served = [f for f in self.features if not is_dropped(f)]
        names = score_names(self.tasks, served)
        self._check_score(names_in(parse_score(self.score_formula, names)))
        return self

    def _check_score(self, used: set[str]) -> None:
        tasks = {task.name for task in self.tasks}
        both = used & tasks & {feature.name for feature in self.features}
        if both:
            raise ValueError(
                f"score: {sorted(both)} is a task and a feature. Rename one of them: "
                "features.*.column keeps the column"
            )

    @model_validator(mode="after")
    def _task_names(self):
        tasks = [task.name for task in self.tasks]
        reads = getattr(self.model, "reads", {})
        named = {f"model.reads.{task}": [task, *others] for task, others in reads.items()}
        gamma = getattr(self.train.task_weights, "gamma", {})
        named |= {f"train.task_weights.gamma.{task}": [task] for task in gamma}
        for where, names in named.items():
            for name in names:
                if name not in tasks:
                    raise ValueError(f"{where}: {name!r} is no task. {near(name, tasks)}")
        return self

    @model_validator(mode="after")
    def _tables(self):
        features = {feature.name: feature for feature in self.features}
        for feature in self.features:
            owner = getattr(feature, "table", "")
            if not owner:
                continue
            key = "of" if feature.kind == "sequence" else "table"
            where, other = f"features.{feature.name}.{key}", features.get(owner)
            if other is None or other.kind != "categorical" or other.table:
                own = [f.name for f in self.features if not getattr(f, "table", "x")]
                raise ValueError(
                    f"{where}: {owner!r} is no categorical feature with a table of its "
                    f"own. {near(owner, own)}"
                )
            for key in ("dim", "oov_buckets"):
                value = getattr(feature, key, getattr(other, key))
                if value != getattr(other, key):
                    raise ValueError(
                        f"{where}: shares a table with {owner}, so {key} must be "
                        f"{getattr(other, key)}, too. Received: {value}"
                    )
        return self

    @model_validator(mode="after")
    def _dropped(self):
        dropped = [feature.name for feature in self.features if is_dropped(feature)]
        if len(dropped) == len(self.features):
            raise ValueError(
                "features: all have serving: drop; a model must be served some feature"
            )
        for feature in self.features:
            if getattr(feature, "table", "") in dropped:
                raise ValueError(
                    f"features.{feature.name}: {feature.table} has serving: drop, and no "
                    "served feature shares its table"
                )
        named = {"serving.shared": self.serving.shared}
        named["importance.together"] = [n for u in self.importance.together for n in u]
        for where, names in named.items():
            for name in names:
                if name in dropped:
                    raise ValueError(
                        f"{where}: {name!r} has serving: drop: no export reads it"
                    )
        return self

    @model_validator(mode="after")
    def _late(self):
        for task in self.tasks:
            if task.matures_after and not self.data.time:
                raise ValueError(
                    f"tasks.{task.name}.matures_after is counted from each row's time; "
                    "data.time must name it"
                )
            if task.matures_after and task.name == self.drawn_task:
                raise ValueError(
                    f"tasks.{task.name}.matures_after: data.negatives draws for this task, "
                    "whose positives alone are in the log; leave it out"
                )
        return self

    @model_validator(mode="after")
    def _sequences(self):
        for feature in self.features:
            if feature.kind == "sequence" and self.owner(feature).max_values:
                raise ValueError(
                    f"features.{feature.name}.of: {feature.of} holds several values of a "
                    "row; a sequence is of a feature of a single value"
                )
        return self

    def owner(self, feature: FeatureConfig) -> CategoricalFeature:
        """The feature whose vocabulary and table one reads: mostly its own."""
        named = {item.name: item for item in self.features}
        return named.get(getattr(feature, "table", ""), feature)

    @model_validator(mode="after")
    def _expiring(self):
        for feature in self.features:
            if not getattr(feature, "expire_after", None):
                continue
            if not self.data.split.by_moments or self.data.window is None:
                raise ValueError(
                    f"features.{feature.name}.expire_after: counts days of training rows, "
                    "which needs data.time, data.window and a split by moments"
                )
        return self

    @model_validator(mode="after")
    def _crosses(self):
        single = [f.name for f in self.features if _is_crossed(f)]
        for feature in self.features:
            for name in feature.of if feature.kind == "cross" else ():
                if name not in single:
                    raise ValueError(
                        f"features.{feature.name}.of: {name!r} is no feature to cross: a "
                        "categorical one of a single value, a hash, an hour or a weekday, "
                        "and served. " + near(name, single)
                    )
        return self

    @model_validator(mode="after")
    def _from_events(self):
        require_events(self)
        return self

    @model_validator(mode="after")
    def _shared_weights(self):
        method = getattr(self.train.task_weights, "method", "fixed")
        if method in ("gradnorm", "pcgrad") and self.model.trunk in ("lr", "fm"):
            raise ValueError(
                f"train.task_weights: {method} compares gradients in the trunk, which "
                f"{self.model.trunk} has not; choose another method"
            )
        return self

    @model_validator(mode="after")
    def _products(self):
        if self.model.trunk not in ("fm", "deepfm"):
            return self
        for feature in self.features:
            dim = getattr(feature, "dim", None)
            if dim not in (None, self.model.embedding_dim):
                raise ValueError(
                    f"features.{feature.name}.dim: {self.model.trunk} multiplies "
                    f"embeddings, which must be as wide as model.embedding_dim "
                    f"({self.model.embedding_dim}). Received: {dim}"
                )
        embedded = [f for f in self.features if is_embedded(f) and not is_dropped(f)]
        if len(embedded) < 2:
            raise ValueError(
                f"model.trunk: {self.model.trunk} multiplies embedded features, of which "
                f"there must be two. Received: {[f.name for f in embedded]}"
            )
        return self

    @model_validator(mode="after")
    def _given(self):
        tasks = {task.name: task for task in self.tasks}
        for task in self.tasks:
            chain, given = [task.name], task.given
            while given:
                if given not in tasks:
                    raise ValueError(
                        f"tasks.{task.name}.given: {given!r} is no task. "
                        + near(given, tasks)
                    )
                if given in chain:
                    raise ValueError(f"tasks.{task.name}.given: goes round: {chain}")
                if tasks[given].kind != "binary":
                    raise ValueError(f"tasks.{task.name}.given: {given!r} is not binary")
                chain.append(given)
                given = tasks[given].given
            if task.space == "all":
                _require_plain([tasks[name] for name in chain])
                _require_soft([tasks[name] for name in chain])
        return self

    @model_validator(mode="after")
    def _ranked(self):
        if self.ranks_groups and self.data.group is None:
            (name, *_) = (t.name for t in self.tasks if t.ranking != "none")
            raise ValueError(
                f"tasks.{name}.ranking: orders rows within data.group, a user or a "
                "request, which is not set"
            )
        return self

    @model_validator(mode="after")
    def _taught(self):
        taught = [task.name for task in self.tasks if task.soft_label]
        dropped = [feature.name for feature in self.features if is_dropped(feature)]
        if taught and dropped:
            raise ValueError(
                f"tasks.{taught[0]}.soft_label: the teacher foretold as it is served, and "
                f"features.{dropped[0]}.serving: drop is of what biased the log; leave one "
                "of them out"
            )
        return self

    @property
    def ranks_groups(self) -> bool:
        """Whether a task has a loss of the order within groups."""
        return any(task.ranking != "none" for task in self.tasks)

    @model_validator(mode="after")
    def _monitor(self):
        names = [task.name for task in self.tasks]
        if self.train.monitor not in ("mean_auc", *names):
            raise ValueError(
                f"train.monitor: {self.train.monitor!r} is neither mean_auc nor a task. "
                + near(self.train.monitor, ["mean_auc", *names])
            )
        if self.train.monitor == "mean_auc" and not any(
            task.kind == "binary" for task in self.tasks
        ):
            raise ValueError("train.monitor: mean_auc needs a binary task; name a task")
        return self

    @model_validator(mode="after")
    def _together(self):
        names = [feature.name for feature in self.features]
        for name in (name for unit in self.importance.together for name in unit):
            if name not in names:
                raise ValueError(
                    f"importance.together: {name!r} is no feature. {near(name, names)}"
                )
        return self

    @model_validator(mode="after")
    def _shared(self):
        names = [feature.name for feature in self.features]
        for name in self.serving.shared:
            if name not in names:
                raise ValueError(
                    f"serving.shared: {name!r} is no feature. {near(name, names)}"
                )
        crosses = [f.name for f in self.features if not has_column(f)]
        for name in self.serving.shared:
            if name in crosses:
                raise ValueError(
                    f"serving.shared: {name!r} is a cross, which is shared where all that "
                    "it is of are; leave it out"
                )
        served = [f.name for f in self.features if not is_dropped(f) and has_column(f)]
        if {*served} <= {*self.serving.shared}:
            raise ValueError(
                "serving.shared names all features: candidates must differ in some"
            )
        return self

    @model_validator(mode="after")
    def _gates(self):
        self._judged_tasks(self.gates, "gates")
        for name in ("gauc", "score_gauc", "score_ndcg"):
            if getattr(self.gates, name) and self.data.group is None:
                raise ValueError(
                    f"gates.{name}: needs data.group, the users to average over"
                )
        latency = self.gates.latency
        if latency and latency.signature == "candidates" and not self.serving.shared:
            raise ValueError(
                "gates.latency.signature: an export has candidates only where "
                "serving.shared names the features that they share"
            )
        sliceable = [f.name for f in self.features if _is_sliceable(f)]
        for number, item in enumerate(self.gates.slices):
            self._judged_tasks(item, f"gates.slices.{number}")
            for name in item.by:
                if name not in sliceable:
                    raise ValueError(
                        f"gates.slices.{number}.by: {name!r} is no feature to slice by: "
                        "a categorical one of a single value, an hour, a weekday, or one "
                        "with buckets. " + near(name, sliceable)
                    )
        return self

    def _judged_tasks(self, gates: Gates | SliceGate, where: str) -> None:
        binary = [task.name for task in self.tasks if task.kind == "binary"]
        names = {"calibration": [task.name for task in self.tasks]}
        for gate in JUDGED:
            for name, limits in getattr(gates, gate, {}).items():
                allowed = names.get(gate, binary)
                if getattr(limits, "deciles", None):
                    allowed = binary
                if name not in allowed:
                    raise ValueError(
                        f"{where}.{gate}: {name!r} is no task it can judge. "
                        + near(name, allowed)
                    )

    @model_validator(mode="after")
    def _sampled(self):
        data = self.data
        if data.downsample:
            said = f"leaves out negatives of {data.downsample.task}"
            self._alone("data.downsample", data.downsample.task, said)
        if data.negatives:
            name = self.drawn_task
            self._alone("data.negatives", name, f"draws negatives of {name}")
            self._plain_positives(name)
        return self

    def _alone(self, key: str, asked: str, said: str) -> None:
        """Raise unless all tasks have labels where one has, and that one in all rows."""
        tasks = {task.name: task for task in self.tasks}
        binary = [name for name, task in tasks.items() if task.kind == "binary"]
        if asked not in binary:
            raise ValueError(
                f"{key}.task: {asked!r} is no binary task. {near(asked, binary)}"
            )
        if tasks[asked].given:
            raise ValueError(
                f"{key}.task: {asked} is given by {tasks[asked].given}: name a task that "
                "exists in all rows"
            )
        for name, task in tasks.items():
            if task.space == "all":
                raise ValueError(
                    f"{key}: {said}, and tasks.{name}.space: all is of whole logs; take "
                    "space: given"
                )
            while task.given:
                task = tasks[task.given]
            if task.name != asked:
                raise ValueError(
                    f"{key}: {said}, of which {name} has labels, too: its rate would be "
                    f"another. Give it given: {asked}, or keep the rows as they are"
                )

    def _plain_positives(self, name: str) -> None:
        (task,) = (task for task in self.tasks if task.name == name)
        for key in ("negative_rate", "sample_weight", "truth", "soft_label"):
            if getattr(task, key) != type(task).model_fields[key].default:
                raise ValueError(
                    f"tasks.{name}.{key}: the log has no negative of {name}, as "
                    "data.negatives draws them; remove the one or the other"
                )
        labels = {column(task) for task in self.tasks}
        for drawn in self.data.negatives.item_columns:
            if drawn in labels:
                raise ValueError(f"data.negatives: column {drawn!r} is a task's label")

    @property
    def drawn_task(self) -> str:
        """The task that ``data.negatives`` draws for; ``""``: there is none."""
        asked = self.data.negatives
        if asked is None:
            return ""
        free = [task.name for task in self.tasks if not task.given]
        return asked.task or free[0]

    def negative_rate(self, task: TaskConfig) -> float:
        """Fraction of a task's negatives that examples hold: what the log kept, sampled.

        Of drawn ones it is known once the items are counted.
        """
        asked = self.data.downsample
        sampled = asked is not None and asked.task == task.name
        return task.negative_rate * (asked.keep if sampled else 1.0)

    def sample_weight(self, task: TaskConfig) -> str:
        """The column that weighs a task's rows; ``DRAWN``: preprocessing weighs them."""
        asked = self.data.negatives
        weighs = asked is not None and asked.source == "popularity"
        return DRAWN if weighs and task.name == self.drawn_task else task.sample_weight

    def is_stated(self, task: TaskConfig) -> bool:
        """Whether a task's label may be no column: all rows of the log are positives."""
        return task.name == self.drawn_task and not task.column and task.at_least is None

    @property
    def score_formula(self) -> str:
        if self.score:
            return self.score
        binary = [task.name for task in self.tasks if task.kind == "binary"]
        return " * ".join(binary) or self.tasks[0].name


def _is_sliceable(feature: FeatureConfig) -> bool:
    if feature.kind in ("numeric", "vector"):
        return is_embedded(feature)
    by_hash = feature.kind in ("hash", "cross")
    return not by_hash and not getattr(feature, "max_values", 0)


def _is_crossed(feature: FeatureConfig) -> bool:
    """Whether a cross may be of it."""
    if getattr(feature, "max_values", 0) or is_dropped(feature):
        return False
    return feature.kind in ("categorical", "hash", *CLOCKS)


def _require_soft(chain: list[TaskConfig]) -> None:
    """Raise where a teacher is asked for a product of which it foretold a part."""
    bare = [task.name for task in chain if not task.soft_label]
    if chain[0].soft_label and bare:
        raise ValueError(
            f"tasks.{chain[0].name}.soft_label: of space: all it takes those of all that "
            f"it is given; set tasks.{bare[0]}.soft_label, or take space: given"
        )


def _require_plain(chain: list[TaskConfig]) -> None:
    """Raise where a product of probabilities would not be that of the whole log."""
    for task in chain:
        for key, plain in (
            ("negative_rate", 1),
            ("positive_weight", 1),
            ("sample_weight", ""),
        ):
            if getattr(task, key) != plain:
                raise ValueError(
                    f"tasks.{chain[0].name}.space: all takes {task.name} as it came to be "
                    f"in the log; leave out tasks.{task.name}.{key}, or take space: given"
                )
