"""One YAML file says everything about a run; it is checked whole before anything runs."""

import datetime
import re
import zoneinfo
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from models.score import parse_score
from pipeline.errors import InputError, near

UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2: ``on`` is a word, and a join's key."""


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"))
        if tag == "tag:yaml.org,2002:bool"
        else (tag, pattern)
        for tag, pattern in resolvers
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class Section(BaseModel):
    """What all sections share: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Join(Section):
    """A side table, joined to every row: the row stays where the key is unknown."""

    input: str
    on: str
    prefix: str = ""  # put before the side table's column names


class Split(Section):
    """Either the first moment of each evaluation split, or random fractions of the rows."""

    validation: float | datetime.datetime | datetime.date
    test: float | datetime.datetime | datetime.date

    @model_validator(mode="after")
    def _consistent(self):
        kinds = {isinstance(v, float) for v in (self.validation, self.test)}
        if len(kinds) == 2:
            raise ValueError("validation and test must both be moments, or fractions")
        if self.by_fraction:
            if not (min(self.validation, self.test) > 0 < 1 - self.validation - self.test):
                raise ValueError("fractions must be above 0 and leave rows to train on")
        elif (_moment(self.validation).tzinfo is None) != (
            _moment(self.test).tzinfo is None
        ):
            raise ValueError("say the zone of both moments, or of none")
        elif _moment(self.validation) >= _moment(self.test):
            raise ValueError(
                f"validation must begin before test. Received: "
                f"validation={self.validation}, test={self.test}"
            )
        return self

    @property
    def by_fraction(self) -> bool:
        return isinstance(self.validation, float)


def _moment(value: datetime.date) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime.combine(value, datetime.time())


class Data(Section):
    """Where the log is, and how it is ordered and split."""

    input: Annotated[list[str], Field(min_length=1)]
    join: list[Join] = []
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","  # of CSV files
    time: str | None = None  # the column that orders training
    time_unit: Literal["s", "ms", "us"] = "ms"  # of an integer time column
    timezone: str = "UTC"  # windows and split moments are read in it
    window: str | None = "1d"  # null: one window
    split: Split
    group: str | None = None  # for GAUC, mostly the user
    drop_duplicates: bool = True  # rows that are equal in every column of the log
    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.01  # fraction of the rows

    @field_validator("window")
    @classmethod
    def _window(cls, value):
        if value is not None and not re.fullmatch(r"[1-9]\d*[mhd]", value):
            raise ValueError("must be a count of m, h or d, such as 1d or 6h, or null")
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value):
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            raise ValueError("must be a time zone name such as Asia/Shanghai") from None
        return value

    @model_validator(mode="after")
    def _time_and_split(self):
        if self.time is None and not self.split.by_fraction:
            raise ValueError(
                "split by moments needs data.time, the column to compare them with; "
                "without one, give fractions"
            )
        if self.time is not None and self.split.by_fraction:
            raise ValueError(
                "split by fractions draws rows at random and would let later rows train "
                "a model tested on earlier ones; with data.time, give moments (dates)"
            )
        return self

    @property
    def window_ms(self) -> int | None:
        return self.window and int(self.window[:-1]) * UNITS_MS[self.window[-1]]

    def moment_ms(self, value: datetime.date) -> int:
        """Milliseconds since 1970 of a split's moment: in its zone, or the config's."""
        moment = _moment(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zoneinfo.ZoneInfo(self.timezone))
        return round(moment.timestamp() * 1000)


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class CategoricalFeature(Section):
    """An id, or several, looked up in a vocabulary and embedded."""

    name: Name
    column: str = ""
    kind: Literal["categorical"]
    dim: Annotated[int, Field(ge=1)] | None = None  # null: model.embedding_dim
    min_count: Annotated[int, Field(ge=1)] = 1
    oov_buckets: Annotated[int, Field(ge=1)] = 1
    separator: str = ""
    max_values: Annotated[int, Field(ge=0)] = 0
    pooling: Literal["mean", "sum"] = "mean"

    @model_validator(mode="after")
    def _several(self):
        if self.separator and not self.max_values:
            raise ValueError("separator needs max_values, how many of the values to keep")
        return self


class NumericFeature(Section):
    """A number: transformed and standardised in the model, or bucketized and embedded."""

    name: Name
    column: str = ""
    kind: Literal["numeric"]
    transform: Literal["identity", "log1p"] = "identity"
    buckets: Annotated[int, Field(ge=0)] = 0  # quantiles of the training split
    dim: Annotated[int, Field(ge=1)] | None = None  # of the buckets' embedding

    @model_validator(mode="after")
    def _bucketized(self):
        if self.dim is not None and not self.buckets:
            raise ValueError("dim needs buckets: a plain number has no embedding")
        return self


FeatureConfig = Annotated[CategoricalFeature | NumericFeature, Field(discriminator="kind")]


class TaskConfig(Section):
    """One label to predict."""

    name: Name
    column: str = ""
    kind: Literal["binary", "regression"] = "binary"
    given: str = ""
    at_least: float | None = None  # a binary label from a number: 1 from here on
    transform: Literal["identity", "log1p"] = "identity"
    weight: Annotated[float, Field(ge=0)] = 1.0
    truth: str = ""  # column with the true probability or value, where it is known
    # of the negatives, the fraction that the log kept: the served probability undoes it
    negative_rate: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _kind(self):
        if self.kind == "binary" and self.transform != "identity":
            raise ValueError("transform is for regression tasks; a binary label is 0 or 1")
        if self.kind == "regression" and self.at_least is not None:
            raise ValueError("at_least makes a binary label; kind must be binary")
        if self.kind == "regression" and self.negative_rate != 1:
            raise ValueError("negative_rate is for binary tasks: a value is no negative")
        return self


Units = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class SharedBottom(Section):
    """One network for all tasks, and a tower each."""

    trunk: Literal["shared_bottom"]
    embedding_dim: Annotated[int, Field(ge=1)] = 16
    cross_layers: Annotated[int, Field(ge=0)] = 0  # DCN-v2 on the bottom's input
    layer_norm: bool = False  # of what the bottom reads, after the crosses
    bottom_units: Units = [128, 64]
    tower_units: list[Annotated[int, Field(ge=1)]] = [32]


class Ple(Section):
    """Progressive layered extraction: shared and task-specific experts with gates."""

    trunk: Literal["ple"]
    embedding_dim: Annotated[int, Field(ge=1)] = 16
    levels: Annotated[int, Field(ge=1)] = 2
    shared_experts: Annotated[int, Field(ge=1)] = 2
    task_experts: Annotated[int, Field(ge=1)] = 1
    expert_units: Units = [64]
    tower_units: list[Annotated[int, Field(ge=1)]] = [32]


Positive = Annotated[float, Field(gt=0)]


class DenseOptimizer(Section):
    """How the dense weights (everything but the embedding tables) are updated."""

    optimizer: Literal["adagrad", "adam"] = "adagrad"
    learning_rate: Positive = 0.2
    clip: Literal[
        "clippy",
        "clippy_unit",  # one factor per output unit; thresholds 0.1 and 1e-3 did best
        "none",
        "value",
        "norm",
        "global_norm",
        "agc",
        "agc_tensor",
        "lamb",
    ] = "clippy"
    relative_threshold: Positive = 0.5  # Clippy's lambda_rel, the paper's
    absolute_threshold: Positive = 1e-2  # Clippy's lambda_abs, the paper's
    threshold: Positive | None = None  # of the other methods

    @model_validator(mode="after")
    def _threshold(self):
        needs = self.clip not in ("clippy", "clippy_unit", "none")
        if needs and self.threshold is None:
            raise ValueError(f"clip {self.clip!r} needs threshold, for instance 0.01")
        if not needs and self.threshold is not None:
            raise ValueError(f"clip {self.clip!r} does not use threshold; remove it")
        return self


class EmbeddingOptimizer(Section):
    """How the rows of the embedding tables that a batch holds are updated."""

    optimizer: Literal["adam", "adagrad"] = "adam"
    learning_rate: Positive = 1e-3
    clip: Literal["cowclip", "clippy", "none"] = "cowclip"  # clippy: row by row
    r: Positive = 1.0  # of CowClip; Clippy's lambda_rel
    zeta: Positive = 1e-5  # of CowClip; Clippy's lambda_abs
    l2: Annotated[float, Field(ge=0)] = 0.0  # on the rows of the batch


class Train(Section):
    """How long and how fast to train."""

    epochs: Annotated[int, Field(ge=1)] = 1
    batch_size: Annotated[int, Field(ge=1)] = 4096
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    dense: DenseOptimizer = DenseOptimizer()
    embedding: EmbeddingOptimizer = EmbeddingOptimizer()
    base_batch_size: Annotated[int, Field(ge=1)] | None = None  # the rates' batch size
    scaling: Literal["none", "sqrt", "linear", "n2_lambda", "cowclip"] = "cowclip"
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    decay: Literal["none", "linear"] = "none"  # of the rates, to 0 at the end of training
    shuffle_rows: Annotated[int, Field(ge=1)] = 262_144  # mixed at once, in a window
    patience: Annotated[int, Field(ge=0)] | None = None  # epochs without gain; null: all
    monitor: str = "mean_auc"  # on the validation split; or one task's name
    checkpoint_every: Annotated[int, Field(ge=1)] = 1000  # steps
    on_divergence: Literal["stop", "rollback", "continue"] = "rollback"
    max_rollbacks: Annotated[int, Field(ge=0)] = 3
    rollback_factor: Annotated[float, Field(gt=0, le=1)] = 0.5  # of the rates, each time

    @property
    def batch_scale(self) -> float:
        return self.batch_size / (self.base_batch_size or self.batch_size)


class Serving(Section):
    """How the export is called."""

    # features that all candidates of a request share: the user's and the moment's;
    # with them the export has a signature that computes their part once
    shared: list[str] = []


class Export(Section):
    """How the export is stored."""

    embedding_dtype: Literal["float32", "float16", "bfloat16", "int8"] = "float32"


class DivergenceGate(Section):
    """Full divergence or a non-finite loss always refuses."""

    max_micro: Annotated[int, Field(ge=0)]  # micro-divergences let pass
    max_rollbacks: Annotated[int, Field(ge=0)] = 0  # divergences that training survived


class AucGate(Section):
    """Of AUC and GAUC."""

    min: Annotated[float, Field(ge=0, le=1)] | None = None
    min_gain: float | None = None  # over the baseline, on the same rows

    @model_validator(mode="after")
    def _threshold(self):
        if self.min is None and self.min_gain is None:
            raise ValueError("needs min, min_gain or both: a gate without one refuses")
        return self


class LossGate(Section):
    """Of log loss and normalised entropy, of which less is better."""

    max: Positive | None = None
    min_gain: float | None = None  # the baseline's less the model's, on the same rows

    @model_validator(mode="after")
    def _threshold(self):
        if self.max is None and self.min_gain is None:
            raise ValueError("needs max, min_gain or both: a gate without one refuses")
        return self


class DecilesGate(Section):
    """In each tenth of the predictions, predicted over observed is 1 within this."""

    max_error: Positive


class CalibrationGate(Section):
    """Limits of predicted over observed."""

    min: Positive | None = None
    max: Positive | None = None
    deciles: DecilesGate | None = None

    @model_validator(mode="after")
    def _order(self):
        if (self.min is None) != (self.max is None):
            raise ValueError("needs min and max, both of them")
        if self.min is None and self.deciles is None:
            raise ValueError("needs min and max, deciles, or all of them")
        if self.min is not None and self.min >= self.max:
            raise ValueError(f"min must be below max. Received: {self.min}, {self.max}")
        return self


class SliceGate(Section):
    """Limits that every large enough slice must keep."""

    by: Annotated[list[str], Field(min_length=1)]  # features; several: their crossing
    min_rows: Annotated[int, Field(ge=1)] = 1000  # smaller ones are named, not judged
    auc: dict[str, AucGate] = {}
    calibration: dict[str, CalibrationGate] = {}

    @model_validator(mode="after")
    def _limits(self):
        if not self.auc and not self.calibration:
            raise ValueError("needs auc, calibration or both: a gate without one refuses")
        if len(set(self.by)) < len(self.by):
            raise ValueError(f"by must name features once. Received: by={self.by}")
        return self


class DriftGate(Section):
    """Of each task's predictions from the baseline's: population stability index."""

    max_psi: Positive  # by custom, below 0.1 is stable and above 0.25 another one


class SizeGate(Section):
    max_mb: Positive  # of the whole export


class SkewGate(Section):
    max_difference: Positive


class StabilityGate(Section):
    min_margin: Positive  # lowest rate that diverges over the rate in use


class Gates(Section):
    """What a model must pass. A gate that is not here does not judge.

    A gain over the baseline and the calibration of deciles are judged with their scatter:
    PASS or REFUSE where that is certain, else HOLD. With ``confidence``, so are all
    limits of metrics; without it those compare the measured number itself.
    """

    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None  # null: 0.95 of gains
    repetitions: Annotated[int, Field(ge=50)] = 200  # of the bootstrap over groups
    divergence: DivergenceGate | None = None
    auc: dict[str, AucGate] = {}
    gauc: dict[str, AucGate] = {}
    log_loss: dict[str, LossGate] = {}
    normalized_entropy: dict[str, LossGate] = {}
    calibration: dict[str, CalibrationGate] = {}
    slices: list[SliceGate] = []
    skew: SkewGate | None = None
    drift: DriftGate | None = None
    size: SizeGate | None = None
    stability: StabilityGate | None = None  # of what `steadyrank stability` found


class Config(Section):
    """A whole run."""

    data: Data
    features: Annotated[list[FeatureConfig], Field(min_length=1)]
    tasks: Annotated[list[TaskConfig], Field(min_length=1)]
    score: str = ""  # "": the product of the binary tasks' probabilities
    model: Annotated[SharedBottom | Ple, Field(discriminator="trunk")]
    train: Train = Train()
    serving: Serving = Serving()
    export: Export = Export()
    gates: Gates = Gates()

    @model_validator(mode="after")
    def _names(self):
        for section in ("features", "tasks"):
            counts = Counter(item.name for item in getattr(self, section))
            twice = [name for name, count in counts.items() if count > 1]
            if twice:
                raise ValueError(f"{section}: names must differ. Received twice: {twice}")
        if "score" in [task.name for task in self.tasks]:
            raise ValueError("tasks: 'score' is the name of the combined score")
        labels = {column(task) for task in self.tasks}
        for feature in self.features:
            if column(feature) in labels:
                raise ValueError(
                    f"features.{feature.name}: column {column(feature)!r} is a task's "
                    "label; a feature must be known before the engagement"
                )
        parse_score(self.score_formula, [task.name for task in self.tasks])
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


def column(item: FeatureConfig | TaskConfig) -> str:
    """The column of the log that a feature or a task reads."""
    return item.column or item.name


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
    try:
        document = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise InputError(f"cannot read config {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"config {path} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"config {path} must hold keys such as data, features, tasks.")
    for override in overrides or []:
        _override(document, override)
    return parse_config(document, str(path))


def parse_config(document: dict, source: str) -> Config:
    """Check a config that is already a dictionary; see ``load_config``."""
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        lines = [_explain(e, document) for e in error.errors()]
        raise InputError(f"config {source}:\n  " + "\n  ".join(lines)) from None


def _override(document: dict, override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"--set must be key.path=value. Received: {override!r}")
    *parents, last = path.split(".")
    node = document
    for part in parents:
        node = _child(node, part, path)
    try:
        value = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise InputError(f"--set {path}: the value is not YAML: {error}") from None
    if not isinstance(node, dict):
        raise InputError(f"--set {path}: set a key of an item, such as {path}.dim=8")
    node[last] = value


def _child(node, part: str, path: str):
    if isinstance(node, dict):
        return node.setdefault(part, {})
    if isinstance(node, list):
        named = {str(i.get("name")): i for i in node if isinstance(i, dict)}
        if part in named:
            return named[part]
        if part.isdigit() and int(part) < len(node):
            return node[int(part)]
        raise InputError(f"--set {path}: there is no {part!r}. {near(part, named)}")
    raise InputError(f"--set {path}: {part!r} is not a section.")


def _explain(error: dict, document: dict) -> str:
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
        return f"{where}: unknown key. {near(str(siblings), _keys(error['loc']))}"
    message = error["msg"].removeprefix("Value error, ")
    received = error.get("input")
    if isinstance(received, dict | list | BaseModel) or error["type"] == "missing":
        return f"{where}: {message}"
    return f"{where}: {message}. Received: {received!r}"


def _keys(location: tuple) -> list[str]:
    """The keys that a section allows, found by walking the models along a location."""
    kinds = {
        "categorical": CategoricalFeature,
        "numeric": NumericFeature,
        "shared_bottom": SharedBottom,
        "ple": Ple,
        "data": Data,
        "join": Join,
        "split": Split,
        "tasks": TaskConfig,
        "train": Train,
        "serving": Serving,
        "export": Export,
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
        "skew": SkewGate,
        "divergence": DivergenceGate,
    }
    section = Config
    for part in location[:-1]:
        section = kinds.get(part, section)
    return list(section.model_fields)
