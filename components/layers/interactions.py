"""How features meet: factorization machines and the cross layers of DCN.

B batch, F fields, D width of an embedding, d width of an input.
"""

import tensorflow as tf


@tf.custom_gradient
def fm_pooling(fields):
    """``1/2 ((sum_i v_i)^2 - sum_i v_i^2)``, the sum of all products of two fields.

    Rendle, "Factorization Machines" (ICDM 2010), lemma 3.1; before the sum over D it is
    the bi-interaction of He and Chua (SIGIR 2017).  Its gradient in v_i is the sum of the
    other fields: one pass, where the formula's own would take five.

    Args:
        fields: ``[B, F, D]``.

    Returns:
        ``[B, D]``.
    """
    total = tf.reduce_sum(fields, axis=1)
    squares = tf.reduce_sum(tf.square(fields), axis=1)

    def gradient(g):
        return (total[:, tf.newaxis] - fields) * g[:, tf.newaxis]

    return 0.5 * (tf.square(total) - squares), gradient


@tf.keras.utils.register_keras_serializable("steadyrank")
class VectorCross(tf.keras.layers.Layer):
    """The cross layer of DCN: ``x_{l+1} = x_0 (x_l . w) + b + x_l``.

    Wang et al., "Deep & Cross Network for Ad Click Predictions" (ADKDD 2017), equation 3.
    The matrix form of DCN-v2 is tensorflow-recommenders' ``Cross``.

    Args:
        seed: Of the kernel, Glorot uniform; None: from Keras' global seed.

    Call arguments:
        x0: ``[B, d]``, the input of the first cross layer.
        x: ``[B, d]``, that of this one.

    Output shape:
        ``[B, d]``.

    Example:

    >>> x = tf.constant([[1.0, 2.0]])
    >>> layer = VectorCross()
    >>> layer(x, x).shape
    TensorShape([1, 2])
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, x0_shape):
        """Creates w and b."""
        initializer = tf.keras.initializers.GlorotUniform(self.seed)
        width = x0_shape[-1]
        self.kernel = self.add_weight("kernel", [width, 1], initializer=initializer)
        self.bias = self.add_weight("bias", [width], initializer="zeros")
        super().build(x0_shape)

    def call(self, x0, x):
        """Crosses once."""
        return x0 * tf.matmul(x, self.kernel) + self.bias + x

    def get_config(self):
        """Every argument of ``__init__``."""
        return {**super().get_config(), "seed": self.seed}
