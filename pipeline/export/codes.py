"""Ids of values that need no vocabulary, in the graph of an export."""

import tensorflow as tf

from steadyrank.models.features import MISSING_INTEGER, Feature
from steadyrank.models.hashed import hashed_ids
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


def _hashed(feature: Feature, values: tf.Tensor) -> tf.Tensor:
    if feature.raw == "integer":
        missing = values == tf.constant(MISSING_INTEGER, tf.int64)
        values = tf.where(missing, "", tf.as_string(values))
    return hashed_ids(values, feature.hashes, feature.hash_buckets)


def _clock(feature: Feature, ms: tf.Tensor) -> tf.Tensor:
    starts, offsets = (tf.constant(table) for table in offsets_of(feature.zone))
    known = (ms > EARLIEST_MS) & (ms < LATEST_MS)
    ms = tf.where(known, ms, tf.zeros_like(ms))
    place = tf.searchsorted(starts, in_table(ms, tf), side="right") - 1
    shown = clock_shows(feature.kind, ms + tf.gather(offsets, place))
    ids = tf.cast(feature.ids.of_line(shown), tf.int32)
    return tf.where(known, ids, MISSING_ID)
