"""The ``gates`` section of a config."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from steadyrank.pipeline.config.section import Positive, Section


class DivergenceGate(Section):
    """Full divergence or a non-finite loss always refuses."""

    max_micro: Annotated[int, Field(ge=0)]
    """Jumps of the loss that came back."""
    max_rollbacks: Annotated[int, Field(ge=0)] = 0
    """Divergences that training survived."""
    max_spikes: Annotated[int, Field(ge=0)] | None = None
    """Steps that `train.spike_guard` shortened, at most; null: any."""


class AucGate(Section):
    """Of AUC and GAUC, and of GAUC and NDCG@10 under the served score."""

    min: Annotated[float, Field(ge=0, le=1)] | None = None
    """Of the metric itself."""
    min_gain: float | None = None
    """Over the baseline, on the same rows."""

    @model_validator(mode="after")
    def _threshold(self):
        if self.min is None and self.min_gain is None:
            raise ValueError("needs min, min_gain or both: a gate without one refuses")
        return self


class LossGate(Section):
    """Of log loss and normalised entropy, of which less is better."""

    max: Positive | None = None
    """Of the metric itself."""
    min_gain: float | None = None
    """The baseline's less the model's, on the same rows."""

    @model_validator(mode="after")
    def _threshold(self):
        if self.max is None and self.min_gain is None:
            raise ValueError("needs max, min_gain or both: a gate without one refuses")
        return self


class DecilesGate(Section):
    """In each tenth of the predictions, predicted over observed is 1 within this."""

    max_error: Positive
    """By how much predicted over observed may be off 1, in each tenth of the
    predictions."""


class CalibrationGate(Section):
    """Limits of predicted over observed."""

    min: Positive | None = None
    """Of predicted over observed."""
    max: Positive | None = None
    """Of predicted over observed."""
    deciles: DecilesGate | None = None
    """The same in each tenth of the predictions."""

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

    by: Annotated[list[str], Field(min_length=1)]
    """Features whose values part the rows; several: their crossing."""
    min_rows: Annotated[int, Field(ge=1)] = 1000
    """Rows of a slice that is judged; smaller ones are named."""
    auc: dict[str, AucGate] = {}
    """By task."""
    calibration: dict[str, CalibrationGate] = {}
    """By task."""

    @model_validator(mode="after")
    def _limits(self):
        if not self.auc and not self.calibration:
            raise ValueError("needs auc, calibration or both: a gate without one refuses")
        if len(set(self.by)) < len(self.by):
            raise ValueError(f"by must name features once. Received: by={self.by}")
        return self


class DriftGate(Section):
    """Of each task's predictions from the baseline's: population stability index."""

    max_psi: Positive
    """Population stability index of predictions; by custom below 0.1 is stable, above 0.25
    another."""


class SizeGate(Section):
    """Of the export on disk."""

    max_mb: Positive
    """Megabytes of the whole export."""


class LatencyGate(Section):
    """Of requests to one signature of the export, on the machine that evaluates."""

    signature: Literal["serving_default", "candidates", "encoded", "tf_example"] = (
        "serving_default"
    )
    """Of the export, which is called on the machine that evaluates."""
    rows: Annotated[int, Field(ge=1)] = 500
    """Of a request."""
    max_p50_ms: Positive | None = None
    """Milliseconds of the median request."""
    max_p99_ms: Positive | None = None
    """Milliseconds of one request in a hundred."""

    @model_validator(mode="after")
    def _threshold(self):
        if self.max_p50_ms is None and self.max_p99_ms is None:
            raise ValueError("needs max_p50_ms, max_p99_ms or both")
        return self


class SkewGate(Section):
    """Whether all signatures of an export answer alike."""

    max_difference: Positive
    """Between the scores that the export's signatures give the same rows."""


class StabilityGate(Section):
    """How far the learning rate in use is from one that diverges."""

    min_margin: Positive
    """Lowest rate that diverges over the rate in use, as `stability` found it."""
    min_steps: Annotated[int, Field(ge=1)] = 100
    """Steps of the longest probe."""


class Gates(Section):
    """What a model must pass. A gate that is not here does not judge.

    A gain over the baseline and the calibration of deciles are judged with their scatter:
    PASS or REFUSE where that is certain, else HOLD. With ``confidence``, so are all
    limits of metrics; without it those compare the measured number itself.
    """

    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Of each verdict on a metric; null: 0.95 of gains, and limits compare the number
    itself."""
    repetitions: Annotated[int, Field(ge=50)] = 200
    """Samples of the bootstrap over groups."""
    divergence: DivergenceGate | None = None
    """Of the loss in training."""
    auc: dict[str, AucGate] = {}
    """By binary task."""
    gauc: dict[str, AucGate] = {}
    """By binary task: AUC within groups; needs `data.group`."""
    log_loss: dict[str, LossGate] = {}
    """By binary task."""
    normalized_entropy: dict[str, LossGate] = {}
    """By binary task: log loss over that of the base rate."""
    score_gauc: dict[str, AucGate] = {}
    """By task: GAUC of its labels under the served score; needs `data.group`."""
    score_ndcg: dict[str, AucGate] = {}
    """By task: NDCG@10 of its labels under the served score; needs `data.group`."""
    calibration: dict[str, CalibrationGate] = {}
    """By task: predicted over observed."""
    slices: list[SliceGate] = []
    """Limits within parts of the rows."""
    skew: SkewGate | None = None
    """Between the export's signatures."""
    drift: DriftGate | None = None
    """Of predictions from the baseline's."""
    size: SizeGate | None = None
    """Of the export."""
    latency: LatencyGate | None = None
    """Of requests to the export."""
    stability: StabilityGate | None = None
    """Of what `steadyrank stability` found."""
