"""Ids of values without a vocabulary: FarmHash64, as TensorFlow's own operation has it.

Preprocessing and the exported graph call the one function, so both give a value the same
ids, in every process and for good.
"""

import tensorflow as tf

from steadyrank.models.ids import MISSING_ID

SEPARATOR = "\x1f"  # of a value and the number of a hash


def hashed_ids(texts: tf.Tensor, hashes: int, buckets: int) -> tf.Tensor:
    """Ids of texts, by several hashes that do not agree on which texts are one.

    The first hash is ``tf.strings.to_hash_bucket_fast`` of the text; hash n, counted from
    0, of the text, ``SEPARATOR`` and n.  Each has rows of its own in the table: bucket b
    of hash n is id ``1 + n * buckets + b``.

    Args:
        texts: string ``[B]``; ``""`` is a missing value.
        hashes: How many.
        buckets: Of each.

    Returns:
        int32 ``[B, hashes]``; ``[B]`` of one hash.  All ``MISSING_ID`` where missing.
    """
    missing, ids = texts == "", []
    for number in range(hashes):
        salted = texts + f"{SEPARATOR}{number}" if number else texts
        bucket = tf.strings.to_hash_bucket_fast(salted, buckets)
        found = tf.cast(bucket, tf.int32) + (1 + number * buckets)
        ids.append(tf.where(missing, MISSING_ID, found))
    return ids[0] if hashes == 1 else tf.stack(ids, axis=1)
