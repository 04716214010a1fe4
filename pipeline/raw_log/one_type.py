"""Raw columns of files that hold them in several types, brought to one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.raw_log.columns import (
    in_one_piece,
    is_list,
    is_number,
    is_text,
    to_integers,
    to_strings,
)


def in_one_type(tables: list[pa.Table]) -> pa.Table:
    """Tables of the same columns, whose types may differ from file to file, as one.

    What a number is must not change: ids beyond 2**53 stay whole where all values are.
    """
    columns = {}
    for name in tables[0].column_names:
        parts = [_plain(in_one_piece(table[name])) for table in tables]
        columns[name] = pa.chunked_array(_alike(parts))
    return pa.table(columns)


def in_their_order(parts: list[tuple[pa.Table, np.ndarray]]) -> pa.Table:
    """Rows of tables whose types may differ, in one type.

    Args:
        parts: Tables, and at which place each of their rows shall stand.
    """
    tables: dict = {}
    for table, numbers in parts:
        tables.setdefault(tuple(table.schema.types), []).append((table, numbers))
    some = [pa.concat_tables([t for t, _ in each]) for each in tables.values()]
    numbers = np.concatenate([n for each in tables.values() for _, n in each])
    return in_one_type(some).take(pa.array(np.argsort(numbers)))


def _plain(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _alike(parts: list[pa.Array]) -> list[pa.Array]:
    kinds = {part.type for part in parts if not pa.types.is_null(part.type)}
    if len(kinds) <= 1:
        kind = next(iter(kinds), pa.null())
        return [part.cast(kind) for part in parts]
    if any(map(is_list, kinds)):
        return _lists(parts)
    wholes = [_as_whole(part) for part in parts]
    if all(map(is_number, kinds)):
        if None not in wholes:
            return wholes
        if not any(map(pa.types.is_floating, kinds)):  # beyond int64: as ids are held
            return [to_strings(part)[0] for part in parts]
        return [part.cast(pa.float64(), safe=False) for part in parts]
    return [
        (part if whole is None else whole).cast(pa.string())
        for part, whole in zip(parts, wholes, strict=True)
    ]


def _lists(parts: list[pa.Array]) -> list[pa.Array]:
    """Lists whose values are of one type; where the files have none, there are none."""
    parts = [
        pa.nulls(len(p), pa.list_(pa.null())) if pa.types.is_null(p.type) else p
        for p in parts
    ]
    found = []
    for part, values in zip(parts, _alike([p.flatten() for p in parts]), strict=True):
        lengths = pc.fill_null(part.value_lengths(), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        found.append(pa.ListArray.from_arrays(offsets, values, mask=part.is_null()))
    return found


def _as_whole(values: pa.Array) -> pa.Array | None:
    """Numbers as int64, None where one is not whole; texts are none."""
    if is_text(values.type) or not is_number(values.type):
        return None
    whole, bad = to_integers(values)
    return None if bad.any() else whole
