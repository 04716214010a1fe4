"""Ids of values that need no vocabulary, whole columns at a time."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import CLOCKS, Feature
from steadyrank.models.ids import MISSING_ID
from steadyrank.pipeline.raw_log.zones import clock_shows, in_table, offsets_of


def code_ids(values: pa.Array, feature: Feature) -> np.ndarray:
    """Ids of a hash, an hour or a weekday: the same as ``export.codes`` gives.

    Args:
        values: Typed ones: strings, integers or moments in milliseconds, null where
            missing.
        feature: Whose.

    Returns:
        int32 ``[rows]``, or ``[rows, hashes]``.
    """
    return _hashed(values, feature) if feature.hashes else _clock(values, feature)


def cross_ids(parts: Iterable[tuple[Feature, pa.Array]], feature: Feature) -> np.ndarray:
    """Ids of a cross: the same as ``export.codes`` gives.

    Args:
        parts: The features that it is of, and their typed values.
        feature: The cross.

    Returns:
        int32 ``[rows]``, or ``[rows, hashes]``; ``MISSING_ID`` where one value is missing.
    """
    from steadyrank.models.hashed import SEPARATOR  # brings TensorFlow

    texts = [_texts(values, part) for part, values in parts]
    return _hashed(pc.binary_join_element_wise(*texts, SEPARATOR), feature)


def _texts(values: pa.Array, feature: Feature) -> pa.Array:
    """As a cross has values, null where missing; of a clock, the ids of what it shows."""
    if feature.kind in CLOCKS:
        ids = _clock(values, feature)
        return pa.array(ids, mask=ids == MISSING_ID).cast(pa.string())
    return values.cast(pa.string())


def _hashed(values: pa.Array, feature: Feature) -> np.ndarray:
    """By the very operation that the export holds, once for each value that occurs."""
    import tensorflow as tf  # only where something is hashed

    from steadyrank.models.hashed import hashed_ids

    encoded = values.dictionary_encode()
    texts = encoded.dictionary.cast(pa.string()).to_numpy(zero_copy_only=False)
    texts = np.concatenate([[""], texts]).astype(object)  # the missing value's, first
    ids = hashed_ids(tf.constant(texts), feature.hashes, feature.hash_buckets)
    return ids.numpy()[encoded.indices.fill_null(-1).to_numpy() + 1]


def _clock(values: pa.Array, feature: Feature) -> np.ndarray:
    ms = values.fill_null(0).to_numpy(zero_copy_only=False)
    starts, offsets = offsets_of(feature.zone)
    local = ms + offsets[np.searchsorted(starts, in_table(ms, np), "right") - 1]
    ids = feature.ids.of_line(clock_shows(feature.kind, local))
    known = values.is_valid().to_numpy(zero_copy_only=False)
    return np.where(known, ids, MISSING_ID).astype(np.int32)
