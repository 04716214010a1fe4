"""What a day of the log amounts to: counts that add up, as many for any number of rows.

Numbers are counted in bins some 4 % wide, ids in bins by their hash, which are the same
for all columns: what one holds can be compared with what another held.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from steadyrank.models.features import Task, sample_space
from steadyrank.pipeline.raw_log.fingerprint import hash_values

BINS = 64  # of ids
NAMED = 20  # values of a feature that are counted by name
SIGN, SHIFT = np.uint32(0x7FFFFFFF), 19  # of float32: the exponent, and 4 bits after it
OCTAVE = 16  # bins from a number to twice of it
SEEN_ONLY = "train"  # the split whose values are all known: vocabularies are made of it


def number_bins(values: np.ndarray) -> dict[str, int]:
    """How many numbers are in each bin: 0 is zero, bins of negative ones are negative.

    Args:
        values: float32, without NaN.
    """
    key = ((values.view(np.uint32) & SIGN) >> SHIFT).astype(np.int64)
    bins, counts = np.unique(np.where(values < 0, -key, key), return_counts=True)
    return dict(zip(map(str, bins.tolist()), counts.tolist(), strict=True))


def value_bins(values: pa.Array) -> dict[str, int]:
    """How many ids are in each bin.

    Args:
        values: Strings or integers, without null.
    """
    if not len(values):
        return {}
    if pa.types.is_integer(values.type):
        bins = hash_values(values) % np.uint64(BINS)
    else:
        encoded = values.dictionary_encode()
        bins = (hash_values(encoded.dictionary) % np.uint64(BINS))[
            encoded.indices.to_numpy()
        ]
    counts = np.bincount(bins.astype(np.int64), minlength=BINS)
    return {str(place): int(counts[place]) for place in np.flatnonzero(counts)}


def of_number(values: np.ndarray) -> dict:
    """What a numeric feature amounts to.

    Args:
        values: float32 ``[rows]``, NaN where missing; of vectors, all their numbers.
    """
    known = values[~np.isnan(values)]
    return {
        "rows": len(values),
        "missing": len(values) - len(known),
        "values": len(known),
        "numbers": number_bins(known),
    }


def of_values(
    column: pa.Array,
    flat: pa.Array,
    *,
    known: Mapping[str, int],
    unknown: int | None,
    split: str,
) -> dict:
    """What a feature of ids amounts to.

    Args:
        column: Its values, or lists of them, null where missing.
        flat: The same, lists flattened.
        known: How many values there are of those that are counted by name.
        unknown: How many values the vocabulary does not have; None: there is none.
        split: Whose rows these are.
    """
    values = flat.drop_null()
    found = {
        "rows": len(column),
        "missing": _without(column),
        "values": len(values),
        "ids": value_bins(values),
        "named": dict(known),
    }
    if split != SEEN_ONLY and unknown is not None:
        found |= {"asked": len(values), "unseen": unknown}
    return found


def _without(column: pa.Array) -> int:
    """Rows without a value; an empty list is none."""
    if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
        return column.null_count
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return int((lengths == 0).sum())


def of_labels(labels: Mapping[str, np.ndarray], tasks: tuple[Task, ...]) -> dict:
    """What the labels of tasks amount to, each over its sample space.

    Args:
        labels: Task -> float32 ``[rows]``.
        tasks: Of these names.
    """
    found = {}
    for task in tasks:
        values = labels[task.name][sample_space(task, tasks, labels)]
        found[task.name] = {"rows": len(values), "positives": int((values > 0).sum())}
        if task.kind != "binary":
            found[task.name] |= {"values": len(values), "numbers": number_bins(values)}
    return found


def total(profiles) -> dict:
    """Profiles added up, name by name; the same text in whatever order they come."""
    result: dict = {}
    for profile in profiles:
        for name, value in profile.items():
            if isinstance(value, Mapping):
                result[name] = total([result.get(name, {}), value])
            else:
                result[name] = result.get(name, 0) + value
    if any(isinstance(value, Mapping) for value in result.values()):
        return result
    return dict(sorted(result.items()))  # bins and names: some files lack some of them
