"""The section ``sweep``: which settings to try, how, and by what to choose."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from steadyrank.pipeline.config.section import Positive, Section

LOWER_IS_BETTER = ("log_loss", "normalized_entropy", "rmse", "mse", "mae")
OF_VALUES = ("rmse", "mse", "mae")  # metrics of regression tasks
# of next-item models; the others of binary tasks
OF_RANKS = ("mrr@5", "hr@5", "ndcg@5", "mrr@10", "hr@10", "ndcg@10")


class When(Section):
    """A parameter is tried only where another one has one of some values."""

    key: str
    """Another parameter's, before this one in the space."""
    values: Annotated[list[Any], Field(min_length=1)]
    """Of it, with which this one is tried."""


class Parameter(Section):
    """A key of the config, and its choices or its range."""

    key: str
    """Path of a key of the config, such as train.dense.learning_rate."""
    values: Annotated[list[Any], Field(min_length=1)] | None = None
    """Choices; null: a range."""
    low: int | float | None = None
    """Of a range; both ends whole: whole numbers are tried."""
    high: int | float | None = None
    """Of a range."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Between the numbers of a range; null: any."""
    scale: Literal["linear", "log"] = "linear"
    """In which a range is drawn from."""
    when: When | None = None
    """Tried only where another parameter has one of some values; null: always."""

    @model_validator(mode="after")
    def _choices_or_range(self):
        ends = (self.low, self.high)
        if self.values is not None:
            given = [n for n in ("low", "high", "step") if getattr(self, n) is not None]
            if given or self.scale != "linear":
                raise ValueError("give values, or low and high with step or scale")
            if any(self.values.index(value) != i for i, value in enumerate(self.values)):
                raise ValueError(f"values must differ. Received: {self.values}")
        elif None in ends:
            raise ValueError("give values, or low and high")
        elif not self.low < self.high:
            raise ValueError(
                f"low must be below high, or the range is empty. Received: {ends}"
            )
        elif self.scale == "log" and (self.low <= 0 or self.step is not None):
            raise ValueError(
                "scale log needs low above 0, and takes no step. Received: "
                f"low={self.low}, step={self.step}"
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether the range is of whole numbers."""
        numbers = [n for n in (self.low, self.high, self.step) if n is not None]
        return all(isinstance(number, int) for number in numbers)


class Objective(Section):
    """A metric on the validation split: the weighted mean over tasks."""

    metric: Literal[
        "auc",
        "gauc",
        "pr_auc",
        "log_loss",
        "normalized_entropy",
        "rmse",
        "mse",
        "mae",
        "mrr@5",
        "hr@5",
        "ndcg@5",
        "mrr@10",
        "hr@10",
        "ndcg@10",
    ] = "auc"
    """On the validation split: the weighted mean over tasks."""
    tasks: dict[str, Positive] = {}
    """Task -> its weight in the mean; none: all that have the metric, alike."""

    @property
    def of_kind(self) -> str:
        """The kind of the tasks that have the metric."""
        kinds = dict.fromkeys(OF_VALUES, "regression") | dict.fromkeys(
            OF_RANKS, "next_item"
        )
        return kinds.get(self.metric, "binary")

    @property
    def direction(self) -> str:
        return "min" if self.metric in LOWER_IS_BETTER else "max"


class Constraint(Section):
    """What a trial must keep to count, whatever its objective."""

    max_micro: Annotated[int, Field(ge=0)] | None = None
    """Jumps of the loss in training; null: any."""
    min_margin: Positive | None = None
    """Of `stability` with the trial's settings, which costs more training; null: it is not
    probed."""
    windows: Annotated[int, Field(ge=1)] = 1
    """Windows that a probe trains on."""
    steps: Annotated[int, Field(ge=1)] = 50
    """Steps of a probe."""


class Sweep(Section):
    """A sweep: trials of settings, chosen by an objective."""

    method: Literal["random", "bayesian", "hyperband"] = "random"
    """How trials are chosen."""
    trials: Annotated[int, Field(ge=1)] = 20
    """Of random and bayesian."""
    max_epochs: Annotated[int, Field(ge=2)] | None = None
    """Of hyperband, which needs it."""
    factor: Annotated[int, Field(ge=2)] = 3
    """Hyperband keeps one in so many."""
    seed: Annotated[int, Field(ge=1, lt=2**31)] = 1
    """Of what is drawn."""
    objective: Objective = Objective()
    """By what trials are compared."""
    constraint: Constraint = Constraint()
    """What a trial must keep to count."""
    score: str = ""
    """A formula with {names} for numbers, tried on one trained model's predictions; empty:
    models are trained."""
    space: Annotated[list[Parameter], Field(min_length=1)]
    """Keys of the config and what to try; with a score, the names in it."""

    @field_validator("space")
    @classmethod
    def _space(cls, value):
        seen: dict[str, Parameter] = {}
        for item in value:
            if item.key in seen:
                raise ValueError(f"keys must differ. Received twice: {item.key}")
            if item.when:
                _check_condition(item, seen)
            seen[item.key] = item
        return value

    @model_validator(mode="after")
    def _method(self):
        keys = [parameter.key for parameter in self.space]
        if (self.method == "hyperband") != (self.max_epochs is not None):
            raise ValueError("max_epochs belongs to method hyperband, which needs it")
        if self.method == "hyperband" and (self.score or "train.epochs" in keys):
            raise ValueError(
                "hyperband gives its trials their epochs: it takes neither train.epochs "
                "in the space nor a score, which needs no training"
            )
        return self


def _check_condition(item: Parameter, seen: dict[str, Parameter]) -> None:
    parent = seen.get(item.when.key)
    if parent is None or parent.values is None:
        raise ValueError(
            f"{item.key}.when.key must name a parameter with values, before it in the "
            f"space. Received: {item.when.key!r}"
        )
    unknown = [value for value in item.when.values if value not in parent.values]
    if unknown:
        raise ValueError(
            f"{item.key}.when.values must be among {parent.values}. Received: {unknown}"
        )
