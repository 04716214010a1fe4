"""The features: what each kind is called, what it reads, and what may not go together."""

import itertools
import math
import re
import struct
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from steadyrank.pipeline.config.events import MOST_EVENTS, FromEvents, in_ms, length_of_time
from steadyrank.pipeline.config.section import Section
from steadyrank.pipeline.config.time_format import time_zone

LONGEST_NAME = 200  # files are called after it

# a letter first: an input of an export, which TensorFlow cannot call _a
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=LONGEST_NAME)]


class Dropped(Section):
    """A feature that training knows and serving does not."""

    drop: str | int | float
    """The value that served rows are taken to have, such as the first position; of an id
    one that training rows have."""


class CategoricalFeature(Section):
    """An id, or several, looked up in a vocabulary and embedded."""

    name: Name
    """What the model, the export and the report call it."""
    column: str = ""
    """Of the log or a side table; empty: the name."""
    kind: Literal["categorical"]
    """An id, or several, looked up in a vocabulary and embedded."""
    dim: Annotated[int, Field(ge=1)] | None = None
    """Width of its embedding; null: `model.embedding_dim`."""
    min_count: Annotated[int, Field(ge=1)] = 1
    """Training rows that a value must be in to be known."""
    oov_buckets: Annotated[int, Field(ge=1)] = 1
    """Rows of the table that unknown values share, by a hash."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """Known values, at most: of new ones the most frequent; null: any number."""
    expire_after: str | None = None
    """After how many days without a training row a value's row may become another's, such
    as 30d; null: never."""
    separator: str = ""
    """Between the values of a text that holds several."""
    max_values: Annotated[int, Field(ge=0)] = 0
    """Values of a row that are kept, the first ones; 0: a row holds one value."""
    pooling: Literal["mean", "sum"] = "mean"
    """How the vectors of several values become one."""
    table: str = ""
    """The feature whose vocabulary and embeddings this one shares; empty: its own."""
    serving: Dropped | None = None
    """`{drop: 1}`: what biased the log, such as a position; training alone reads it, and
    served rows are taken to have this value. null: it is served as all else."""

    @field_validator("expire_after")
    @classmethod
    def _days(cls, value):
        if value is not None and not re.fullmatch(r"[1-9]\d*d", value):
            raise ValueError(f"must be a count of days, such as 30d. Received: {value!r}")
        return value

    @property
    def expires(self) -> int | None:
        """Days after which a value is dead; None: never."""
        return int(self.expire_after[:-1]) if self.expire_after else None

    @model_validator(mode="after")
    def _lives(self):
        for key in ("max_size", "expire_after"):
            if getattr(self, key) and (self.table or self.serving):
                other = "table" if self.table else "serving"
                raise ValueError(
                    f"{key} is of a vocabulary of its own, that is served; leave {other} "
                    f"or {key} out"
                )
        return self

    @model_validator(mode="after")
    def _several(self):
        if self.separator and not self.max_values:
            raise ValueError("separator needs max_values, how many of the values to keep")
        if self.serving and (self.max_values or self.table):
            key = "max_values" if self.max_values else "table"
            raise ValueError(
                f"serving: drop is for features of one value and a table of their own; "
                f"leave out {key}"
            )
        return self


class SequenceFeature(FromEvents):
    """What came before, oldest first: values of a categorical feature, and encoded.

    A list column, or strings with a separator; of a longer one the last values are kept.
    """

    name: Name
    """What the model, the export and the report call it."""
    column: str = ""
    """A list column, or one of texts with a separator; empty: the name."""
    kind: Literal["sequence"]
    """What came before, oldest first: values of a categorical feature, encoded by
    `model.history`."""
    of: str
    """The categorical feature of one value whose vocabulary and embeddings it shares."""
    length: Annotated[int, Field(ge=1)]
    """Values that are kept, the last ones."""
    separator: str = ""
    """Between the values of a text."""

    @model_validator(mode="after")
    def _past(self):
        if self.source == "events" and self.separator:
            raise ValueError("separator is for texts of a column, not for from: events")
        if self.source == "events" and self.length > MOST_EVENTS:
            raise ValueError(
                f"length must be at most {MOST_EVENTS} with from: events, as each row "
                f"holds as many. Received: {self.length}"
            )
        return self

    @property
    def table(self) -> str:
        return self.of

    @property
    def max_values(self) -> int:
        return self.length


QUANTILES = 100


class NumericFeature(FromEvents):
    """A number: transformed and scaled in the model, or bucketized and embedded."""

    name: Name
    """What the model, the export and the report call it."""
    column: str = ""
    """Of the log or a side table; empty: the name."""
    kind: Literal["numeric"]
    """A number: transformed and scaled in the model, or bucketized and embedded."""
    transform: Literal["identity", "log1p", "quantile"] = "identity"
    """Before it is scaled; quantile: the share of the training split below it."""
    quantiles: Annotated[int, Field(ge=2, le=10_000)] = QUANTILES
    """Of the transform quantile: steps from 0 to 1, between which it goes on a line."""
    scale: Literal["standard", "minmax"] = "standard"
    """By the training split: mean and deviation, or its lowest value to 0 and its highest
    to 1."""
    clip: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    """Lowest and highest value that it is taken for, before its transform, while training
    and serving; null: any."""
    buckets: Annotated[int, Field(ge=0)] | Annotated[list[float], Field(min_length=1)] = 0
    """How many quantiles of the training split are embedded instead, or the boundaries
    between such buckets, in a list; 0: the number itself is read."""
    dim: Annotated[int, Field(ge=1)] | None = None
    """Width of the buckets' embedding; null: `model.embedding_dim`."""
    serving: Dropped | None = None
    """`{drop: 1}`: what biased the log, such as a position; training alone reads it, and
    served rows are taken to have this value. null: it is served as all else."""

    @model_validator(mode="after")
    def _reference(self):
        if self.serving and not _is_finite(self.serving.drop):
            raise ValueError(
                f"serving.drop must be a finite number. Received: {self.serving.drop!r}"
            )
        return self

    measure: Literal["count", "rate", "since"] | None = None
    """Of events: how many there are; the share of those whose label is known that are 1;
    or seconds since the last."""
    window: str | None = None
    """Of events: how long before the row those of a count or a rate are, a count of m, h
    or d."""

    @field_validator("window")
    @classmethod
    def _window(cls, value):
        return length_of_time(value)

    @model_validator(mode="after")
    def _measured(self):
        if self.source == "column":
            if self.measure or self.window:
                raise ValueError("measure and window are for from: events")
            return self
        if not self.measure:
            raise ValueError("from: events needs measure: count, rate or since")
        if (self.measure == "since") == bool(self.window):
            raise ValueError(
                "count and rate need a window, such as 7d, and since has none. Received: "
                f"measure={self.measure}, window={self.window}"
            )
        if self.measure == "rate" and not self.where:
            raise ValueError("measure: rate needs where, the task that it is the rate of")
        if self.window and self.delay_ms >= in_ms(self.window):
            raise ValueError(
                f"window must be longer than label_delay. Received: {self.window}, "
                f"{self.label_delay}"
            )
        return self

    @model_validator(mode="after")
    def _bucketized(self):
        if self.dim is not None and not self.buckets:
            raise ValueError("dim needs buckets: a plain number has no embedding")
        if self.scale != "standard" and self.buckets:
            raise ValueError("scale is for plain numbers; with buckets there is none")
        if self.clip is not None and self.buckets:
            raise ValueError("clip is for plain numbers; the outer buckets have no end")
        if self.transform == "quantile" and (self.buckets or self.scale != "standard"):
            raise ValueError(
                "transform quantile is for plain numbers, and scales them itself; leave "
                "buckets and scale out"
            )
        if self.transform != "quantile" and self.quantiles != QUANTILES:
            raise ValueError("quantiles is of transform: quantile; leave it out")
        for name in ("clip", "buckets"):
            given = getattr(self, name)
            if isinstance(given, list) and not _increase(given):
                raise ValueError(
                    f"{name}: numbers must increase, and differ as float32. "
                    f"Received: {given}"
                )
        return self


class VectorFeature(Section):
    """Several numbers of one row or item, of another model mostly: read as they are."""

    transform: ClassVar = "identity"
    scale: ClassVar = "standard"
    buckets: ClassVar = 0
    clip: ClassVar = None

    name: Name
    """What the model, the export and the report call it."""
    column: str = ""
    """A column of lists of numbers, of the log or a side table; empty: the name."""
    kind: Literal["vector"]
    """Several numbers of one row or item, of another model mostly: scaled together by
    their mean and deviation, and read by the trunk beside all else."""
    length: Annotated[int, Field(ge=2, le=4096)]
    """How many numbers each list has; a row with more or fewer is rejected, one without a
    list is known to lack it."""


class Hashed(Section):
    """What is embedded by hashes, without a vocabulary."""

    dim: Annotated[int, Field(ge=1)] | None = None
    """Width of its embedding; null: `model.embedding_dim`."""
    hashes: Annotated[int, Field(ge=1, le=8)] = 2
    """Of each value: two that share a row of one hash hardly share one of another."""
    buckets: Annotated[int, Field(ge=2)] = 100_000
    """Rows of the table, of each hash."""

    @model_validator(mode="after")
    def _rows(self):
        if self.hashes * self.buckets >= 2**31 - 1:
            raise ValueError(
                "hashes * buckets must be below 2^31 - 1, the rows of a table. "
                f"Received: {self.hashes} * {self.buckets}"
            )
        return self


class HashFeature(Hashed):
    """Ids without a vocabulary: their hashes are embedded."""

    name: Name
    """What the model, the export and the report call it."""
    column: str = ""
    """Of ids, of the log or a side table; empty: the name."""
    kind: Literal["hash"]
    """An id without a vocabulary: each of its hashes has an embedding, which add up."""


class CrossFeature(Hashed):
    """Values of two or three features together: hashes of what they are are embedded."""

    name: Name
    """What the model, the export and the report call it."""
    column: ClassVar = ""
    kind: Literal["cross"]
    """What other features of a row are together: each of its hashes has an embedding, which
    add up. It reads no column of its own."""
    of: Annotated[list[Name], Field(min_length=2, max_length=3)]
    """Features of one value: categorical ones, hashes, hours or weekdays. Where one of them
    is missing, so is the cross."""

    @field_validator("of")
    @classmethod
    def _of(cls, value):
        if len(set(value)) < len(value):
            raise ValueError(f"must be different features. Received: {value}")
        return value


class ClockFeature(Section):
    """What the clock shows of a moment."""

    name: Name
    """What the model, the export and the report call it."""
    column: str = ""
    """Of times, as `data.time` is read, of the log or a side table; empty: the name."""
    kind: Literal["hour", "weekday"]
    """The hour of a moment, or its weekday, embedded."""
    zone: str | None = None
    """Name of the time zone whose clock it is; null: `data.timezone`."""
    dim: Annotated[int, Field(ge=1)] | None = None
    """Width of its embedding; null: `model.embedding_dim`."""

    @field_validator("zone")
    @classmethod
    def _zone(cls, value):
        return value if value is None else time_zone(value)


FeatureConfig = Annotated[
    CategoricalFeature
    | NumericFeature
    | SequenceFeature
    | VectorFeature
    | HashFeature
    | CrossFeature
    | ClockFeature,
    Field(discriminator="kind"),
]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def has_column(feature: FeatureConfig) -> bool:
    """Whether it is of a column of its own: all but crosses are."""
    return feature.kind != "cross"


def is_dropped(feature: FeatureConfig) -> bool:
    """Whether training alone reads it: the export does not."""
    return getattr(feature, "serving", None) is not None


def is_embedded(feature: FeatureConfig) -> bool:
    """Whether it has rows of a table: all but plain numbers have."""
    if feature.kind not in ("numeric", "vector"):
        return True
    return isinstance(feature.buckets, list) or feature.buckets > 1


def _increase(numbers: list[float]) -> bool:
    """Whether each is a number above the one before it, in the units of examples."""
    try:
        known = [struct.unpack("f", struct.pack("f", number))[0] for number in numbers]
    except OverflowError:
        return False
    pairs = itertools.pairwise(known)
    return all(map(math.isfinite, known)) and all(low < high for low, high in pairs)
