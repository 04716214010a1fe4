"""What stands between the features' vectors and a trunk: crosses, or dot products.

The plain front, concatenation, is no layer at all.
"""

from collections.abc import Sequence
from functools import partial

import tensorflow as tf
from tensorflow_recommenders.layers.feature_interaction.dot_interaction import (
    DotInteraction,
)

from steadyrank.components.layers.split_dense import SplitInput
from steadyrank.models.cross import crossed, make_crosses

CROSS_STDDEV = 0.05  # that of Keras' "truncated_normal", the default of Cross


class CrossFront(tf.keras.layers.Layer):
    """DCN-v2 (Wang et al., WWW'21, equation 1): ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l``.

    Args:
        layers: How many.
        seed: Start of the layers' seeds; no two start alike.

    Input shape:
        ``[B, D]``, or a ``SplitInput``, which it joins.

    Output shape:
        ``[B, D]``.
    """

    def __init__(self, layers: int, seed: int, **kwargs):
        super().__init__(**kwargs)
        start = partial(tf.keras.initializers.TruncatedNormal, 0.0, CROSS_STDDEV)
        self.crosses = make_crosses(layers, seed, start)

    def call(self, inputs):
        """Applies the layers in order."""
        inputs = inputs.joined() if isinstance(inputs, SplitInput) else inputs
        return crossed(self.crosses, inputs)


class DotFront(tf.keras.layers.Layer):
    """The input, and beside it the dot products of all pairs of its embedded fields.

    DLRM (Naumov et al., 2019): fields of one width, here the most frequent one.

    Args:
        widths: Columns of each field, in their order.
        dims: Width of the embedding of each field; 0: it has none.

    Input shape:
        ``[B, D]``, or a ``SplitInput``, which it joins.

    Output shape:
        ``[B, D + F (F - 1) / 2]`` for F fields that are multiplied.
    """

    def __init__(self, widths: Sequence[int], dims: Sequence[int], **kwargs):
        super().__init__(**kwargs)
        embedded = [dim for dim in dims if dim]
        if not embedded:
            raise ValueError(
                "front dot must have embedded features to multiply. Received: plain "
                "numbers only. Use front: cross, or concatenation."
            )
        self.dim = max(sorted(set(embedded)), key=embedded.count)
        self.widths = tuple(widths)
        self.fields = tuple(i for i, dim in enumerate(dims) if dim == self.dim)
        self.dot = DotInteraction()

    def call(self, inputs):
        """Multiplies all pairs at once."""
        inputs = inputs.joined() if isinstance(inputs, SplitInput) else inputs
        parts = tf.split(inputs, self.widths, axis=1)
        if len(self.fields) < 2:
            return inputs
        return tf.concat([inputs, self.dot([parts[i] for i in self.fields])], axis=1)
