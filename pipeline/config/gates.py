"""The ``gates`` section of a config."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from steadyrank.pipeline.config.section import Positive, Section


class DivergenceGate(Section):
    """Full divergence or a non-finite loss always refuses."""

    max_micro: Annotated[int, Field(ge=0)]  # micro-divergences let pass
    max_rollbacks: Annotated[int, Field(ge=0)] = 0  # divergences that training survived
    max_spikes: Annotated[int, Field(ge=0)] | None = None  # steps held back by the guard


class AucGate(Section):
    """Of AUC and GAUC, and of GAUC and NDCG@10 under the served score."""

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


class LatencyGate(Section):
    """Of requests to one signature of the export, on the machine that evaluates."""

    signature: Literal["serving_default", "candidates", "encoded", "tf_example"] = (
        "serving_default"
    )
    rows: Annotated[int, Field(ge=1)] = 500  # of a request
    max_p50_ms: Positive | None = None
    max_p99_ms: Positive | None = None

    @model_validator(mode="after")
    def _threshold(self):
        if self.max_p50_ms is None and self.max_p99_ms is None:
            raise ValueError("needs max_p50_ms, max_p99_ms or both")
        return self


class SkewGate(Section):
    max_difference: Positive


class StabilityGate(Section):
    min_margin: Positive  # lowest rate that diverges over the rate in use
    min_steps: Annotated[int, Field(ge=1)] = 100  # of a probe that does not diverge


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
    score_gauc: dict[str, AucGate] = {}  # of each task's labels under the served score
    score_ndcg: dict[str, AucGate] = {}  # NDCG@10 in the same way
    calibration: dict[str, CalibrationGate] = {}
    slices: list[SliceGate] = []
    skew: SkewGate | None = None
    drift: DriftGate | None = None
    size: SizeGate | None = None
    latency: LatencyGate | None = None
    stability: StabilityGate | None = None  # of what `steadyrank stability` found
