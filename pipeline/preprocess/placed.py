"""Lists that rows only point at: those of a history stand together in its bucket's order.

A row's last events overlap with those of the rows beside it, so that the lists are many
times as large as the events.  What is carried to a row is where its list begins, and how
long it is; the values are copied once, where rows become final.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.raw_log.columns import in_one_piece

PLACE_BITS = 40  # of a place within a bucket: the rest says which bucket

Values = Callable[[str, int], pa.Array]  # of a feature in a bucket


def place_columns(name: str) -> tuple[str, str]:
    """The columns that stand for a list: where it begins, and how long it is."""
    return f"__place/{name}", f"__length/{name}"


def as_places(name: str, bucket: int, low: np.ndarray, high: np.ndarray) -> dict:
    """Columns that point at values of a bucket, from one place to another."""
    place, length = place_columns(name)
    return {
        place: pa.array((bucket << PLACE_BITS) | low),
        length: pa.array((high - low).astype(np.int32)),
    }


def with_lists(
    table: pa.Table, kinds: Mapping[str, pa.DataType], values: Values
) -> pa.Table:
    """Rows with the lists that they point at.

    Args:
        table: The rows.
        kinds: Of the features' values.
        values: Gives the values of a feature in a bucket.
    """
    for name, kind in kinds.items():
        place, length = place_columns(name)
        if place in table.column_names:
            starts, lengths = (in_one_piece(table[n]).to_numpy() for n in (place, length))
            lists = _lists(starts, lengths, kind, partial(values, name))
            table = table.drop_columns([place, length]).append_column(name, lists)
    return table


def _lists(starts: np.ndarray, lengths: np.ndarray, kind: pa.DataType, values: Callable):
    """Lists of values of several buckets: taken bucket by bucket, then put in order."""
    bucket = starts >> PLACE_BITS
    low = starts - (bucket << PLACE_BITS)
    order = np.argsort(bucket, kind="stable")
    cuts = np.flatnonzero(np.diff(bucket[order])) + 1
    taken, each = [], np.split(order, cuts) if len(order) else []
    for rows in each:
        found = values(int(bucket[rows[0]]))
        taken.append(found.take(pa.array(spans(low[rows], lengths[rows]))))
    flat = pa.concat_arrays(taken or [pa.array([], kind)])
    if len(taken) > 1:
        begin = np.empty(len(order), np.int64)
        begin[order] = np.cumsum(lengths[order]) - lengths[order]
        flat = flat.take(pa.array(spans(begin, lengths)))
    return lists_of(lengths, flat)


def spans(low: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Places of some spans, one after the other: where each begins, and how long it is.

    As int32 where that holds all of them: there are many, and half the bytes.
    """
    begins, total = np.cumsum(lengths) - lengths, int(lengths.sum())
    most = total + int(low.max(initial=0))
    kind = np.int32 if most < 2**31 else np.int64
    places = np.arange(total, dtype=kind)
    places += np.repeat((low - begins).astype(kind), lengths)
    return places


def lists_of(lengths: np.ndarray, flat: pa.Array) -> pa.Array:
    """Values that stand one after another as lists of some lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), flat)
