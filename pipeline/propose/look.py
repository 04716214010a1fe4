"""What the columns of a log hold, from a sample of its rows."""

import json
import re
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import (
    NUMBER,
    in_one_piece,
    is_bytes,
    is_list,
    is_moment,
    is_number,
    is_text,
    to_floats,
)
from steadyrank.pipeline.raw_log.find import find
from steadyrank.pipeline.raw_log.formats import has_delimiter, rows_are_lines
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.one_type import in_one_type
from steadyrank.pipeline.raw_log.open import Log, open_log
from steadyrank.pipeline.raw_log.sample import is_of_all_batches, sampled
from steadyrank.pipeline.raw_log.times import to_ms

SEPARATORS = "|;, "
FORMS = [{"delimiter": d} for d in (",", "\t", ";", "|", "::")]
FORMS += [{"delimiter": d, "quote": None} for d in ("\t", "|", ",")]
FORMS += [{"delimiter": ",", "escape": "\\"}]
FORMS += [
    {"delimiter": d, "encoding": e} for e in ("utf-16", "cp1252") for d in (",", "\t", ";")
]
PLAUSIBLE_MS = (631_152_000_000, 2_240_611_200_000)  # 1990 to 2040


@dataclass(frozen=True)
class Column:
    """What a column of the sample holds.

    Attributes:
        name: Of the column.
        values: Of the sample.
        kind: ``binary``, ``number``, ``integer``, ``text``, ``list``, ``moment`` or
            ``other``.
        missing: Share of the rows.
        distinct: Values.
        numbers: As float64, NaN where it is none; of binary columns and numbers.
        separator: Of texts that hold several values; ``""``: they do not.
        width: Values that nearly all lists have, at most.
        time: ``time_unit`` and the moments, if it may be a time; None: it is none.
    """

    name: str
    values: pa.Array
    kind: str
    missing: float
    distinct: int
    numbers: np.ndarray | None = None
    separator: str = ""
    width: int = 0
    time: tuple[str, np.ndarray] | None = None


@dataclass(frozen=True)
class Sample:
    """A log, its columns, and how its files of text must be read.

    Attributes:
        log: The log.
        rows: Of the sample.
        form: Keys of ``data`` that say how its files of text must be read.
        columns: By their names.
        all_days: Whether no day of the log is missing in the sample.
    """

    log: Log
    rows: int
    form: dict = field(default_factory=dict)
    columns: dict[str, Column] = field(default_factory=dict)
    all_days: bool = True

    @property
    def all_rows(self) -> int:
        """About how many the log has: of text, what is known of it is a guess."""
        return max(self.rows, self.log.rows)


def look_at(patterns: list[str]) -> Sample:
    """Read a sample from all over a log, and say what its columns hold.

    Raises:
        InputError: It cannot be read.
    """
    form = _form_of(patterns)
    log = open_log(patterns, Form(**form, null_values=("\\N",)), {})
    names = {name: "init" for name in log.schema.names if not name.startswith("__")}
    log = open_log(patterns, Form(**form, null_values=("\\N",)), names)
    batches = list(sampled(log))
    tables = [batch.table.select(list(names)) for _, batch in batches]
    if not any(len(table) for table in tables):
        raise InputError(
            f"{', '.join(patterns)}: has no rows: there is nothing to look at. Give "
            "--input files that hold rows."
        )
    table = in_one_type(tables)
    _require_header(log, patterns)
    columns = {name: column_of(name, in_one_piece(table[name])) for name in names}
    return Sample(log, len(table), form, columns, is_of_all_batches(log, batches))


def _require_header(log: Log, patterns: list[str]) -> None:
    """Raise where the names of columns are numbers: mostly, those are the first row."""
    names = log.schema.names
    if sum(bool(re.match(NUMBER, name)) for name in names) > len(names) / 3:
        raise InputError(
            f"{', '.join(patterns)}: seems to have no header line: {', '.join(names)}. "
            "Write the config by hand, with the names of the columns in data.columns."
        )


def _form_of(patterns: list[str]) -> dict:
    """The first way to read files of text that gives most columns.

    Of files of all kinds those of CSV alone tell: the columns of others, beside those of
    CSV read in a wrong way, would be more than those of CSV read in the right one.
    """
    files = find(patterns).files
    texts = [path for path in files if has_delimiter(path)]
    texts = texts or [path for path in files if rows_are_lines(path)]
    if not texts:
        return {}
    best, error = ({}, 0), None
    for form in FORMS:
        if best[1] > 1 and "encoding" in form:
            break
        try:
            log = open_log(texts, Form(**form), {})
            next(iter(log.pieces[0].batches()), None)
        except InputError as caught:
            error = error or caught
            continue
        if len(log.schema) > best[1]:
            best = form, len(log.schema)
        if not all(pa.types.is_string(kind) for kind in log.schema.types):
            return {}
    if not best[1]:
        raise error
    return {} if best[0] == FORMS[0] else best[0]


def column_of(name: str, values: pa.Array) -> Column:
    """What a column of the sample holds."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_bytes(values.type):
        values = values.cast(pa.string(), safe=False)
    rows, missing = max(len(values), 1), values.null_count
    if is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        width = int(np.quantile(lengths, 0.95)) if len(lengths) else 0
        there = lengths[lengths > 0]
        if pa.types.is_floating(values.type.value_type) and len(there):
            alike = there.min() == there.max() and 2 <= width <= 4096
            kind = "vector" if alike else "other"
            return Column(name, values, kind, missing / rows, 0, width=width)
        return Column(name, values, "list", missing / rows, 0, width=max(width, 1))
    if not (is_number(values.type) or is_text(values.type) or is_moment(values.type)):
        return Column(name, values, "other", missing / rows, 0)
    distinct = pc.count_distinct(values).as_py()
    found = Column(name, values, "text", missing / rows, distinct, time=_time(name, values))
    if is_moment(values.type):
        return Column(**{**vars(found), "kind": "moment"})
    numbers, bad = to_floats(values)
    reals = numbers.to_numpy(zero_copy_only=False)
    if bad.any() or np.isnan(reals).all():
        separator, width = _separated(values)
        return Column(**{**vars(found), "separator": separator, "width": width})
    known = reals[~np.isnan(reals)]
    kind = "integer" if (np.floor(known) == known).all() else "number"
    if set(np.unique(known)) == {0.0, 1.0}:
        kind = "binary"
    return Column(**{**vars(found), "kind": kind, "numbers": reals})


def _time(name: str, values: pa.Array) -> tuple[str, np.ndarray] | None:
    """The unit in which a column is of times of our age, and these."""
    if pa.types.is_time(values.type) or pa.types.is_boolean(values.type):
        return None
    for unit in ("ms", "s", "us", "ns"):
        try:
            ms, bad = to_ms(values, unit, "UTC")
        except (pa.ArrowException, ValueError):
            return None
        good = ms[~bad]
        inside = (good > PLAUSIBLE_MS[0]) & (good < PLAUSIBLE_MS[1])
        if len(good) > 0.95 * len(ms) and inside.mean() > 0.95:
            return unit, ms
    return None


def _separated(values: pa.Array) -> tuple[str, int]:
    """The character that parts several values of a text, and how many there are."""
    texts = values.drop_null()
    for mark in SEPARATORS if is_text(values.type) and len(texts) else ():
        several = pc.mean(pc.match_substring(texts, mark)).as_py()
        parts = pc.split_pattern(texts, mark)
        words, whole = pc.count_distinct(parts.flatten()).as_py(), len(pc.unique(texts))
        if several > 0.2 and words < 0.5 * whole:
            lengths = pc.list_value_length(parts).to_numpy()
            return mark, max(int(np.quantile(lengths, 0.95)), 1)
    return "", 0


def shown(value: str) -> str:
    """A text as YAML has it, in quotes where it needs some."""
    plain = value.isidentifier() and value.lower() not in ("null", "true", "false")
    return value if plain else json.dumps(value, ensure_ascii=False)
