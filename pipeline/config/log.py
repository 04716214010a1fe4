"""The sections of the log: which files, how they are read, joined, ordered and split."""

import codecs
import datetime
import zoneinfo
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from steadyrank.pipeline.config.events import in_ms, length_of_time
from steadyrank.pipeline.config.section import Section
from steadyrank.pipeline.config.time_format import time_pattern, time_zone

DAY_MARK = "{day}"  # in paths of a log: the days that a night reads
Character = Annotated[str, Field(pattern=r"^[\x00-\x09\x0b\x0c\x0e-\x7f]$")]


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
        return time_zone(value)

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
    earlier_events: list[str] = []
    """Paths or patterns of a second log with the same columns: its rows are events for
    features `from: events`, and nothing else; see [histories](logs.md#histories)."""
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
                f"{self.window}, which sets grow by. Give a whole part of {self.window}, "
                f"or make data.window {asked.within}"
            )
        return self
