"""Texts that are not UTF-8: the rows that hold one are told from the others."""

import itertools

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.raw_log.columns import is_list, is_text

NOT_UTF8 = "not UTF-8"


def readable(table: pa.Table, names: list[str]) -> tuple[pa.Table, np.ndarray, list[str]]:
    """The rows whose texts are UTF-8, which those are, and the others as lines."""
    every = np.ones(len(table), bool)
    try:
        table.select(names).validate(full=True)
        return table, every, []
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
    rows = list(zip(*(_with_bytes(table[n]).to_pylist() for n in names), strict=True))
    bad = np.array([any(map(_is_not_utf8, row)) for row in rows])
    lines = [
        ", ".join(f"{n}: {_shown(v)}" for n, v in zip(names, row, strict=True))
        for row in itertools.compress(rows, bad)
    ]
    return table.filter(pa.array(~bad)), ~bad, lines


def _with_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts, or lists of them, as bytes, which Python holds whatever they are."""
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array([part.dictionary_decode() for part in column.chunks])
    if is_list(column.type) and is_text(column.type.value_type):
        return column.cast(pa.list_(pa.large_binary()))
    return column.cast(pa.large_binary()) if is_text(column.type) else column


def _is_not_utf8(value) -> bool:
    if isinstance(value, list):
        return any(map(_is_not_utf8, value))
    try:
        return isinstance(value, bytes) and value.decode() is None
    except UnicodeDecodeError:
        return True


def _shown(value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def malformed_lines(lines: list[tuple[str, str, int]]) -> pa.Table | None:
    """What could not be read, why, and on which line of the file; None: nothing."""
    if not lines:
        return None
    texts, reasons, places = zip(*lines, strict=True)
    places = pa.array(places, pa.int64())
    return pa.table({"text": texts, "reason": reasons, "line": places})
