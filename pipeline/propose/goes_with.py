"""Columns that belong to another one: each of its values has one of theirs."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

OFTEN = 2  # rows a value, from which on it is seen what goes with it


def goes_with(table: Mapping[str, pa.Array], name: str, others: Iterable[str]) -> list[str]:
    """Columns of several values that differ in no two rows of one item.

    Args:
        table: Columns of some rows.
        name: The column that names the item.
        others: Those that may go with it.
    """
    items, found = _codes(table[name]), []
    for other in others:
        values = _codes(table[other])
        known = (items >= 0) & (values >= 0)
        codes, values = items[known], values[known]
        seen = len(np.unique(codes))
        if len(codes) < OFTEN * seen or len(np.unique(values)) < 2:
            continue
        if len(np.unique(codes * (int(values.max()) + 1) + values)) == seen:
            found.append(other)
    return found


def _codes(values: pa.Array) -> np.ndarray:
    """Values as numbers from 0 on, -1 where there is none; of lists there are none."""
    if pa.types.is_nested(values.type):
        return np.full(len(values), -1)
    if not pa.types.is_dictionary(values.type):
        values = values.dictionary_encode()
    return pc.fill_null(values.indices.cast(pa.int64()), -1).to_numpy()
