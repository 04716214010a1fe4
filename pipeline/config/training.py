"""Section ``train``: the optimizers of both kinds of weights, and how long it goes on."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from steadyrank.pipeline.config.section import Positive, Section
from steadyrank.pipeline.config.task_weights import Fixed, TaskWeights

RATES = {"adam": 1e-3, "adagrad": 0.2}  # of the dense weights, where none is given


class DenseOptimizer(Section):
    """How the dense weights (everything but the embedding tables) are updated."""

    optimizer: Literal["adagrad", "adam"] = "adam"
    """Of the dense weights: all but the embedding tables."""
    learning_rate: Positive = RATES["adam"]
    """At `train.base_batch_size`, after the warm-up; of adagrad 0.2 where none is given."""
    clip: Literal[
        "clippy",
        "clippy_unit",
        "none",
        "value",
        "norm",
        "global_norm",
        "agc",
        "agc_tensor",
        "lamb",
    ] = "clippy"
    """What limits an update; clippy_unit has one factor per output unit (thresholds 0.1 and
    1e-3 did best)."""
    relative_threshold: Positive = 0.5
    """Clippy's lambda_rel, the paper's."""
    absolute_threshold: Positive = 1e-2
    """Clippy's lambda_abs, the paper's."""
    threshold: Positive | None = None
    """Of the other clips, which need it."""

    @model_validator(mode="before")
    @classmethod
    def _rate(cls, value):
        """Where none is given, the rate goes with the optimizer."""
        if not isinstance(value, dict) or "learning_rate" in value:
            return value
        rate = RATES.get(value.get("optimizer"))
        return value if rate is None else {**value, "learning_rate": rate}

    @model_validator(mode="after")
    def _threshold(self):
        needs = self.clip not in ("clippy", "clippy_unit", "none")
        if needs and self.threshold is None:
            raise ValueError(f"clip {self.clip!r} needs threshold, for instance 0.01")
        if not needs and self.threshold is not None:
            raise ValueError(f"clip {self.clip!r} does not use threshold; remove it")
        return self


class RowOptimizer(Section):
    """How the rows of the embedding tables that a batch holds are updated."""

    optimizer: Literal["adam", "adagrad", "row_wise_adagrad"] = "adam"
    """Of the embedding tables: all touch only the rows of the batch."""
    learning_rate: Positive = 2e-3
    """At `train.base_batch_size`."""
    clip: Literal["cowclip", "field", "global", "clippy", "none"] = "cowclip"
    """By id; or, for comparison, one factor for the rows of a field, or all; clippy: row by
    row."""
    r: Positive = 1.0
    """Of CowClip; Clippy's lambda_rel."""
    zeta: Positive = 1e-5
    """Of CowClip; Clippy's lambda_abs."""
    l2: Annotated[float, Field(ge=0)] = 0.0
    """lambda of lambda times the squared norm of a row."""
    semantics: Literal["lazy", "dense", "touched"] = "lazy"
    """Of rows that no batch holds: as a dense optimizer would, at their return or in every
    step; or not at all."""


class EmbeddingOptimizer(RowOptimizer):
    """How the rows of the embedding tables that a batch holds are updated."""

    warmup: bool = False
    """Whether `train.warmup_steps` are of this rate, too."""


class Train(Section):
    """How long and how fast to train."""

    epochs: Annotated[int, Field(ge=1)] = 20
    """Passes over the training split, at most: `patience` ends it before."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    """Rows of a step, over all replicas."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    """Of weights, order and draws: the same gives the same model."""
    dense: DenseOptimizer = DenseOptimizer()
    """How the dense weights are updated."""
    embedding: EmbeddingOptimizer = EmbeddingOptimizer()
    """How the embedding tables are updated."""
    base_batch_size: Annotated[int, Field(ge=1)] | None = None
    """The batch size for which rates, L2 and warm-up are given; null: `batch_size`."""
    scaling: Literal[
        "none", "sqrt", "linear", "n2_lambda", "cowclip", "sde", "momentum"
    ] = "momentum"
    """How rates, L2 and Adam's constants follow `batch_size` from `base_batch_size`."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps in which the dense rate rises from 0, at the base batch size."""
    decay: Literal["none", "linear"] = "none"
    """Of the rates, to 0 at the end of training."""
    task_weights: TaskWeights = Fixed(method="fixed")
    """How the tasks' weights change in training, beside their own."""
    shuffle_rows: Annotated[int, Field(ge=1)] = 262_144
    """Rows that are mixed at once, within a window."""
    patience: Annotated[int, Field(ge=0)] | None = 1
    """Epochs without gain that are borne: one more ends training; null: all epochs."""
    monitor: str = "mean_auc"
    """What is to gain on the validation split: mean_auc, or one task's name."""
    average: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an average of the dense weights over the steps, such as 0.999: it is kept in
    their place where it does better on the validation split. null: there is none."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What the trunk, and the front before it, compute in; all weights, tables, losses and
    updates are float32 all the same, and so is the export."""
    checkpoint_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between checkpoints, beside one after each evaluation."""
    spike_guard: Annotated[float, Field(gt=1)] | None = 3.0
    """A step whose gradient is longer than so many times the usual is shortened to that,
    dense weights and tables alike: one bad batch. null: none is."""
    on_divergence: Literal["stop", "rollback", "continue"] = "rollback"
    """What to do where the loss diverges."""
    max_rollbacks: Annotated[int, Field(ge=0)] = 3
    """Rollbacks, after which training ends with status 3."""
    rollback_factor: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Of the rates, at each rollback."""

    @property
    def batch_scale(self) -> float:
        return self.batch_size / (self.base_batch_size or self.batch_size)

    @property
    def warmup(self) -> int:
        """Steps of the warm-up: as many examples at any batch size."""
        return round(self.warmup_steps / self.batch_scale)
