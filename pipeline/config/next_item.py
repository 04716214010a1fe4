"""The config of a next-item model: what sequences are, and how a model grows on them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from steadyrank.pipeline.config.gates import (
    DivergenceGate,
    LatencyGate,
    SizeGate,
    SkewGate,
)
from steadyrank.pipeline.config.log import Log, Moments
from steadyrank.pipeline.config.section import Section, renamed, without
from steadyrank.pipeline.config.stages import Nightly, Tracking
from steadyrank.pipeline.config.sweep import Sweep
from steadyrank.pipeline.config.training import DenseOptimizer, RowOptimizer
from steadyrank.pipeline.config.trunks import Size

KIND = "next_item"
LAST = "leave_last_out"
Metric = Literal[
    "mrr@5", "hr@5", "ndcg@5", "mrr@10", "hr@10", "ndcg@10", "mrr@20", "hr@20", "ndcg@20"
]


class Keep(Section):
    """Which events count: those with a number that is large enough."""

    column: str
    """A column of numbers."""
    at_least: float
    """Events with less are left out, and counted."""


class Sequences(Section):
    """How events become sequences: by user, in the order of time."""

    user: str
    """The column that says whose event it is."""
    item: str
    """The column of what is to be foretold."""
    time: str
    """The column that orders a user's events."""
    length: Annotated[int, Field(ge=2)]
    """Items of a sequence at most, the last of them foretold."""
    min_length: Annotated[int, Field(ge=2)] = 2
    """Events of a user at least, with fractions of a piece; those of shorter ones are left
    out, and counted."""
    min_count: Size = 1
    """Training events that an item must be in to be known; all others are one."""
    max_size: Size | None = None
    """Known items, at most: of new ones the most frequent; null: any number."""
    keep: Keep | None = None
    """Which events count; null: every one."""

    @model_validator(mode="before")
    @classmethod
    def _of_ranking(cls, value):
        stays = "keep each known item's row for good; max_size bounds how many there are"
        return without(value, {"expire_after": stays})

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
    """Each user's last event tests, the one before validates; said as one word, `split:
    leave_last_out`."""

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

    window: str | None = None
    """Length of a window of training, a count of m, h or d, by which a set grows; null: all
    is one."""
    sequences: Sequences
    """How events become sequences."""
    split: SequenceSplit
    """Which events, or sequences, validate and test."""

    @model_validator(mode="before")
    @classmethod
    def _of_ranking(cls, value):
        every = "tell an item from all others: there are negatives enough"
        return without(value, {"negatives": every, "downsample": every})

    @property
    def time(self) -> str:
        """The column that orders events."""
        return self.sequences.time


class NextItem(Section):
    """Item embedding, blocks, a softmax over the catalogue."""

    kind: Literal["next_item"]
    """A next-item model."""
    block: Literal["nextitnet", "sasrec"] = "nextitnet"
    """Of the encoder: dilated convolutions, or self-attention."""
    dim: Size = 64
    """Width of an item's vector."""
    alpha: bool = True
    """Whether each block's residual weight is learned, from 1, in blocks that are grown
    from 0; else it is 1."""
    heads: Size = 1
    """Of sasrec's attention; it divides `dim`."""
    softmax: Literal["full", "sampled"] = "full"
    """Of training: over the catalogue, or over a part that is drawn anew."""
    tied: bool | None = None
    """Whether the softmax reads the items' vectors, in place of a table of its own; null:
    of sasrec with a full one."""
    sample: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the catalogue in a sampled softmax; null: 0.2."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Rate, of sasrec; null: 0.2."""
    normalize_first: bool = False
    """Of sasrec: blocks are the identity at alpha 0, which growth unchanged needs."""

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
    """Depth of the encoder."""
    grow: Literal["adjacent", "cross", "unchanged"] | None = None
    """How a deeper phase starts from the one before; null: it is as deep."""
    epochs: Size | None = None
    """Passes over its sequences, at most; null: no limit."""
    steps: Size | None = None
    """At most; null: no limit."""
    patience: Size | None = None
    """Evaluations without gain of `train.monitor`, after which it ends; null: it does
    not."""
    data_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training sequences; smaller ones are part of larger ones."""

    @model_validator(mode="after")
    def _ends(self):
        if self.epochs is None and self.steps is None and self.patience is None:
            raise ValueError("needs epochs, steps or patience: it must end some time")
        return self


class SequenceTrain(Section):
    """Phases of training, and how fast to train."""

    phases: Annotated[list[Phase], Field(min_length=1)]
    """Each begins with the best weights of the one before."""
    start_from: str | None = None
    """Local folder of a trained model, whose blocks and shared items' vectors are taken;
    null: none."""
    batch_size: Size = 256
    """Sequences of a step, over all replicas."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Of weights, order and draws: the same gives the same model."""
    dense: DenseOptimizer = DenseOptimizer(optimizer="adam", learning_rate=1e-3)
    """How the dense weights are updated."""
    embedding: RowOptimizer = RowOptimizer()
    """How the tables are updated."""
    monitor: Metric = "ndcg@10"
    """What is to gain on the validation split, ranked as it is served."""
    evaluate_every: Size | None = None
    """Steps between evaluations; null: one after each epoch."""
    checkpoint_every: Size = 1000
    """Steps between checkpoints, beside one after each evaluation."""
    xla: bool = False
    """Whether XLA compiles steps: on a CPU it pays with sasrec alone; compiles for each
    depth."""
    spike_guard: Annotated[float, Field(gt=1)] | None = 3.0
    """A step whose gradient is longer than so many times the usual is shortened to that,
    dense weights and tables alike: one bad batch. null: none is."""
    on_divergence: Literal["stop", "rollback", "continue"] = "rollback"
    """What to do where the loss diverges."""
    max_rollbacks: Annotated[int, Field(ge=0)] = 3
    """Rollbacks, after which training ends with status 3."""
    rollback_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the rates, at each rollback."""


class SequenceServing(Section):
    """What the export answers; it is measured by the same."""

    k: Size = 20
    """Items of an answer."""
    exclude_seen: bool = False
    """Whether items of the history are left out of answers, in what is measured, too."""


class MetricGate(Section):
    """Of a metric over the whole catalogue."""

    min: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the metric itself."""
    min_gain: float | None = None
    """Over the baseline, on the same sequences."""
    min_gain_over_popularity: float | None = None
    """Over a ranking by training counts."""
    min_gain_over_transitions: float | None = None
    """Over the items that most often came right after the newest one, in training."""

    @model_validator(mode="after")
    def _threshold(self):
        if all(limit is None for limit in vars(self).values()):
            names = ", ".join(type(self).model_fields)
            raise ValueError(f"needs one of {names}: a gate without one refuses")
        return self


class SequenceGates(Section):
    """What a model must pass; gains are judged with their scatter over users."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Of each verdict on a metric; null: 0.95 of gains, and limits compare the number
    itself."""
    repetitions: Annotated[int, Field(ge=50)] = 200
    """Samples of the bootstrap over users."""
    divergence: DivergenceGate | None = None
    """Of the loss in training."""
    metrics: dict[Metric, MetricGate] = {}
    """By metric: mrr, hr and ndcg at 5, 10 and 20, over the whole catalogue."""
    skew: SkewGate | None = None
    """Between the export's signatures."""
    size: SizeGate | None = None
    """Of the export."""
    latency: LatencyGate | None = None
    """Of requests to the export."""

    @model_validator(mode="before")
    @classmethod
    def _metrics(cls, value):
        return renamed(value, "ranking", "gates.metrics")


class SequenceConfig(Section):
    """A whole run of a next-item model."""

    data: SequenceData
    """Where the log is, what its sequences are, and how they are split."""
    model: NextItem
    """Item embedding, blocks, a softmax over the catalogue."""
    train: SequenceTrain
    """Phases of training, and how fast to train."""
    serving: SequenceServing = SequenceServing()
    """What the export answers."""
    gates: SequenceGates = SequenceGates()
    """What a model must pass to be released."""
    sweep: Sweep | None = None
    """Which settings `sweep` tries; see [sweeps](sweeps.md). null: none."""
    nightly: Nightly = Nightly()
    """What nights train on; see [nights](nightly.md)."""
    tracking: Tracking = Tracking()
    """Where the run is told of, beside its own folder: an MLflow server."""

    @model_validator(mode="before")
    @classmethod
    def _of_ranking(cls, value):
        return without(value, {"contract": "hold their days to none"})

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
