"""One YAML file says everything about a run; it is checked whole before anything runs."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Union, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from steadyrank.models.score import names_in, parse_score, score_names
from steadyrank.pipeline.config.gates import (
    AucGate,
    CalibrationGate,
    DecilesGate,
    DivergenceGate,
    DriftGate,
    Gates,
    LatencyGate,
    LossGate,
    SizeGate,
    SkewGate,
    SliceGate,
    StabilityGate,
)
from steadyrank.pipeline.config.next_item import KIND, SECTIONS, SequenceConfig
from steadyrank.pipeline.config.section import Section
from steadyrank.pipeline.config.sections import (
    CategoricalFeature,
    Data,
    DenseOptimizer,
    EmbeddingOptimizer,
    Export,
    FeatureConfig,
    Join,
    Nightly,
    NumericFeature,
    SequenceFeature,
    Serving,
    Split,
    TaskConfig,
    Train,
    column,
)
from steadyrank.pipeline.config.sweep import Constraint, Objective, Parameter, Sweep, When
from steadyrank.pipeline.config.task_weights import METHODS
from steadyrank.pipeline.config.trunks import TRUNKS, History
from steadyrank.pipeline.files.errors import InputError, near


class Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2: ``on`` is a word, and a join's key.

    And without keys that stand twice, of which PyYAML takes the last.
    """

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        lines = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise yaml.YAMLError(
                    f"{key.value!r} stands in line {lines[name]} and again in line {line}. "
                    "Keep one"
                )
            lines[name] = line
        return node


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"))
        if tag == "tag:yaml.org,2002:bool"
        else (tag, pattern)
        for tag, pattern in resolvers
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Config(Section):
    """A whole run."""

    data: Data
    features: Annotated[list[FeatureConfig], Field(min_length=1)]
    tasks: Annotated[list[TaskConfig], Field(min_length=1)]
    score: str = ""  # "": the product of the binary tasks' probabilities
    model: Annotated[Union[TRUNKS], Field(discriminator="trunk")]  # noqa: UP007
    train: Train = Train()
    serving: Serving = Serving()
    export: Export = Export()
    gates: Gates = Gates()
    sweep: Sweep | None = None
    nightly: Nightly = Nightly()

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
        for feature in self.features:
            if column(feature) in told:
                raise ValueError(
                    f"features.{feature.name}: column {column(feature)!r} is a task's "
                    f"{told[column(feature)]}; a feature must be known before the "
                    "engagement"
                )
        names = score_names(self.tasks, self.features)
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
        embedded = [f for f in self.features if getattr(f, "buckets", 2) > 1]
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
        return self

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
    def _shared(self):
        names = [feature.name for feature in self.features]
        for name in self.serving.shared:
            if name not in names:
                raise ValueError(
                    f"serving.shared: {name!r} is no feature. {near(name, names)}"
                )
        if len(set(self.serving.shared)) == len(names):
            raise ValueError(
                "serving.shared names all features: candidates must differ in some"
            )
        return self

    @model_validator(mode="after")
    def _gates(self):
        self._judged_tasks(self.gates, "gates")
        if self.gates.gauc and self.data.group is None:
            raise ValueError("gates.gauc: needs data.group, the users to average over")
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
                        "a categorical one of a single value, or one with buckets. "
                        + near(name, sliceable)
                    )
        return self

    def _judged_tasks(self, gates: Gates | SliceGate, where: str) -> None:
        binary = [task.name for task in self.tasks if task.kind == "binary"]
        names = {"calibration": [task.name for task in self.tasks]}
        for gate in ("auc", "gauc", "log_loss", "normalized_entropy", "calibration"):
            for name, limits in getattr(gates, gate, {}).items():
                allowed = names.get(gate, binary)
                if getattr(limits, "deciles", None):
                    allowed = binary
                if name not in allowed:
                    raise ValueError(
                        f"{where}.{gate}: {name!r} is no task it can judge. "
                        + near(name, allowed)
                    )

    @property
    def score_formula(self) -> str:
        if self.score:
            return self.score
        return " * ".join(t.name for t in self.tasks if t.kind == "binary") or "0"


def _is_sliceable(feature: FeatureConfig) -> bool:
    if feature.kind == "numeric":
        return feature.buckets > 1
    return not feature.max_values


def load_config(path: Path, overrides: list[str] | None = None) -> Config:
    """Read, override and check a config file.

    Args:
        path: A YAML file.
        overrides: ``"train.batch_size=65536"``: a key's path, and its value in YAML.
            Items of a list go by name or number: ``features.user_id.dim=8``.

    Returns:
        The checked config.

    Raises:
        InputError: The file is missing, is not YAML or says what is not possible;
            the message names the key and the fix.
    """
    return parse_config(read_document(path, overrides), str(path))


def load_any_config(path: Path, overrides: list[str] | None = None):
    """The same for a config of either kind: a ``Config``, or a ``SequenceConfig``."""
    document = read_document(path, overrides)
    return _parse(_kind(document), document, str(path))


def read_document(path: Path, overrides: list[str] | None = None) -> dict:
    """Read and override a config file, unchecked; see ``load_config``."""
    try:
        document = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise InputError(f"cannot read config {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # of UTF-8, of a date
        raise InputError(f"config {path} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"config {path} must hold keys such as data, features, tasks.")
    for override in overrides or []:
        _override(document, override)
    return document


def parse_config(document: dict, source: str) -> Config:
    """Check a config that is already a dictionary; see ``load_config``."""
    if _kind(document) is SequenceConfig:
        raise InputError(
            f"config {source}: model.kind is {KIND}, and this is for ranking models. Next-"
            "item models have preprocess, train, export, evaluate, run, release, inspect."
        )
    return _parse(Config, document, source)


def parse_sequence_config(document: dict, source: str) -> SequenceConfig:
    """Check a next-item model's config that is already a dictionary."""
    return _parse(SequenceConfig, document, source)


def _kind(document: dict) -> type[Section]:
    """The one place that tells the two kinds of configs apart."""
    model = document.get("model")
    if not isinstance(model, dict) or "kind" not in model:
        return Config
    if model["kind"] != KIND:
        raise InputError(
            f"model.kind must be {KIND}; a ranking model has model.trunk in its place. "
            f"Received: {model['kind']!r}."
        )
    return SequenceConfig


def _parse(section: type[Section], document: dict, source: str):
    try:
        return section.model_validate(document)
    except ValidationError as error:
        lines = [_explain(e, document, section) for e in error.errors()]
        raise InputError(f"config {source}:\n  " + "\n  ".join(lines)) from None


def _override(document: dict, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"--set must be key.path=value. Received: {override!r}")
    try:
        value = yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError) as error:  # of a date
        raise InputError(f"--set {path}: the value is not YAML: {error}") from None
    set_key(document, path, value, "--set")


def set_key(document: dict, path: str, value: object, source: str) -> None:
    """Set a key of a config that is still a dictionary.

    Args:
        document: It is changed.
        path: Such as ``train.batch_size``; items of a list go by name or number.
        value: The key's value.
        source: Who asks, for the message: ``"--set"``.

    Raises:
        InputError: The path leads through what is no section.
    """
    *parents, last = path.split(".")
    node = document
    for part in parents:
        node = _child(node, part, path, source)
    if not isinstance(node, dict):
        raise InputError(f"{source} {path}: set a key of an item, such as {path}.dim=8")
    node[last] = value


def _child(node, part: str, path: str, source: str):
    if isinstance(node, dict):
        return node.setdefault(part, {})
    if isinstance(node, list):
        named = {str(i.get("name")): i for i in node if isinstance(i, dict)}
        if part in named:
            return named[part]
        if part.isdigit() and int(part) < len(node):
            return node[int(part)]
        raise InputError(f"{source} {path}: there is no {part!r}. {near(part, named)}")
    raise InputError(f"{source} {path}: {part!r} is not a section.")


def _explain(error: dict, document: dict, root: type[Section]) -> str:
    """One line about one mistake: the key's path by name, what is wrong, what to do."""
    path, node, siblings = [], document, None
    for part in error["loc"]:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            name = node.get("name", part) if isinstance(node, dict) else part
            path.append(str(name))
        elif isinstance(node, dict) and part in node:
            siblings, node = part, node[part]
            path.append(str(part))
        elif not isinstance(node, dict) or error["type"] == "missing":
            path.append(str(part))
    where = ".".join(path) or "config"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key. {near(str(siblings), _keys(error['loc'], root))}"
    message = error["msg"].removeprefix("Value error, ")
    received = error.get("input")
    if isinstance(received, dict | list | BaseModel) or error["type"] == "missing":
        return f"{where}: {message}"
    return f"{where}: {message}. Received: {received!r}"


def name_of(section: type[Section], key: str) -> str:
    """The one value that a section's key may have."""
    return get_args(section.model_fields[key].annotation)[0]


def _keys(location: tuple, root: type[Section] = Config) -> list[str]:
    """The keys that a section allows, found by walking the models along a location."""
    kinds = {
        "categorical": CategoricalFeature,
        "numeric": NumericFeature,
        "sequence": SequenceFeature,
        "history": History,
        **{name_of(section, "trunk"): section for section in TRUNKS},
        **{name_of(section, "method"): section for section in METHODS},
        "data": Data,
        "join": Join,
        "split": Split,
        "tasks": TaskConfig,
        "train": Train,
        "serving": Serving,
        "export": Export,
        "nightly": Nightly,
        "dense": DenseOptimizer,
        "embedding": EmbeddingOptimizer,
        "gates": Gates,
        "auc": AucGate,
        "gauc": AucGate,
        "log_loss": LossGate,
        "normalized_entropy": LossGate,
        "calibration": CalibrationGate,
        "deciles": DecilesGate,
        "slices": SliceGate,
        "drift": DriftGate,
        "size": SizeGate,
        "latency": LatencyGate,
        "stability": StabilityGate,
        "skew": SkewGate,
        "divergence": DivergenceGate,
        "sweep": Sweep,
        "space": Parameter,
        "when": When,
        "objective": Objective,
        "constraint": Constraint,
    }
    section = root
    for part in location[:-1]:
        section = (SECTIONS if root is SequenceConfig else kinds).get(part, section)
    return list(section.model_fields)
