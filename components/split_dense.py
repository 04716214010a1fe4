"""A dense layer whose input is, in part, one row for all: serving's first layer.

B batch, S columns shared by all rows, E columns of each row; D = S + E.
"""

import tensorflow as tf


class KernelCuts:
    """The kernels of the layers that read a `SplitInput`, cut once and for all.

    For a model whose weights do not change any more.  A first, eager call notes the
    layers; `cut` then stores, for each, the rows that its own columns meet, and for all
    of them together, side by side, those that the shared columns meet.

    Attributes:
        variables: What was stored, after `cut`.
    """

    def __init__(self):
        self.layers, self.variables = [], []
        self._kernels, self._shared, self._bias = {}, None, None

    def cut(self, columns, shared_columns):
        """Stores the parts of the kernels of the layers noted."""
        for layer in self.layers:
            part = tf.gather(layer.kernel, columns)
            self._kernels[layer] = tf.Variable(part, trainable=False)
        shared = [tf.gather(layer.kernel, shared_columns) for layer in self.layers]
        bias = [
            layer.bias if layer.use_bias else tf.zeros(layer.units) for layer in self.layers
        ]
        self._shared = tf.Variable(tf.concat(shared, axis=1), trainable=False)
        self._bias = tf.Variable(tf.concat(bias, axis=0), trainable=False)
        self.variables = [*self._kernels.values(), self._shared, self._bias]

    def kernel(self, layer):
        """The stored rows of a layer's kernel; None where none are."""
        return self._kernels.get(layer)

    def products(self, shared) -> dict:
        """`W_s x_s + b` of every layer, in one product: layer to `[units]`."""
        whole = tf.matmul(shared, self._shared)[0] + self._bias
        parts = tf.split(whole, [layer.units for layer in self.layers])
        return dict(zip(self.layers, parts, strict=True))


class SplitInput:
    """``[B, D]`` in two parts, of which one is the same in every row.

    Args:
        shared: ``[1, S]``.
        each: ``[B, E]``.
        shared_columns, columns: Where these columns are among the D.
        cuts: Kernels that were cut before, or the notebook in which to note the layers;
            None: kernels are cut in every call.
    """

    def __init__(self, shared, each, shared_columns, columns, cuts=None):
        self.shared, self.each = shared, each
        self.shared_columns, self.columns = tuple(shared_columns), tuple(columns)
        self.cuts = cuts
        self._products = None

    def parts_for(self, layer: "Dense"):
        """`W_s x_s + b` ``[units]``, and the kernel for the columns of each row."""
        kernel = self.cuts.kernel(layer) if self.cuts else None
        if kernel is not None:
            self._products = self._products or self.cuts.products(self.shared)
            return self._products[layer], kernel
        if self.cuts and layer not in self.cuts.layers:
            self.cuts.layers.append(layer)
        kernel = tf.convert_to_tensor(layer.kernel)
        bias = tf.matmul(self.shared, tf.gather(kernel, self.shared_columns))[0]
        bias = bias + layer.bias if layer.use_bias else bias
        return bias, tf.gather(kernel, self.columns)

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
        bias, kernel = inputs.parts_for(self)
        outputs = tf.nn.bias_add(tf.matmul(inputs.each, kernel), bias)
        return outputs if self.activation is None else self.activation(outputs)
