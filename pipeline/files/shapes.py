"""What the JSON files of stages must hold, as far as it is read again.

Keys that are not named here may be there, or not; one that is named and of another type
makes a file corrupt, and so does one without a default that is missing.
"""

from typing import Annotated, Any

from pydantic import Field, model_validator

from steadyrank.pipeline.files.documents import Document

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Plain = dict[str, Any]


class File(Document):
    """A file of examples."""

    path: str
    split: str
    rows: Count
    bytes: Count


class FileOfWindow(File):
    """One of a ranking model's."""

    window: str
    encoding: str


class FileOfSequences(FileOfWindow):
    """One of a next-item model's."""

    sequences: Count


class Rows(Document):
    """Rows, or events, of a log."""

    read: Count
    written: Count
    duplicates: Count
    rejected: dict[str, Count]
    dropped: dict[str, Count] = {}
    drawn: Count = 0


class Split(Document):
    """A split of ranking examples."""

    rows: Count
    windows: Annotated[dict[str, Count], Field(min_length=1)]


class Splits(Document):
    """All of them."""

    train: Split
    validation: Split
    test: Split


class TaskCounts(Document):
    """A task's rows."""

    rows: Count
    positives: Count
    given_violations: Count


class Manifest(Document):
    """``manifest.json`` of either kind of examples, ``examples.json`` of a model."""

    fingerprint: str
    rows: Rows
    config: Plain = {}


class HistoryFile(Document):
    """A file of what came before the rows to come."""

    path: str
    what: str
    by: list[str]
    rows: Count
    bytes: Count


class Histories(Document):
    """What a set keeps of them."""

    files: list[HistoryFile]
    windows: dict[str, Count] = {}


class RankingManifest(Manifest):
    """``manifest.json`` of ranking examples."""

    histories: Histories | None = None

    files: list[FileOfWindow]
    splits: Splits
    tasks: dict[str, TaskCounts]
    identity: dict[str, Plain]
    unmatched: dict[str, Count] = {}


class Named(Document):
    """What has a name."""

    name: str


class MadeWith(Document):
    """What preprocessing read of a config."""

    features: list[Named] = []  # of ranking examples, which have both
    tasks: list[Named] = []


class GrowingManifest(Manifest):
    """``manifest.json`` of examples that others are added to."""

    config: MadeWith  # type: ignore[assignment]


class SplitOfSequences(Document):
    """A split of a next-item model's examples."""

    rows: Count
    sequences: Count


class SequenceManifest(Manifest):
    """``manifest.json`` of a next-item model's examples."""

    files: list[FileOfSequences]
    splits: Annotated[dict[str, SplitOfSequences], Field(min_length=1)]


class FeatureFields(Document):
    """A feature of ``schema.json``."""

    name: str
    kind: str
    dim: Count = 0
    raw: str = ""
    separator: str = ""
    max_values: Count = 0
    pooling: str = ""
    oov_buckets: Count = 0
    vocabulary_size: Count = 0
    transform: str = ""
    mean: float = 0.0
    std: float = 0.0
    centre: float | None = None
    boundaries: list[float] = []
    clip: list[float] = []
    width: Count = 0
    table: str = ""
    hashes: Count = 0
    hash_buckets: Count = 0
    zone: str = ""
    moments: list[str] = []
    quantiles: list[float] = []
    levels: list[float] = []
    of: list[str] = []


class TaskFields(Document):
    """A task of ``schema.json``."""

    name: str
    kind: str = ""
    given: str = ""
    transform: str = ""
    weight: float = 0.0
    mean: float = 0.0
    std: float = 0.0
    negative_rate: float = 1.0
    positive_weight: float = 1.0
    sample_weight: str = ""
    loss: str = "squared"
    tweedie_power: float = 1.5
    space: str = "given"
    soft_label: str = ""
    soft_weight: float = 0.5
    smearing: str = "factor"


class RankingSchema(Document):
    """``schema.json`` of ranking examples and models."""

    features: list[FeatureFields]
    tasks: list[TaskFields]
    score: str
    truths: list[str]
    group: bool
    fingerprint: str
    ancestors: list[str] = []
    earlier: list[str] = []


class SequenceSchemaFields(Document):
    """``schema.json`` of a next-item model's examples and models."""

    items: Count
    raw: str
    length: Annotated[int, Field(ge=1)]
    fingerprint: str
    ancestors: list[str]


class Sealed(Document):
    """``schema.json`` of either kind."""

    fingerprint: str


class Moments(Document):
    """What a column of numbers amounted to."""

    mean: float


class MomentsOfNumbers(Moments):
    """The same, to go on counting from."""

    rows: Count
    missing: Count
    m2: Annotated[float, Field(ge=0)]
    min: float | None  # of no rows
    max: float | None


class HeldDays(Document):
    """What the next days are held to."""

    columns: dict[str, dict[str, str]]
    days: dict[str, Plain]


class Statistics(Document):
    """``statistics.json``."""

    features: dict[str, Plain]
    labels: dict[str, Moments]
    contract: HeldDays | None = None


class Divergence(Document):
    """What the detector made of a training."""

    diverged: bool
    diverged_at: int | None
    dead_tasks: list[str]
    micro: list[Plain]


class Trained(Document):
    """``train.json``, and ``done.json`` of a phase."""

    epochs: Count
    steps: Count
    monitor: str
    best: float | None
    divergence: Divergence
    rollbacks: Count = 0
    parameters: Plain = {}
    validation: dict[str, Plain] = {}
    best_interval: list[float] | None = None


class Phase(Document):
    """A phase of a next-item model's training."""

    blocks: Count


class TrainedInPhases(Trained):
    """``train.json`` of a next-item model."""

    phases: Annotated[list[Phase], Field(min_length=1)]


class Training(Document):
    """The training, on the card of an export."""

    steps: Count
    versions: dict[str, str]


class ReadColumn(Named):
    """A feature, and the column that it is read from; a cross is read from none."""

    column: str

    @model_validator(mode="before")
    @classmethod
    def _cross(cls, value):
        is_cross = isinstance(value, dict) and value.get("kind") == "cross"
        return {"column": "", **value} if is_cross else value


class CardConfig(Document):
    """The config that an export was made with."""

    features: list[ReadColumn] = []
    serving: Plain = {}


class Card(Document):
    """``card.json``."""

    schema_: Plain = Field(alias="schema")
    config: CardConfig
    training: Training
    kind: str = ""
    signatures: list[str] = []
    content: str = ""


class Gate(Document):
    """A gate's verdict."""

    gate: str
    task: str | None
    rule: str | None
    verdict: str
    reason: str
    passed: bool


class Forced(Document):
    """Why a model was let through."""

    reason: str


class Verdict(Document):
    """``verdict.json``."""

    verdict: str | None
    gates: list[Gate]
    forced: Forced | None = None


class Metrics(Document):
    """``metrics.json``."""

    tasks: dict[str, Plain]
    content: str | None = None
    split: str | None = None


class ReleaseEntry(Document):
    """A version that was released."""

    version: Annotated[int, Field(ge=1)]
    content: str


class RolledBack(Document):
    """A rollback of what is served."""

    from_: int = Field(alias="from")
    to: int


class Blessed(Document):
    """``blessed.json``."""

    current: Annotated[int, Field(ge=1)]
    content: str
    releases: Annotated[list[ReleaseEntry], Field(min_length=1)]
    rollbacks: list[RolledBack] = []


class Night(Document):
    """``night.json``."""

    verdict: str
    content: str | None
    left_out: str | None
    reasons: list[str]


class Begun(Document):
    """``begun.json`` of a night."""

    config: Plain
    missing: list[str] = []


class Probe(Document):
    """A run of a ladder."""

    steps: Count


class Margin(Document):
    """``stability.json``."""

    fingerprint: str
    margin: float | None
    probes: list[Probe] = []
    windows: list[Any] = []


class TrialOutcome(Document):
    """``outcome.json`` of a trial."""

    status: str
    value: float | None
    message: str
    metrics: dict[str, Plain]
    seconds: float
    drawn: list[float | None] = []
    drawn_from: str = ""
    groups: Count = 0


class Fatal(Document):
    """Why a sweep's worker ended."""

    message: str


class Rollbacks(Document):
    """Where a training went back."""

    rollbacks: list[Plain]


class TrackedRun(Document):
    """Which run of MLflow a training is, and name -> the last step that it has."""

    server: str
    run: str
    sent: dict[str, Count] = {}


class WarmStarted(Document):
    """Where a training started from."""

    checkpoint: str
    schema_: Plain = Field(alias="schema")
    steps: Count
    windows: list[str]
    moved: dict[str, list[Count]] = {}


class Warned(Document):
    """What foretold, at a step, that training would go wrong."""

    step: Count
    layer: str
    share: Share


class LogLine(Document):
    """A line of ``log.jsonl``: of a window, an epoch, a rollback or a warning."""

    step: Count
    epoch: Count = 0
    phase: Count | None = None
    validation: dict[str, Plain] = {}
    progressive: dict[str, Plain] = {}
    warning: Warned | None = None


class StepLine(LogLine):
    """One of a step."""

    loss: float | None
    losses: dict[str, float | None]
    examples: Count
    batch_size: Count
    clipping: dict[str, float | None] = {}
    dead_units: dict[str, Share] = {}


class Complete(Document):
    """``_COMPLETE.json`` of a folder on object storage: name -> bytes."""

    bytes: dict[str, Count]
