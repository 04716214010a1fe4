"""What commands come to that are no stage of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steadyrank.pipeline.files.places import Place
from steadyrank.pipeline.gates.verdicts import PASS


@dataclass(frozen=True)
class InitResult:
    """A first config.

    Attributes:
        output: Its file.
        features: Their columns.
        tasks: Their names.
        why: Key of the config -> why it says what it says.
        leaks: Column that is no feature -> the label that it tells, and with which AUC.
    """

    output: Place
    features: tuple[str, ...]
    tasks: tuple[str, ...]
    why: Mapping[str, str]
    leaks: Mapping[str, tuple[str, float]]


@dataclass(frozen=True)
class CheckResult:
    """A run that can begin.

    Attributes:
        looked_at: What was looked at, a sentence each.
    """

    looked_at: tuple[str, ...]


@dataclass(frozen=True)
class SynthesizeResult:
    """A log.

    Attributes:
        output: Its folder.
        rows: Of the log.
    """

    output: Place
    rows: int


@dataclass(frozen=True)
class NightResult:
    """What a night came to.

    Attributes:
        output: The night's folder: ``examples``, ``train``, ``export``, ``evaluation``.
        day: That it judged on.
        verdict: ``"PASS"``, ``"HOLD"`` or ``"REFUSE"``; what passed was released.
        record: All that ``night.json`` holds.
        version: That its model was released as; None: it was not.
    """

    output: Place
    day: str
    verdict: str
    record: Mapping[str, Any]
    version: int | None

    @property
    def accepted(self) -> bool:
        """Whether the model was released."""
        return self.verdict == PASS

    @property
    def report(self) -> Place:
        """The page of its evaluation."""
        return self.output / "evaluation" / "report.html"


@dataclass(frozen=True)
class ReleaseResult:
    """What is served.

    Attributes:
        output: The folder that is served.
        version: The current one.
        verdict: Of its evaluation.
        forced: Why it was released whatever the verdict; None: it was not forced.
        withdrawn: Versions that are not served any more.
    """

    output: Place
    version: int
    verdict: str
    forced: str | None
    withdrawn: tuple[int, ...]


@dataclass(frozen=True)
class PruneResult:
    """What went of a store.

    Attributes:
        output: The store.
        nights: Days of which the record alone stays.
        releases: Versions.
        bytes: That were freed.
        dry_run: Whether all of it is still there.
    """

    output: Place
    nights: tuple[str, ...]
    releases: tuple[int, ...]
    bytes: int
    dry_run: bool


@dataclass(frozen=True)
class StabilityResult:
    """How near the edge a model trains.

    Attributes:
        output: The folder with ``stability.json`` and ``stability.html``.
        rate_in_use: Learning rate of the dense weights.
        margin: The lowest rate that diverges over the one in use; None: none diverged.
        advice: What to change.
        methods: What was found of each clipping method, the config's own first.
    """

    output: Place
    rate_in_use: float
    margin: float | None
    advice: str
    methods: list[dict[str, Any]]

    @property
    def report(self) -> Place:
        """AUC against learning rate."""
        return self.output / "stability.html"


@dataclass(frozen=True)
class SweepResult:
    """The best of many settings.

    Attributes:
        output: The sweep's folder.
        objective: In words.
        told: Whether a trial is told from the first, by its 95 % interval.
        verdict: That in words, and what to do where none is.
        best_value: Of the objective, on the validation split: of the best of those that
            are told from the first, else of the first.
        own_value: Of the config's own settings; None: they were not tried.
        results: All that ``results.json`` holds.
    """

    output: Place
    objective: str
    told: bool
    verdict: str
    best_value: float
    own_value: float | None
    results: Mapping[str, Any]

    @property
    def best(self) -> Place:
        """The best settings as a config; the first trial's where none is told from it."""
        return self.output / "best.yaml"

    @property
    def report(self) -> Place:
        """The page that shows all trials."""
        return self.output / "report.html"


@dataclass(frozen=True)
class CompareResult:
    """Runs side by side.

    Attributes:
        output: The page.
        runs: Their names on it.
        verdicts: A sentence about each run but the first, with which it is compared.
        differences: Run -> how each metric of each task differs from the first run's:
            ``task``, ``metric``, ``first``, ``other``, ``difference``, ``interval`` (of
            95 %, paired; None: unknown), ``verdict`` (better, worse, no difference told).
    """

    output: Place
    runs: tuple[str, ...]
    verdicts: tuple[str, ...]
    differences: Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class ServeCheckResult:
    """Whether an export serves what was judged.

    Attributes:
        model: The export.
        rows: Raw rows that were replayed.
        limit: What scores may differ from the encoded signature's.
        differences: Signature -> the largest difference.
        passed: Whether none is above the limit.
        latency: Each signature's ``p50_ms``, ``p99_ms``, ``rows_per_second`` by ``rows``.
    """

    model: str
    rows: int
    limit: float
    differences: Mapping[str, float]
    passed: bool
    latency: list[dict[str, Any]]


@dataclass(frozen=True)
class ScoreResult:
    """A scored table.

    Attributes:
        output: Its folder: ``part-*.parquet``, ``rejected/``, ``scores.json``.
        rows: That were read: the scored and the rejected.
        scored: That the model gave scores for.
        written: Of these; fewer where only the best of each user were to be kept.
        rejected: Reason -> rows.
        samples: Reason -> what is to be shown of its first row.
        model_version: That every row is marked with.
    """

    output: Place
    rows: int
    scored: int
    written: int
    rejected: Mapping[str, int]
    samples: Mapping[str, dict[str, Any]]
    model_version: str


@dataclass(frozen=True)
class ImportanceResult:
    """What each task loses where the values of a feature are exchanged among the rows.

    Attributes:
        model: The export.
        split: Of the rows.
        rows: That were looked at.
        of: Rows that the split has.
        tasks: Name -> ``metric``, ``value`` and ``interval`` of the model as it is.
        units: The most important first: ``features``, those that were exchanged together,
            and ``tasks``: name -> ``difference`` (AUC lost, or RMSE gained), ``error`` and
            ``interval`` (paired, of 95 %).
    """

    model: str
    split: str
    rows: int
    of: int
    tasks: Mapping[str, dict[str, Any]]
    units: list[dict[str, Any]]


@dataclass(frozen=True)
class ReplayResult:
    """One batch of a training run.

    Attributes:
        epoch: Number of the pass.
        batch: Number of the batch in it.
        diagnosis: Its window, losses, gradients by task, layers, features and ids.
    """

    epoch: int
    batch: int
    diagnosis: Mapping[str, Any]


@dataclass(frozen=True)
class InspectResult:
    """What folders hold.

    Attributes:
        parts: Title of a folder -> names and values.
        nights: Of a store: a row a night, as ``store.table.Row`` has them.
    """

    parts: Mapping[str, list[tuple[str, object]]]
    nights: tuple[Mapping[str, Any], ...] = ()
