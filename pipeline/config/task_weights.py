"""``train.task_weights``: how the weights of the tasks change while training goes on."""

from typing import Annotated, Literal

from pydantic import Field

from steadyrank.pipeline.config.section import Positive, Section


class Fixed(Section):
    """The tasks' own weights, from beginning to end."""

    method: Literal["fixed"]


class Decay(Section):
    """PLE's ``w * gamma ** t``, t in steps or epochs."""

    method: Literal["decay"]
    gamma: Annotated[dict[str, Positive], Field(min_length=1)]
    """Task -> what its weight is multiplied with each time; else 1."""
    per: Literal["step", "epoch"] = "epoch"
    """When it is multiplied."""


class Uncertainty(Section):
    """Weights learned as variances (Kendall et al., CVPR'18)."""

    method: Literal["uncertainty"]
    rate: Positive = 1e-2
    """Learning rate of the log variances."""


class GradNorm(Section):
    """Gradients of like norm, more for tasks that are slow (Chen et al., ICML'18)."""

    method: Literal["gradnorm"]
    alpha: Annotated[float, Field(ge=0)] = 1.5
    """How much more slow tasks get; the paper's range is 0.5 to 3."""
    rate: Positive = 1e-2
    """Learning rate of the weights."""


class Dwa(Section):
    """More for tasks whose loss falls slowly (Liu et al., CVPR'19)."""

    method: Literal["dwa"]
    temperature: Positive = 2.0
    """Of the softmax over the losses' slopes; the paper's."""


class PcGrad(Section):
    """Conflicting parts of the tasks' gradients are left out (Yu et al., NeurIPS'20)."""

    method: Literal["pcgrad"]


METHODS = (Fixed, Decay, Uncertainty, GradNorm, Dwa, PcGrad)
TaskWeights = Annotated[
    Fixed | Decay | Uncertainty | GradNorm | Dwa | PcGrad, Field(discriminator="method")
]
