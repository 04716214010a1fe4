"""A dense layer whose input is, in part, one row for all: serving's first layer.

B batch, S columns shared by all rows, E columns of each row; D = S + E.
"""

import tensorflow as tf

NARROW = 32  # units; a gate has as many as experts


class KernelCuts:
    """The kernels of the layers that read a ``SplitInput``, cut once and for all.

    For a model whose weights do not change any more.  A first, eager call notes the
    layers; ``cut`` then stores the rows of their kernels that the columns of each row
    meet, those that the shared columns meet, and the biases.  Narrow layers of one
    activation, such as gates, are stored side by side and are one matrix product; for
    wide ones it would cost more to take the product apart again.

    Attributes:
        variables: What was stored, after ``cut``.
    """

    def __init__(self):
        self.layers, self.variables = [], []
        self._alike, self._cuts = [], []

    def cut(self, columns, shared_columns):
        """Stores the parts of the kernels of the layers noted.

        Args:
            columns: int ``[E]``, rows of the kernels that the columns of each row meet.
            shared_columns: int ``[S]``, those that the shared columns meet.
        """
        alike: dict[object, list] = {}
        for i, layer in enumerate(self.layers):
            key = i if layer.units > NARROW else layer.activation
            alike.setdefault(key, []).append(layer)
        self._alike = list(alike.values())
        for layers in self._alike:
            kernel = tf.concat([layer.kernel for layer in layers], axis=1)
            biases = [x.bias if x.use_bias else tf.zeros(x.units) for x in layers]
            parts = (
                tf.gather(kernel, columns),
                tf.gather(kernel, shared_columns),
                tf.concat(biases, axis=0),
            )
            self._cuts.append([tf.Variable(part, trainable=False) for part in parts])
        self.variables = [variable for cut in self._cuts for variable in cut]

    def outputs(self, shared, each) -> dict:
        """What every layer gives: layer to ``[B, units]``; empty before ``cut``.

        Args:
            shared: ``[1, S]``.
            each: ``[B, E]``.
        """
        outputs: dict[object, tf.Tensor] = {}
        for layers, (kernel, of_shared, bias) in zip(self._alike, self._cuts, strict=True):
            bias = tf.matmul(shared, of_shared)[0] + bias
            whole = layers[0].activation(tf.nn.bias_add(tf.matmul(each, kernel), bias))
            units = [layer.units for layer in layers]
            parts = tf.split(whole, units, axis=1) if len(units) > 1 else [whole]
            outputs.update(zip(layers, parts, strict=True))
        return outputs


class SplitInput:
    """``[B, D]`` in two parts, of which one is the same in every row.

    Args:
        shared: ``[1, S]``.
        each: ``[B, E]``.
        shared_columns, columns: Where these columns are among the D.
        cuts: Kernels that were cut before, or the notebook in which to note the layers;
            None: kernels are cut in every call.
    """

    def __init__(self, shared, each, shared_columns, columns, *, cuts=None):
        self.shared, self.each = shared, each
        self.shared_columns, self.columns = tuple(shared_columns), tuple(columns)
        self.cuts = cuts
        self._outputs = None

    def output_of(self, layer: "Dense"):
        """What a layer gives, ``[B, units]``."""
        if self.cuts and self._outputs is None:
            self._outputs = self.cuts.outputs(self.shared, self.each)
        if self._outputs and layer in self._outputs:
            return self._outputs[layer]
        if self.cuts and layer not in self.cuts.layers:
            self.cuts.layers.append(layer)
        kernel = tf.convert_to_tensor(layer.kernel)
        bias = tf.matmul(self.shared, tf.gather(kernel, self.shared_columns))[0]
        bias = bias + layer.bias if layer.use_bias else bias
        own = tf.matmul(self.each, tf.gather(kernel, self.columns))
        return layer.activation(tf.nn.bias_add(own, bias))

    def joined(self) -> tf.Tensor:
        """The whole ``[B, D]``, for a layer that cannot use the split."""
        rows = tf.repeat(self.shared, tf.shape(self.each)[0], axis=0)
        order = [*self.shared_columns, *self.columns]
        places = [order.index(column) for column in range(len(order))]
        return tf.gather(tf.concat([rows, self.each], axis=1), places, axis=1)


@tf.keras.utils.register_keras_serializable("steadyrank")
class Dense(tf.keras.layers.Dense):
    """Keras' dense layer, which also takes a ``SplitInput``.

    The shared columns are multiplied once, and their product joins the bias: ``W x + b =
    W_e x_e + (W_s x_s + b)``.  A thousand candidates of one user thus cost what their
    own columns cost.  The result differs from the plain one by rounding alone.

    Call arguments:
        inputs: ``[B, D]``, or ``SplitInput`` once the layer is built.

    Output shape:
        ``[B, units]``.

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
            return inputs.output_of(self)
        return super().__call__(inputs, *args, **kwargs)
