"""Ids of values that need no vocabulary, in the graph of an export."""

from collections.abc import Iterable

import tensorflow as tf

from steadyrank.models.features import CLOCKS, MISSING_INTEGER, Feature
from steadyrank.models.hashed import SEPARATOR, hashed_ids
from steadyrank.models.ids import MISSING_ID
from steadyrank.pipeline.raw_log.times import EARLIEST_MS, LATEST_MS
from steadyrank.pipeline.raw_log.zones import clock_shows, in_table, offsets_of


def code_tensor(feature: Feature, values: tf.Tensor) -> tf.Tensor:
    """Ids of a hash, an hour or a weekday: the same as ``preprocess.codes`` gives.

    Args:
        feature: Whose.
        values: Raw ones ``[B]``: strings, integers, or moments in milliseconds.  A moment
            outside of the years that a log may have is missing.

    Returns:
        int32 ``[B]``, or ``[B, hashes]``.
    """
    return _hashed(feature, values) if feature.hashes else _clock(feature, values)


def cross_tensor(feature: Feature, parts: Iterable[tuple[Feature, tf.Tensor]]) -> tf.Tensor:
    """Ids of a cross: the same as ``preprocess.codes`` gives.

    Args:
        feature: The cross.
        parts: The features that it is of, and their raw values ``[B]``, or ``[1]``.

    Returns:
        int32 ``[B]``, or ``[B, hashes]``; ``MISSING_ID`` where one value is missing.
    """
    first, *others = (_texts(part, values) for part, values in parts)
    together, missing = first, first == ""
    for texts in others:
        together += SEPARATOR + texts
        missing |= texts == ""
    together = tf.where(missing, "", together)
    return hashed_ids(together, feature.hashes, feature.hash_buckets)


def _texts(feature: Feature, values: tf.Tensor) -> tf.Tensor:
    """Values as texts, "" where missing: of a clock, the id of what it shows."""
    if feature.kind in CLOCKS:
        ids = _clock(feature, values)
        return tf.where(ids == MISSING_ID, "", tf.as_string(ids))
    if feature.raw == "string":
        return values
    missing = values == tf.constant(MISSING_INTEGER, tf.int64)
    return tf.where(missing, "", tf.as_string(values))


def _hashed(feature: Feature, values: tf.Tensor) -> tf.Tensor:
    return hashed_ids(_texts(feature, values), feature.hashes, feature.hash_buckets)


def _clock(feature: Feature, ms: tf.Tensor) -> tf.Tensor:
    starts, offsets = (tf.constant(table) for table in offsets_of(feature.zone))
    known = (ms > EARLIEST_MS) & (ms < LATEST_MS)
    ms = tf.where(known, ms, tf.zeros_like(ms))
    place = tf.searchsorted(starts, in_table(ms, tf), side="right") - 1
    shown = clock_shows(feature.kind, ms + tf.gather(offsets, place))
    ids = tf.cast(feature.ids.of_line(shown), tf.int32)
    return tf.where(known, ids, MISSING_ID)
