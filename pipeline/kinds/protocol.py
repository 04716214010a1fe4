"""What a kind of model offers the stages, which know none by name.

A stage takes a ``Kind`` beside its config and does what is the same for all of them:
folders, logs, checkpoints, divergence, versions, gates, reports.  A kind says what its
examples, its model, its batches and its metrics are.  What it truly cannot do stands in
``CANNOT``, with the sentence that a user is told.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from steadyrank.pipeline.files.errors import InputError

RANKING, NEXT_ITEM = "ranking", "next_item"  # names of kinds
# of a kind: what it cannot do -> what a user who asks for it is told
CANNOT = {
    RANKING: {},
    NEXT_ITEM: {
        "more epochs": "a next-item model that has ended goes on by another phase: name it "
        "in train.start_from of a config with that phase, and train to another --output.",
        "stability": "stability, whose probes are of ranking models, is not for next-item "
        "models: leave --stability out.",
        "predictions": "--predictions writes what each task is predicted to be, and a "
        "next-item model ranks all items: leave it out.",
        "importance": "importance exchanges values of features, of which a next-item model "
        "has one: the items.",
        "hyperband": "sweep.method hyperband gives its trials more epochs, and a next-item "
        "model trains in phases: take random or bayesian.",
        "sweep.score": "sweep.score tries formulas over the outputs of several tasks, of "
        "which a next-item model has one: sweep other keys.",
        "min_margin": "sweep.constraint.min_margin asks `stability`, whose probes are of "
        "ranking models: constrain a next-item model by max_micro.",
    },
}


def require(kind: str, what: str) -> None:
    """Raise InputError where a kind of model cannot do something.

    Args:
        kind: Its name.
        what: A key of its table in ``CANNOT``.
    """
    if why := CANNOT.get(kind, {}).get(what):
        raise InputError(why)


class Schema(Protocol):
    """What all stages of a kind agree on; ``Kind.read_schema`` reads it back."""

    fingerprint: str

    def to_dict(self) -> dict: ...


class Examples(Protocol):
    """What preprocessing published, open and whole."""

    path: Path
    schema: Schema
    manifest: dict


@dataclass(frozen=True)
class Setting:
    """What a training run has to do with.

    Attributes:
        config: The run's config.
        schema: The model's.
        examples: What to train on.
        work: The folder to write to.
        strategy: The devices, a ``tf.distribute.Strategy``.
        workers: The processes that train together, ``train.workers.Workers``; None: one.
    """

    config: Any
    schema: Any
    examples: Any
    work: Path
    strategy: Any
    workers: Any = None


@dataclass(frozen=True)
class Phase:
    """A stretch of training: how long it goes, and where it writes.

    Attributes:
        folder: For its checkpoints and its best weights.
        epochs, steps: At most; None: as many as it takes.
        patience: Evaluations without gain, after which it ends; None: it does not.
        evaluate_every: Steps between evaluations; None: one after each epoch.
        number: From 0, in the log; None: the run has no phases.
        title: Before what is said of its progress.
        judges_start: Whether what it starts from is measured, and kept if training only
            loses.
    """

    folder: Path
    epochs: int | None = None
    steps: int | None = None
    patience: int | None = None
    evaluate_every: int | None = None
    number: int | None = None
    title: str = ""
    judges_start: bool = False


class Learner(Protocol):
    """A phase's model and its batches; what has a body here does for most kinds.

    Attributes:
        model: A compiled ``TrainedModel``.
        windows: Names of the training windows, old to new.
        batches_in_epoch: Of the training split.
    """

    model: Any
    windows: Sequence[str] = ("all",)
    batches_in_epoch: int

    def begin(self) -> None:
        """Give the model what it starts from, where that is no fresh weights."""
        return

    def batches(self, epoch: int, skip: int) -> Iterable:
        """An epoch's batches as ``LoggedStep`` takes them, without the first ``skip``.

        Seed, epoch and place alone say which these are.
        """

    def latest_window(self, batch: int) -> int:
        """The number of the latest window that one of an epoch's batches holds rows of.

        It is not read from the batch: that may be on a device, which works.
        """
        return 0

    def measure(self, split: str, window: str | None = None) -> dict:
        """Task -> metrics of the weights as they are."""

    def sample(self) -> tuple[dict, Any] | None:
        """Task -> metrics on the validation split with their intervals, and the
        ``metrics.samples.Samples`` of them; None: the kind draws none."""
        return None

    def look(self) -> tuple[dict, list[str]]:
        """What else is logged after an evaluation, and what is wrong, in sentences."""
        return {}, []

    def diagnose(self, epoch: int, batch: int) -> dict:
        """Why a batch may have made training diverge; see ``train.diagnosis``."""

    def describe(self) -> dict:
        """What the summary says of this phase."""
        return {}


class Export(Protocol):
    """A SavedModel, loaded with TensorFlow alone.

    Attributes:
        path: Its folder.
        schema: Its schema.
        card: What was written beside it.
    """

    path: Path
    schema: Schema
    card: dict


class ServingModule(Protocol):
    """A model with its vocabularies, ready to be saved: a ``tf.Module``.

    Attributes:
        schema: As the card beside the export has it.
        signatures: Name -> concrete function.
    """

    schema: Schema
    signatures: Mapping[str, Any]


class Kind(Protocol):
    """A kind of model; what has a body here does for most.

    Attributes:
        name: One of those above.
    """

    name: str

    def preprocess(
        self,
        config: Any,
        folder: Path,
        output: Path,
        beam_flags: Iterable[str] = (),
        **how: Any,
    ) -> dict:
        """From a log to examples.

        Args:
            config: The run's.
            folder: What the config's paths are relative to.
            output: Where the examples shall stand.
            beam_flags: Passed to Beam.
            **how: ``overwrite`` and ``addition``; see ``pipeline.preprocess.stage``.

        Returns:
            The manifest: ``rows``, ``splits``, ``files``, ``fingerprint`` and ``config``,
            as ``examples.compatibility.read_by_preprocessing`` has it.
        """

    def open_examples(self, path: Path) -> Examples:
        """Open what preprocessing published, checked."""

    def read_schema(self, document: dict, source: Path) -> Schema:
        """Read what ``Schema.to_dict`` gave; InputError where it is another kind's."""

    def agree(self, config: Any, schema: Schema) -> Schema:
        """The schema of a config's model, on examples of some schema."""
        return schema

    def tasks(self, config: Any) -> dict[str, str]:
        """Task -> its kind, as the log's measurements name it."""

    def monitor(self, config: Any) -> str:
        """Name of what early stopping watches."""

    def main_metrics(self, config: Any) -> dict[str, str]:
        """Task -> the metric that is told of it after a night."""

    def monitored(self, results: Mapping, monitor: str) -> float:
        """The number of that name in a measurement: higher is better."""

    def phases(self, setting: Setting) -> Sequence[Phase]:
        """The phases of a training run, in their order."""
        return [Phase(setting.work, setting.config.train.epochs)]

    def learner(self, setting: Setting, phase: Phase, backoff: Any) -> Learner:
        """Build and compile a phase's model.

        Args:
            setting: The run's.
            phase: One of ``phases``, those before which have ended.
            backoff: A variable that multiplies all learning rates, or a number.
        """

    def serving_module(self, config: Any, schema: Schema, trained: Path) -> ServingModule:
        """What is exported of a trained model: its best weights, and a config's serving.

        Args:
            config: The run's.
            schema: That of training.
            trained: What ``train`` published.
        """

    def warmup(self, module: ServingModule, vocab: Path, rows: int) -> dict[str, dict]:
        """A plausible request of so many rows to each signature that takes raw values."""

    def open_model(self, path: Path, examples: Examples) -> Export:
        """Load an export; InputError unless it knows the examples' ids."""

    def open_baseline(self, path: Path, examples: Examples, split: str) -> Export:
        """Load an export to compare with; InputError unless it can score the split."""

    def require_baseline(self, path: Path, examples: Examples, split: str) -> None:
        """Raise InputError where ``open_baseline`` would, without loading the model."""
        return

    def measure(
        self,
        config: Any,
        examples: Examples,
        export: Export,
        *,
        baseline: Export | None,
        split: str,
    ) -> dict:
        """What ``metrics.json`` has of the rows: ``rows``, ``tasks``, ``baseline``, ...

        ``samples`` among them, a ``metrics.samples.Samples``, has a file of its own.
        """

    def skew(self, export: Export, examples: Examples, split: str) -> dict:
        """Do all signatures answer alike? See ``export.skew.measure_skew``."""

    def requests(self, export: Export, examples: Examples, split: str) -> Callable:
        """Rows -> signature -> inputs of a request of so many; InputError where no rows of
        the split were kept raw."""

    def judge(self, metrics: Mapping, gates: Mapping) -> dict:
        """The verdict of a config's gates; see ``gates.judge``."""

    def keep_for(self, config: Any, baseline: Path | None) -> Any:
        """A config of which the examples keep what a baseline reads, if it needs to."""
        return config

    def why_afresh(self, config: Any, base: Path) -> str:
        """Why examples cannot grow by what a config asks for; ``""``: they can."""

    def why_fresh(self, config: Any, trained: Path) -> str:
        """Why a config's model cannot take over a trained one's weights; ``""``: it can."""

    def new_tasks(self, config: Any, export: Path) -> list[str]:
        """The tasks of a config that an export does not have."""
        return []

    def without_baseline(self, config: Any, new: Collection[str] | None = None) -> Any:
        """A config without gates that need a baseline; see ``gates.nights``."""

    def blame(self, config: Any, result: dict, day: str, windows: tuple[str, ...]) -> dict:
        """The day that a refusal is the fault of, and why; see ``gates.nights``."""

    def sections(self, metrics: dict, log: list[dict], manifest: dict) -> dict:
        """Title -> content, of the report between gates and configuration."""
        return {}
