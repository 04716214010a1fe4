"""The sections of what goes with training and follows it: tracking, export, nights."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from steadyrank.pipeline.config.section import Section
from steadyrank.pipeline.config.server_uri import checked_uri


class Serving(Section):
    """How the export is called."""

    shared: list[str] = []
    """Features that all candidates of a request share; with them the export computes their
    part once."""


class Export(Section):
    """How the export is stored."""

    embedding_dtype: Literal["float32", "float16", "bfloat16", "int8"] = "float32"
    """How the export stores its embedding tables."""


class Keep(Section):
    """What a store keeps; what is served, or can be again, always stays."""

    nights: Annotated[int, Field(ge=1)] | None = None
    """The last nights that stay whole; of older ones `night.json` does. null: all."""
    releases: Annotated[int, Field(ge=1)] | None = None
    """The last releases that a rollback can go back to; null: all."""


class Nightly(Section):
    """What the nightly job trains on, after its first night, and what it keeps."""

    train_days: Annotated[int, Field(ge=1)] | None = 1
    """Last days before the one that is judged, at least; null: all."""
    keep: Keep = Keep()
    """What stays after each night: `{nights: 60, releases: 10}`."""


class Importance(Section):
    """How much each feature matters, in the report: see ``steadyrank importance``."""

    rows: Annotated[int, Field(ge=0)] = 10_000
    """Rows of the split that are looked at, at most; 0: importance is not measured."""
    together: list[Annotated[list[str], Field(min_length=2)]] = []
    """Features that are exchanged as one unit each, beside those that say the same."""


class Tracking(Section):
    """Where a run is told of, beside its own folder; the model hangs on none of it."""

    mlflow: str | None = None
    """The URI of an MLflow server, such as `http://mlflow:5000`, which is told of the run;
    it needs `pip install 'steadyrank[mlflow]'`. null: none is."""
    experiment: Annotated[str, Field(min_length=1, max_length=500)] = "steadyrank"
    """The experiment of MLflow that the run is of."""

    @field_validator("mlflow")
    @classmethod
    def _server(cls, value):
        return value if value is None else checked_uri(value)
