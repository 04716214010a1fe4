"""The sections of what follows training: export, serving, nights, importance."""

from typing import Annotated, Literal

from pydantic import Field

from steadyrank.pipeline.config.section import Section


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
