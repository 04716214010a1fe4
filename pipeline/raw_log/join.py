"""Columns of a side table beside the rows of a log."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.raw_log.columns import in_one_piece, to_integers, to_strings


def join_side(
    table: pa.Table, side: pa.Table, on: str, prefix: str
) -> tuple[pa.Table, int]:
    """Put a side table's columns beside the rows; null where its key is not known.

    Returns:
        The wider table, rows in the same order, and how many rows found no partner.
    """
    index = _places(*_comparable(table[on], side[on]))
    for name in side.column_names:
        if name != on and prefix + name not in table.column_names:
            table = table.append_column(prefix + name, side[name].take(index))
    return table, index.null_count


def rows_of_keys(keys: pa.ChunkedArray, known: pa.ChunkedArray) -> pa.Array:
    """Numbers of the rows of a side table that some rows refer to: rising, each once."""
    found = _places(*_comparable(keys, known)).drop_null()
    return pa.array(np.unique(found.to_numpy()))


def _comparable(keys: pa.ChunkedArray, known: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    """Keys of rows and of a side table, of one type."""
    keys, known = _keys(keys), _keys(known)
    if keys.type != known.type:
        return keys.cast(pa.string()), known.cast(pa.string())
    return keys, known


def _keys(column: pa.ChunkedArray) -> pa.Array:
    """Keys as values; reals, which they became where some are missing, as whole numbers."""
    values = in_one_piece(column)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    real = pa.types.is_floating(values.type) or pa.types.is_decimal(values.type)
    if not real:
        return values
    whole, other = to_integers(values)
    return to_strings(values)[0] if other.any() else whole


def _places(keys: pa.Array, known: pa.Array) -> pa.Array:
    """Where each key stands among the known ones; null where it does not.

    Sorted whole numbers are searched: a hash table of a large side table would be built
    anew for every shard.
    """
    if not (pa.types.is_integer(known.type) and not known.null_count):
        return pc.index_in(keys, value_set=known, skip_nulls=True)
    held = known.to_numpy()
    if not len(held) or (held[1:] <= held[:-1]).any():
        return pc.index_in(keys, value_set=known, skip_nulls=True)
    wanted = pc.fill_null(keys, held[0]).to_numpy()
    index = np.minimum(np.searchsorted(held, wanted), len(held) - 1)
    found = (held[index] == wanted) & keys.is_valid().to_numpy(zero_copy_only=False)
    return pa.array(index, mask=~found)
