"""A dense layer whose input is, in part, one row for all: serving's first layer.

B batch, S columns shared by all rows, E columns of each row; D = S + E.
"""

from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True, repr=False)
class SplitInput:
    """``[B, D]`` in two parts, of which one is the same in every row.

    Attributes:
        shared: ``[1, S]``.
        each: ``[B, E]``.
        shared_columns, columns: Where these columns are among the D.
        kept: Where a layer keeps the two parts of its kernel, cut on the first call; a
            constant model need not cut them again.  None: they are cut in every call.
    """

    shared: tf.Tensor
    each: tf.Tensor
    shared_columns: tuple[int, ...]
    columns: tuple[int, ...]
    kept: dict | None = None

    def cut(self, layer: "Dense"):
        """The rows of a kernel that the shared columns meet, and the others."""
        if self.kept is not None and layer in self.kept:
            return self.kept[layer]
        kernel = tf.convert_to_tensor(layer.kernel)
        parts = tf.gather(kernel, self.shared_columns), tf.gather(kernel, self.columns)
        if self.kept is not None:
            parts = tuple(tf.Variable(part, trainable=False) for part in parts)
            self.kept[layer] = parts
        return parts

    def joined(self) -> tf.Tensor:
        """The whole ``[B, D]``, for a layer that cannot use the split."""
        rows = tf.repeat(self.shared, tf.shape(self.each)[0], axis=0)
        order = [*self.shared_columns, *self.columns]
        places = [order.index(column) for column in range(len(order))]
        return tf.gather(tf.concat([rows, self.each], axis=1), places, axis=1)


@tf.keras.utils.register_keras_serializable("steadyrank")
class Dense(tf.keras.layers.Dense):
    """Keras' dense layer, which also takes a `SplitInput`.

    The shared columns are multiplied once, and their product joins the bias: `W x + b =
    W_e x_e + (W_s x_s + b)`.  A thousand candidates of one user thus cost what their
    own columns cost.  The result differs from the plain one by rounding alone.

    Call arguments:
        inputs: `[B, D]`, or `SplitInput` once the layer is built.

    Output shape:
        `[B, units]`.

    Example:

    >>> layer = Dense(2)
    >>> whole = layer(tf.constant([[5.0, 1.0, 7.0], [5.0, 2.0, 8.0]]))
    >>> shared, each = tf.constant([[5.0]]), tf.constant([[1.0, 7.0], [2.0, 8.0]])
    >>> split = layer(SplitInput(shared, each, (0,), (1, 2)))
    >>> bool(tf.reduce_max(tf.abs(split - whole)) < 1e-5)
    True
    """

    def __call__(self, inputs, *args, **kwargs):
        """Applies the layer; Keras' own way in takes nothing but tensors."""
        if isinstance(inputs, SplitInput):
            return self._call_split(inputs)
        return super().__call__(inputs, *args, **kwargs)

    def _call_split(self, inputs: SplitInput):
        shared_kernel, kernel = inputs.cut(self)
        bias = tf.matmul(inputs.shared, shared_kernel)[0]
        if self.use_bias:
            bias += self.bias
        outputs = tf.nn.bias_add(tf.matmul(inputs.each, kernel), bias)
        return outputs if self.activation is None else self.activation(outputs)
