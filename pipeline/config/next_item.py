"""The config of a next-item model: what sequences are, and how a model grows on them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from steadyrank.pipeline.config.gates import (
    DivergenceGate,
    LatencyGate,
    SizeGate,
    SkewGate,
)
from steadyrank.pipeline.config.section import Section, renamed
from steadyrank.pipeline.config.sections import (
    DenseOptimizer,
    Log,
    Moments,
    Nightly,
    RowOptimizer,
)
from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.config.trunks import Size

KIND = "next_item"
LAST = "leave_last_out"
Metric = Literal[
    "mrr@5", "hr@5", "ndcg@5", "mrr@10", "hr@10", "ndcg@10", "mrr@20", "hr@20", "ndcg@20"
]


class Keep(Section):
    """Which events count: those with a number that is large enough."""

    column: str
    at_least: float


class Sequences(Section):
    """How events become sequences: by user, in the order of time."""

    user: str  # the column that says whose event it is
    item: str  # the column of what is to be foretold
    time: str
    length: Annotated[int, Field(ge=2)]  # items of a sequence, the last of them foretold
    min_length: Annotated[int, Field(ge=2)] = 2  # shorter ones are left out, and counted
    min_count: Size = 1  # items seen less often in training are one unknown item
    keep: Keep | None = None  # null: every event

    @model_validator(mode="after")
    def _lengths(self):
        if self.min_length > self.length:
            raise ValueError(
                f"min_length must not be above length. Received: min_length="
                f"{self.min_length}, length={self.length}"
            )
        columns = [self.user, self.item, self.time]
        if len(set(columns)) < 3:
            raise ValueError(f"user, item and time must differ. Received: {columns}")
        return self


class SequenceSplit(Moments):
    """Moments, fractions of the sequences, or the word ``leave_last_out``.

    Moments: every event from ``validation``, and from ``test`` on, is to be foretold from
    what its user did before.  Where only ``test`` is a moment, ``validation`` is a
    fraction of the users: their events from there on validate.  Fractions: whole
    sequences, drawn by user and piece, whose last item is to be foretold.
    ``leave_last_out``: each user's last event tests, the one before validates, all others
    train.
    """

    leave_last_out: bool = False

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value):
        if not isinstance(value, str):
            return value
        if value != LAST:
            raise ValueError(
                f"must be {LAST}, or name validation and test: two moments, or two "
                "fractions"
            )
        return {LAST: True}

    @model_validator(mode="after")
    def _consistent(self):
        both = (self.validation, self.test)
        if self.leave_last_out:
            if both != (None, None):
                raise ValueError(f"{LAST} takes neither validation nor test; remove them")
            return self
        if None in both:
            raise ValueError(f"needs validation and test, or is the word {LAST}")
        if self.by_fraction and not isinstance(self.validation, float):
            raise ValueError(
                "validation and test must both be moments, or fractions; or validation a "
                "fraction of the users from the moment test on"
            )
        if self.by_fraction:
            if not (min(both) > 0 < 1 - sum(both)):
                raise ValueError(
                    "fractions must be above 0 and leave sequences to train on. "
                    f"Received: {both[0]}, {both[1]}"
                )
            return self
        self._check_moments()
        return self


class SequenceData(Log):
    """Where the log is, what its sequences are, and how they are split."""

    window: str | None = None  # of training, which a set grows by; null: all is one
    sequences: Sequences
    split: SequenceSplit

    @property
    def time(self) -> str:
        """The column that orders events."""
        return self.sequences.time


class NextItem(Section):
    """Item embedding, blocks, a softmax over the catalogue."""

    kind: Literal["next_item"]
    block: Literal["nextitnet", "sasrec"] = "nextitnet"
    dim: Size = 64
    # each block's residual weight is learned, from 1, in blocks that are grown from 0; or 1
    alpha: bool = True
    heads: Size = 1  # of sasrec's attention; it divides dim
    softmax: Literal["full", "sampled"] = "full"
    # whether the softmax reads the items' vectors, in place of a table of its own; null:
    # of sasrec with a full one
    tied: bool | None = None
    sample: Annotated[float, Field(gt=0, le=1)] | None = None  # of sampled; null: 0.2
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None  # of sasrec; null: 0.2
    normalize_first: bool = False  # of sasrec: blocks are the identity at alpha 0

    @model_validator(mode="after")
    def _fits(self):
        if self.sample is not None and self.softmax == "full":
            raise ValueError("sample is for softmax: sampled; remove it")
        given = {"dropout": self.dropout, "normalize_first": self.normalize_first}
        given["heads"] = self.heads > 1
        for name, value in given.items():
            if value and self.block != "sasrec":
                raise ValueError(f"{name} is for block: sasrec; remove it")
        if self.dim % self.heads:
            raise ValueError(
                f"heads must divide dim. Received: heads={self.heads}, dim={self.dim}"
            )
        if self.tied and self.softmax != "full":
            raise ValueError("tied is for softmax: full; remove one of them")
        return self

    @property
    def is_tied(self) -> bool:
        """Whether the softmax reads the items' vectors."""
        default = self.block == "sasrec" and self.softmax == "full"
        return default if self.tied is None else self.tied

    @property
    def dropout_rate(self) -> float:
        """Of the blocks."""
        default = 0.2 if self.block == "sasrec" else 0.0
        return default if self.dropout is None else self.dropout

    @property
    def sampled(self) -> float | None:
        """Share of the catalogue in the training softmax; None: all of it."""
        return (self.sample or 0.2) if self.softmax == "sampled" else None


class Phase(Section):
    """A depth, and how long to train at it; the best weights go on to the next phase."""

    blocks: Size
    # how a deeper phase starts from the one before; null: it is as deep
    grow: Literal["adjacent", "cross", "unchanged"] | None = None
    epochs: Size | None = None
    steps: Size | None = None
    patience: Size | None = None  # evaluations without gain: until converged
    data_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # nested: of 20 % are in 80 %

    @model_validator(mode="after")
    def _ends(self):
        if self.epochs is None and self.steps is None and self.patience is None:
            raise ValueError("needs epochs, steps or patience: it must end some time")
        return self


class SequenceTrain(Section):
    """Phases of training, and how fast to train."""

    phases: Annotated[list[Phase], Field(min_length=1)]
    start_from: str | None = None  # what `train` wrote: blocks and known items' vectors
    batch_size: Size = 256
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    dense: DenseOptimizer = DenseOptimizer(optimizer="adam", learning_rate=1e-3)
    embedding: RowOptimizer = RowOptimizer()
    monitor: Metric = "ndcg@10"  # on the validation split, ranked as it is served
    evaluate_every: Size | None = None  # steps; null: after each epoch
    checkpoint_every: Size = 1000  # steps, beside one after each evaluation
    xla: bool = False  # on a CPU it pays with SASRec alone; compiles for each depth
    # a step whose gradient is longer than so many times the usual is shortened to that,
    # dense weights and tables alike: one bad batch; null: none is
    spike_guard: Annotated[float, Field(gt=1)] | None = 3.0
    on_divergence: Literal["stop", "rollback", "continue"] = "rollback"
    max_rollbacks: Annotated[int, Field(ge=0)] = 3
    rollback_factor: Annotated[float, Field(gt=0, le=1)] = 0.5  # of the rates, each time


class SequenceServing(Section):
    """What the export answers; it is measured by the same."""

    k: Size = 20  # items of an answer
    exclude_seen: bool = False  # whether items of the history are left out of it


class MetricGate(Section):
    """Of a metric over the whole catalogue."""

    min: Annotated[float, Field(ge=0, le=1)] | None = None
    min_gain: float | None = None  # over the baseline, on the same rows
    min_gain_over_popularity: float | None = None  # over a ranking by training counts
    # over the items that most often came right after the newest one, in training
    min_gain_over_transitions: float | None = None

    @model_validator(mode="after")
    def _threshold(self):
        if all(limit is None for limit in vars(self).values()):
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"needs one of {names}: a gate without one refuses")
        return self


class SequenceGates(Section):
    """What a model must pass; gains are judged with their scatter over users."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None  # null: 0.95 of gains
    repetitions: Annotated[int, Field(ge=50)] = 200  # of the bootstrap over users
    divergence: DivergenceGate | None = None
    metrics: dict[Metric, MetricGate] = {}
    skew: SkewGate | None = None
    size: SizeGate | None = None
    latency: LatencyGate | None = None

    @model_validator(mode="before")
    @classmethod
    def _metrics(cls, value):
        return renamed(value, "ranking", "gates.metrics")


class SequenceConfig(Section):
    """A whole run of a next-item model."""

    data: SequenceData
    model: NextItem
    train: SequenceTrain
    serving: SequenceServing = SequenceServing()
    gates: SequenceGates = SequenceGates()
    sweep: Sweep | None = None
    nightly: Nightly = Nightly()

    @model_validator(mode="after")
    def _phases(self):
        depth, start = None, self.train.start_from
        if start and "://" in start:
            raise ValueError(
                "train.start_from must be a local folder, relative to the one in which the "
                f"command runs. Received: {start}"
            )
        for number, phase in enumerate(self.train.phases):
            where = f"train.phases.{number}"
            if depth is None and start is None and phase.grow:
                raise ValueError(
                    f"{where}.grow: there is nothing to grow from. Remove it, or name a "
                    "trained model in train.start_from"
                )
            if depth is not None:
                _check_growth(where, depth, phase)
            if phase.grow == "unchanged":
                self._check_identity(where)
            depth = phase.blocks
        return self

    def _check_identity(self, where: str) -> None:
        first = self.model.block != "sasrec" or self.model.normalize_first
        if not (self.model.alpha and first):
            raise ValueError(
                f"{where}.grow: unchanged needs blocks that are the identity at alpha 0: "
                "model.alpha, and of sasrec model.normalize_first"
            )


def _check_growth(where: str, depth: int, phase: Phase) -> None:
    if phase.blocks == depth and phase.grow:
        raise ValueError(f"{where}.grow: {depth} blocks stay {depth}; remove it")
    if phase.blocks != depth and not phase.grow:
        raise ValueError(
            f"{where}: {depth} blocks become {phase.blocks}; say how with grow: adjacent, "
            "cross or unchanged"
        )
    if not depth <= phase.blocks <= 2 * depth:
        raise ValueError(
            f"{where}.blocks: {depth} blocks can grow to {2 * depth} at most, and never "
            f"shrink. Received: {phase.blocks}. Put a phase between"
        )
