"""Columns of a side table beside the rows of a log."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.raw_log.columns import in_one_piece, to_integers, to_strings

ROW = "__row"  # of a side table, or of a file: its number


def carried_name(number: int, name: str) -> str:
    """What a column of a side table is called in the log, when it is joined by bucket."""
    return f"__joined-{number}/{name}"


def take_carried(table: pa.Table, number: int, prefix: str) -> tuple[pa.Table, int]:
    """``join_side``, of a side table whose columns were carried to the rows before."""
    found = carried_name(number, "")
    for name in table.column_names:
        if name.startswith(found) and name != carried_name(number, ROW):
            put = prefix + name.removeprefix(found)
            if put not in table.column_names:
                table = table.append_column(put, table[name])
    return table, table[carried_name(number, ROW)].null_count


def carried_rows(table: pa.Table, number: int, on: str, names, *, kind: pa.DataType):
    """The rows of such a side table that some rows of the log refer to, as it has them.

    Args:
        table: Rows of the log.
        number: Of the join.
        on: Its key.
        names: The side table's columns, the key first.
        kind: Of the key there.
    """
    rows = in_one_piece(table[carried_name(number, ROW)])
    there = np.flatnonzero(rows.is_valid().to_numpy(zero_copy_only=False))
    _, first = np.unique(rows.drop_null().to_numpy(), return_index=True)
    table = table.take(pa.array(there[first]))
    keys = {on: _keys(table[on]).cast(kind)}
    return pa.table(keys | {n: table[carried_name(number, n)] for n in names if n != on})


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


def find_rows(
    keys: Sequence[pa.ChunkedArray], known: Sequence[pa.ChunkedArray]
) -> pa.Array:
    """Where the key of each row stands in another table, whose keys differ.

    Args:
        keys: The columns of the rows' keys, ``[n]`` each.
        known: Those of the other table, in the same order.

    Returns:
        Numbers of the other table's rows, ``[n]``; null where there is none.
    """
    if len(keys) == 1:
        return _places(*_comparable(keys[0], known[0]))
    of_rows = np.zeros(len(keys[0]), np.int64)
    of_known, there = np.zeros(len(known[0]), np.int64), np.ones(len(keys[0]), bool)
    for column, other in zip(keys, known, strict=True):
        column, other = _comparable(column, other)
        values = other.unique()
        codes = pc.index_in(column, value_set=values, skip_nulls=True)
        there &= codes.is_valid().to_numpy(zero_copy_only=False)
        own = pc.index_in(other, value_set=values).to_numpy()
        pairs, of_known = np.unique(of_known * len(values) + own, return_inverse=True)
        wanted = of_rows * len(values) + pc.fill_null(codes, 0).to_numpy()
        of_rows = np.minimum(np.searchsorted(pairs, wanted), max(len(pairs) - 1, 0))
        there &= pairs[of_rows] == wanted if len(pairs) else False
    order = np.argsort(of_known)
    return pa.array(order[of_rows] if len(order) else of_rows, mask=~there)


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
