"""In which precision layers multiply: bfloat16 beside float32 weights."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Around the making of layers: what they compute in, from then on.

    Their weights are float32, and so are the gradients of these.  bfloat16 has the range
    of float32, and needs no scaling of the loss.

    Args:
        precision: ``"float32"`` or ``"bfloat16"``.

    Example:

    >>> with computing_in("bfloat16"):
    ...     layer = tf.keras.layers.Dense(2)
    >>> layer(tf.ones([1, 3])).dtype, layer.kernel.dtype
    (tf.bfloat16, tf.float32)
    """
    before = tf.keras.mixed_precision.global_policy()
    policy = precision if precision == "float32" else f"mixed_{precision}"
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
