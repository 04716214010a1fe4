"""Rows that are rejected: why, which value it was, and where in which file it stands."""

import json
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.raw_log.columns import NUMBER, in_one_piece, is_list, to_strings
from steadyrank.pipeline.raw_log.formats import rows_are_lines

PLACE = "__place"  # of a row: the number of its file, and of its line there
LINE_BITS = 40
VALUE, WHERE = ("reason", "value"), ("source", "line")
TALLIED = pa.schema(
    [(name, pa.string()) for name in (*VALUE, "source")] + [("line", pa.int64())]
)
VALUES = 100_000  # of rejected rows, that are counted at a time
SHOWN = 60  # characters of a value, in a message
GROUPED = r"^-?\d{1,3}([,.' \u00a0\u202f])\d{3}(\1\d{3})*([,.]\d+)?$"


def places(file: int, lines: np.ndarray) -> np.ndarray:
    """Places of rows, int64: they rise along the files, and the lines of each."""
    return (np.int64(file) << LINE_BITS) + lines.astype(np.int64)


def with_reason(table: pa.Table, reason: str, about: str, files: Iterable[str]) -> pa.Table:
    """Rejected rows as they are stored: why, the value that is to blame, and its place.

    Values are text.  Columns that hold no plain values are left out, and those of the
    log that are called as one of ours get a ``_``.

    Args:
        table: The rows, with their ``PLACE``.
        reason: Why they are rejected.
        about: The column whose value is to blame.
        files: Of the log, by their numbers.
    """
    place = in_one_piece(table[PLACE]).to_numpy()
    source = pa.array(place >> LINE_BITS)
    ours = {
        "source": pa.array(files, pa.string()).take(source),
        "line": pa.array(place & ((1 << LINE_BITS) - 1)),
        "reason": pa.array([reason] * len(table), pa.string()),
        "value": _texts(in_one_piece(table[about])),
    }
    columns = {}
    for name in table.column_names:
        kind, stored = table.schema.field(name).type, name
        if name.startswith("__") or not _is_plain(kind):
            continue
        while stored in ours or (stored != name and stored in table.column_names):
            stored += "_"
        columns[stored] = in_one_piece(table[name]).cast(pa.string())
    return pa.table(columns | ours)


def _is_plain(kind: pa.DataType) -> bool:
    nested, binary = pa.types.is_nested(kind), pa.types.is_binary(kind)
    binary |= pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return not (nested or binary or isinstance(kind, pa.BaseExtensionType))


def _texts(values: pa.Array) -> pa.Array:
    """Values as texts; lists with their values parted by commas."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_list(values.type):
        items = pc.fill_null(_texts(values.flatten()), "null")
        lengths = pc.fill_null(pc.list_value_length(values), 0)
        offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))])
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)
        return pc.binary_join(lists, ", ")
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        readable, bad = to_strings(values)
        return pc.if_else(pa.array(bad), "(not UTF-8)", readable)
    return (
        values.cast(pa.string())
        if _is_plain(values.type)
        else pa.nulls(len(values), "string")
    )


def samples(tables: Iterable[pa.Table]) -> dict[str, dict]:
    """Of each reason: how many rows, the first of them, and the commonest value.

    Where there are more than ``VALUES`` values, a commonest that is none may be told.

    Args:
        tables: Rejected rows, and malformed lines with ``text`` as their value.

    Returns:
        Reason -> ``rows``, ``source``, ``line``, ``value``, and ``common`` with its
        ``count``.
    """
    held, left_out = [], Counter()
    for table in tables:
        one = pa.array(np.ones(len(table), np.int64))
        table = table.select(TALLIED.names).cast(TALLIED).append_column("rows", one)
        held.append(_tally([table]))
        if len(held) > 1:
            held = [_commonest(_tally(held), left_out)]
    found = {}
    for reason in pc.unique(held[0]["reason"]).to_pylist() if held else ():
        rows = held[0].filter(pc.equal(held[0]["reason"], reason))
        most = int(np.argmax(rows["rows"].to_numpy()))
        found[reason] = {
            "rows": pc.sum(rows["rows"]).as_py() + left_out[reason],
            **{name: rows[name][0].as_py() for name in ("source", "line", "value")},
            "common": rows["value"][most].as_py(),
            "count": rows["rows"][most].as_py(),
        }
    return found


def _tally(tables: list[pa.Table]) -> pa.Table:
    """Each reason and value once, with its rows and its first place, in their order."""
    order = [(name, "ascending") for name in WHERE]
    table = pa.concat_tables(tables).sort_by(order)
    wanted = [("rows", "sum"), *((name, "first") for name in WHERE)]
    grouped = table.group_by(list(VALUE), use_threads=False).aggregate(wanted)
    named = grouped.rename_columns([*VALUE, "rows", *WHERE])
    return named.select([*VALUE, *WHERE, "rows"]).sort_by(order)


def _commonest(table: pa.Table, left_out: Counter) -> pa.Table:
    """Some of many values: the commonest, and the first of each reason."""
    if len(table) <= VALUES:
        return table
    rows, reasons = table["rows"].to_numpy(), table["reason"].to_pylist()
    kept = np.zeros(len(table), bool)
    kept[np.argsort(-rows, kind="stable")[:VALUES]] = True
    kept[[reasons.index(reason) for reason in dict.fromkeys(reasons)]] = True
    for reason, count in zip(np.array(reasons)[~kept], rows[~kept].tolist(), strict=True):
        left_out[str(reason)] += count
    return table.filter(pa.array(kept))


def explained(reason: str, sample: dict | None) -> str:
    """The first row that was rejected for a reason, and what may mend it, for people."""
    if not sample:
        return ""
    value, line = sample["value"], sample["line"]
    word = "line" if rows_are_lines(sample["source"]) else "row"
    said = "no value" if value is None else json.dumps(value[:SHOWN], ensure_ascii=False)
    place = f"{word} {line:,} of {sample['source']}"
    return f", such as {said} in {place}{_hint(reason, sample)}"


def _hint(reason: str, sample: dict) -> str:
    value, common = sample["value"] or "", sample["common"] or ""
    if reason.endswith("not UTF-8"):
        return " (if the file is of another encoding, set data.encoding)"
    if reason.endswith("no readable time") and value:
        return (
            " (data.time_unit says what numbers count, data.time_format how texts are "
            "written)"
        )
    if not reason.endswith(("a number", "a whole number", "0 or more")):
        return ""
    if re.match(GROUPED, value) or re.match(r"^-?\d+,\d+$", value):
        return " (data.decimal and data.thousands say how numbers are written)"
    if sample["count"] > 1 and common and not re.match(NUMBER, common):
        text = json.dumps(common[:SHOWN], ensure_ascii=False)
        return (
            f" ({text} stands there {sample['count']:,} times: if it is a missing value, "
            "name it in data.null_values)"
        )
    return ""
