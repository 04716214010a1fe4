"""The sections of a config: what each key is, its default, and what may not go together."""

import codecs
import datetime
import itertools
import math
import struct
import zoneinfo
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from steadyrank.pipeline.config.events import (
    MOST_EVENTS,
    FromEvents,
    in_ms,
    length_of_time,
)
from steadyrank.pipeline.config.section import Positive, Section
from steadyrank.pipeline.config.task_weights import Fixed, TaskWeights
from steadyrank.pipeline.config.time_format import time_pattern

Character = Annotated[str, Field(pattern=r"^[\x00-\x09\x0b\x0c\x0e-\x7f]$")]


def _time_zone(value: str) -> str:
    """The name of a time zone, checked."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone name such as Asia/Shanghai") from None
    return value


class Join(Section):
    """A side table, joined to every row: the row stays where the key is unknown."""

    input: str
    """Path or pattern of the side table, as in `data.input`."""
    on: str
    """The column of both that holds the key; in the side table it differs from row to
    row."""
    prefix: str = ""
    """Put before the side table's column names."""


class Moments(Section):
    """Two splits by the moments from which they begin, or by fractions."""

    validation: float | datetime.datetime | datetime.date | None = None
    """First moment of the validation split (a date or a time), or a fraction."""
    test: float | datetime.datetime | datetime.date | None = None
    """First moment of the test split (a date or a time), or a fraction of the rows."""

    @property
    def by_fraction(self) -> bool:
        return isinstance(self.test, float)

    @property
    def within_test(self) -> bool:
        """Whether validation is a fraction of what follows the moment of test."""
        return isinstance(self.validation, float) and not self.by_fraction

    @property
    def by_moments(self) -> bool:
        """Whether times are compared with a moment."""
        return self.test is not None and not self.by_fraction

    @property
    def training_ends(self) -> datetime.date:
        """The moment before which all rows train; only where there are moments."""
        return self.test if self.within_test else self.validation

    def _check_moments(self) -> None:
        if self.within_test:
            if not 0 < self.validation < 1:
                raise ValueError(
                    "validation, a fraction of the rows from test on, must be above 0 and "
                    f"below 1. Received: validation={self.validation}"
                )
        elif (moment(self.validation).tzinfo is None) != (moment(self.test).tzinfo is None):
            raise ValueError("say the zone of both moments, or of none")
        elif moment(self.validation) >= moment(self.test):
            raise ValueError(
                f"validation must begin before test. Received: "
                f"validation={self.validation}, test={self.test}"
            )


class Split(Moments):
    """The first moment of each evaluation split, random fractions, or what a column says.

    Where ``column`` is named, it says of each row whether it is of train, validation or
    test.  Fractions are drawn by row, or by group: all rows of a group in one split.
    Where ``files`` names some of the input, the fractions are of their rows, none of
    which is trained on.  Where only ``test`` is a moment, ``validation`` is a fraction of
    the rows from there on; the others of them test.
    """

    files: list[str] = []
    """Names or patterns of input files, whose rows the two fractions share; all others
    train."""
    column: str = ""
    """A column that says of each row: train, validation (valid, val, dev, eval) or test."""
    by: Literal["row", "group"] = "row"
    """What fractions are of; group keeps all rows of a group in one split."""

    @model_validator(mode="after")
    def _consistent(self):
        if self.column:
            if (self.validation, self.test, self.files, self.by) != (None, None, [], "row"):
                raise ValueError("column says it all: remove the other keys")
            return self
        if None in (self.validation, self.test):
            raise ValueError(
                "needs validation and test: two moments, or two fractions; or the name of "
                "a column that says of each row where it belongs"
            )
        if self.by == "group" and (self.files or not self.by_fraction):
            raise ValueError("by: group needs fractions, and no files")
        if isinstance(self.test, float) and not isinstance(self.validation, float):
            raise ValueError(
                "validation and test must both be moments, or fractions; or validation "
                "a fraction of the rows from the moment test on"
            )
        if self.files and not self.by_fraction:
            raise ValueError("files needs fractions: what share of their rows is which")
        if self.files:
            if min(self.validation, self.test) <= 0 or self.validation + self.test != 1:
                raise ValueError(
                    "validation and test must share all rows of files: two fractions "
                    f"above 0 that add up to 1. Received: {self.validation}, {self.test}"
                )
        elif self.by_fraction:
            if not (min(self.validation, self.test) > 0 < 1 - self.validation - self.test):
                raise ValueError("fractions must be above 0 and leave rows to train on")
        else:
            self._check_moments()
        return self


def moment(value: datetime.date) -> datetime.datetime:
    """A date as its first moment."""
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime.combine(value, datetime.time())


class Log(Section):
    """Which files a log is, how they and their times are read, what may be wrong."""

    input: Annotated[list[str], Field(min_length=1)]
    """Paths and patterns of the log; a folder is all files in it. The format goes by the
    ending."""
    delimiter: Annotated[str, Field(min_length=1, max_length=8)] = ","
    """Between the values of a line of CSV."""
    quote: Character | None = '"'
    """Around values of CSV that hold delimiters; null: none."""
    escape: Character | None = None
    """Before a quote in quotes, in CSV; `\\\\` in files of Spark. null: quotes are
    doubled."""
    encoding: str | None = None
    """Of files of text, such as utf-16 or latin-1; null: UTF-8."""
    null_values: list[str] = ["\\N"]
    """Texts that are missing values, as the empty one is, in files of every format."""
    decimal: Literal[".", ","] = "."
    """Before the fraction of numbers in texts."""
    thousands: Annotated[str, Field(max_length=1)] = ""
    """Between groups of the digits of numbers in texts; empty: nothing."""
    multiline: bool = False
    """Whether values of CSV in quotes may hold line breaks."""
    columns: list[str] = []
    """Names of the log's columns, where CSV has no header line."""
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    """Of a time column of whole numbers, counted from 1970."""
    time_format: str = ""
    """Of times in texts, such as %d/%m/%Y %H:%M; empty: ISO."""
    timezone: str = "UTC"
    """Name of the zone in which windows and the split's moments are read."""
    window: str | None = "1d"
    """Length of a window, a count of m, h or d: training visits windows from old to new, a
    set grows by them; null: all is one."""
    drop_duplicates: bool = True
    """Whether rows that are equal in every column of the log count once."""
    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Fraction of the rows that may be rejected before preprocessing fails."""
    max_gap_days: Annotated[int, Field(ge=1)] | None = 1000
    """Days without a row, beyond which the fewer rows are rejected as out of time; null:
    any."""

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, value):
        if "\n" in value or "\r" in value:
            raise ValueError("must hold no line break")
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value):
        try:
            return value and codecs.lookup(value).name
        except LookupError:
            raise ValueError("must be an encoding such as utf-16 or latin-1") from None

    @field_validator("time_format")
    @classmethod
    def _time_format(cls, value):
        if value:
            time_pattern(value)
        return value

    @model_validator(mode="after")
    def _marks(self):
        marks = {"delimiter": self.delimiter, "quote": self.quote, "escape": self.escape}
        for name, mark in marks.items():
            others = [o for o, m in marks.items() if o != name and m and mark and m in mark]
            if others:
                raise ValueError(f"{name} and {others[0]} must differ. Received: {mark!r}")
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands must differ. Received: {self.decimal}")
        return self

    @field_validator("columns")
    @classmethod
    def _columns(cls, value):
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"names must differ. Received twice: {twice}")
        return value

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value):
        return _time_zone(value)

    @field_validator("window")
    @classmethod
    def _window(cls, value):
        return length_of_time(value)

    @property
    def window_ms(self) -> int | None:
        return self.window and in_ms(self.window)

    def moment_ms(self, value: datetime.date) -> int:
        """Milliseconds since 1970 of a split's moment: in its zone, or the config's."""
        found = moment(value)
        if found.tzinfo is None:
            found = found.replace(tzinfo=zoneinfo.ZoneInfo(self.timezone))
        return round(found.timestamp() * 1000)


class Downsample(Section):
    """Negatives of a task that preprocessing leaves out, drawn by a hash of the row."""

    task: str
    """A binary task that exists in all rows; all others must be given by it."""
    keep: Annotated[float, Field(gt=0, lt=1)]
    """Share of its negatives that stay, in every split. What is served and measured undoes
    it, as `tasks.*.negative_rate` is undone."""


class Negatives(Section):
    """Negatives for a log of positives alone: items that their user had not."""

    item: str
    """The column of the log that names what is drawn."""
    columns: list[str] = []
    """Further columns of the log that are the item's; those of side tables joined on any of
    them follow. All others stay as the positive has them."""
    task: str = ""
    """The task that is 1 in every row of the log, by its column or, if it has none there,
    by itself, and 0 in what is drawn; empty: the only one that is not given another."""
    per_positive: Annotated[int, Field(ge=1, le=1000)] = 4
    """Draws for each row of the log, with replacement; what the row's user had in the
    window is left out."""
    source: Annotated[Literal["uniform", "popularity"], Field(alias="from")] = "uniform"
    """How likely an item is: all alike, or by its rows in the window. The latter is for
    training, where a negative weighs the less the likelier it was; what is judged on is
    drawn uniformly."""
    within: str | None = None
    """Items of how long a time are drawn from, a count of m, h or d that goes into
    data.window; null: those of a window."""

    @field_validator("within")
    @classmethod
    def _within(cls, value):
        return length_of_time(value)

    @property
    def within_ms(self) -> int | None:
        return self.within and in_ms(self.within)

    @property
    def item_columns(self) -> list[str]:
        """All columns of the log that are the item's."""
        return list(dict.fromkeys([self.item, *self.columns]))


class Data(Log):
    """Where the log is, and how it is ordered and split."""

    join: list[Join] = []
    """Side tables: each row of the log stays, unmatched ones get missing values."""
    time: str | None = None
    """The column that orders training; null: rows have no order."""
    split: Split
    """Which rows validate, and which test."""
    group: str | None = None
    """The column to average GAUC over, mostly the user; null: there is none."""
    key: list[str] = []
    """Columns that a row is known by in comparisons; none: time, group and the log's own
    single ids."""
    downsample: Downsample | None = None
    """Negatives to leave out; null: none."""
    negatives: Negatives | None = None
    """Negatives to draw, where every row of the log is a positive; null: none."""
    keep_columns: list[str] = []
    """Further columns that evaluation rows keep, for baselines that read them."""
    rows_per_shard: Annotated[int, Field(ge=1)] | None = None
    """About so many rows a file, whatever the windows; null: every window has as many files
    as the log has times 2 M rows."""

    @model_validator(mode="after")
    def _time_and_split(self):
        if self.time is None and self.split.by_moments:
            raise ValueError(
                "split by moments needs data.time, the column to compare them with; "
                "without one, give fractions"
            )
        if self.split.by == "group" and self.group is None:
            raise ValueError("split.by: group needs data.group, the column of the groups")
        by_row = self.split.by_fraction and self.split.by == "row"
        if self.time is not None and by_row:
            raise ValueError(
                "split by fractions draws rows at random and would let later rows train "
                "a model tested on earlier ones; with data.time, give moments (dates)"
            )
        return self

    @model_validator(mode="after")
    def _drawn(self):
        asked = self.negatives
        if asked is None:
            return self
        if self.group is None:
            raise ValueError(
                "negatives needs data.group, the user: what a user had is no negative of "
                "that user"
            )
        if self.downsample:
            raise ValueError("negatives are drawn, or left out (downsample): not both")
        for name in asked.item_columns:
            if name in (self.group, self.time, self.split.column):
                raise ValueError(
                    f"negatives: column {name!r} is the row's user, time or split, and no "
                    "column of the item"
                )
        if asked.within_ms and self.time is None:
            raise ValueError("negatives.within needs data.time")
        if asked.within_ms and self.window_ms and self.window_ms % asked.within_ms:
            raise ValueError(
                f"negatives.within: {asked.within} does not go into data.window, "
                f"{self.window}, which sets grow by. Make the window as long"
            )
        return self


LONGEST_NAME = 200  # files are called after it
# a letter first: an input of an export, which TensorFlow cannot call _a
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=LONGEST_NAME)]
TaskName = Annotated[
    str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=LONGEST_NAME)
]


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


class HashFeature(Section):
    """Ids without a vocabulary: their hashes are embedded."""

    name: Name
    """What the model, the export and the report call it."""
    column: str = ""
    """Of ids, of the log or a side table; empty: the name."""
    kind: Literal["hash"]
    """An id without a vocabulary: each of its hashes has an embedding, which add up."""
    dim: Annotated[int, Field(ge=1)] | None = None
    """Width of its embedding; null: `model.embedding_dim`."""
    hashes: Annotated[int, Field(ge=1, le=8)] = 2
    """Of each id: two ids that share a row of one hash hardly share one of another."""
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
        return value if value is None else _time_zone(value)


FeatureConfig = Annotated[
    CategoricalFeature
    | NumericFeature
    | SequenceFeature
    | VectorFeature
    | HashFeature
    | ClockFeature,
    Field(discriminator="kind"),
]


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


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


TWEEDIE_POWER = 1.5


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


def column(item: FeatureConfig | TaskConfig) -> str:
    """The column of the log that a feature or a task reads."""
    return item.column or item.name


class Importance(Section):
    """How much each feature matters, in the report: see ``steadyrank importance``."""

    rows: Annotated[int, Field(ge=0)] = 10_000
    """Rows of the split that are looked at, at most; 0: importance is not measured."""
    together: list[Annotated[list[str], Field(min_length=2)]] = []
    """Features that are exchanged as one unit each, beside those that say the same."""
