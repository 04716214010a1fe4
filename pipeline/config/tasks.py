"""The tasks: what a model learns, by which loss, on which rows."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from steadyrank.pipeline.config.events import length_of_time
from steadyrank.pipeline.config.features import LONGEST_NAME, FeatureConfig
from steadyrank.pipeline.config.section import Section

TaskName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=LONGEST_NAME)
]

TWEEDIE_POWER = 1.5
SOFT_WEIGHT = 0.5


class TaskConfig(Section):
    """One label to predict."""

    name: TaskName
    """What outputs, metrics and gates call it."""
    column: str = ""
    """The label's; a null label takes the row out of the task's sample space. Empty: the
    name."""
    kind: Literal["binary", "regression"] = "binary"
    """A probability, or a value."""
    given: str = ""
    """The task that must be 1 for this one to exist; empty: it exists in all rows."""
    at_least: float | None = None
    """A binary label from a number: 1 from here on."""
    transform: Literal["identity", "log1p"] = "identity"
    """Of a regression label, undone in what is served."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    """Of the task in the loss."""
    truth: str = ""
    """Column with the true probability or value, where it is known."""
    negative_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Fraction of its negatives that the log kept: served probabilities undo it."""
    positive_weight: Annotated[float, Field(gt=0)] = 1.0
    """How many negatives a positive counts for in the loss; likewise undone."""
    sample_weight: str = ""
    """Column that says how much a row counts in the loss; empty: all alike."""
    loss: Literal["squared", "tweedie", "gamma", "weighted_logistic"] = "squared"
    """Of a regression: all but squared learn the logarithm of the mean of a value that is
    never below 0 (watch time, say); tweedie of one that is often 0, gamma of one that
    never is, weighted_logistic by its odds."""
    tweedie_power: Annotated[float, Field(gt=1, lt=2)] = TWEEDIE_POWER
    """Of tweedie: towards 1 for counts, towards 2 for amounts."""
    space: Literal["given", "all"] = "given"
    """Which rows train a task that is `given` another: those where that one is 1, or all,
    by the product of both probabilities (ESMM). What is served, and judged, is the same."""
    ranking: Literal["none", "pairwise", "listwise", "jrc"] = "none"
    """Loss of the order within `data.group`, beside a binary task's cross entropy:
    RankNet's of pairs, the softmax of positives among the group's rows, or JRC's of all
    rows."""
    ranking_weight: Annotated[float, Field(gt=0)] = 1.0
    """Of `ranking`, relative to cross entropy."""

    smearing: Literal["factor", "levels"] = "factor"
    """How a value that is not learned as it is (`transform`, or a `loss` but squared) gets
    the mean of the validation split: times one factor, or by a curve through low,
    middling and high ones, each as it was observed."""
    soft_label: str = ""
    """Column with what an earlier model foretold of this task, as `score` writes it: to
    learn from beside the label ([distillation](serving.md#distillation)). Empty: none."""
    soft_weight: Annotated[float, Field(ge=0, le=1)] = SOFT_WEIGHT
    """Share of `soft_label` in the loss, the label's being the rest."""

    matures_after: str | None = None
    """After how long a label is final, a count of m, h or d such as 7d; null: at once. In
    the training split labels that are younger, counted back from the end of the log's last
    day (UTC), are not known yet: see [late labels](logs.md#late-labels)."""

    @field_validator("matures_after")
    @classmethod
    def _matures_after(cls, value):
        return length_of_time(value)

    @model_validator(mode="after")
    def _loss(self):
        if self.loss != "squared" and self.kind == "binary":
            raise ValueError(f"loss {self.loss} is for regression tasks; set kind")
        if self.loss != "squared" and self.transform != "identity":
            raise ValueError(
                f"loss {self.loss} learns the logarithm itself; leave transform out"
            )
        if self.tweedie_power != TWEEDIE_POWER and self.loss != "tweedie":
            raise ValueError("tweedie_power is of loss: tweedie; leave it out")
        if self.ranking != "none" and (self.kind != "binary" or self.space == "all"):
            raise ValueError(
                f"ranking: {self.ranking} is for binary tasks over their own sample space; "
                "leave it out, or set kind: binary and space: given"
            )
        if self.ranking_weight != 1 and self.ranking == "none":
            raise ValueError("ranking_weight is of ranking, which is none; leave it out")
        plain = self.loss == "squared" and self.transform == "identity"
        if self.smearing != "factor" and plain:
            raise ValueError(
                f"smearing: {self.smearing} is for what is not learned as it is; "
                "set transform or loss, or leave it out"
            )
        if self.soft_weight != SOFT_WEIGHT and not self.soft_label:
            raise ValueError("soft_weight is of soft_label, which is empty; leave it out")
        if self.space == "all" and (self.kind != "binary" or not self.given):
            raise ValueError("space: all is for binary tasks that are given another")
        return self

    @model_validator(mode="after")
    def _kind(self):
        if self.kind == "binary" and self.transform != "identity":
            raise ValueError("transform is for regression tasks; a binary label is 0 or 1")
        if self.kind == "regression" and self.at_least is not None:
            raise ValueError("at_least makes a binary label; kind must be binary")
        if self.kind == "regression" and self.negative_rate != 1:
            raise ValueError("negative_rate is for binary tasks: a value is no negative")
        if self.kind == "regression" and self.positive_weight != 1:
            raise ValueError("positive_weight is for binary tasks: a value is no positive")
        return self


def column(item: FeatureConfig | TaskConfig) -> str:
    """The column of the log that a feature or a task reads."""
    return item.column or item.name


def beside(task: TaskConfig) -> dict[str, str]:
    """Key -> the column that it names, beside the label, of those that are set."""
    found = {key: getattr(task, key) for key in ("truth", "sample_weight", "soft_label")}
    return {key: name for key, name in found.items() if name}
