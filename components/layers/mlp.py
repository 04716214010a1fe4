"""A multi-layer perceptron whose start is known."""

import tensorflow as tf

from steadyrank.components.layers.split_dense import Dense

RECTIFIERS = ("relu", "leaky_relu", "elu", "selu", "gelu", "swish", "silu")


def kernel_initializer(activation, seed=None):
    """He normal before a rectifier, Glorot uniform before anything else.

    Args:
        activation: Keras' name of what follows the kernel; None: linear.
        seed: An int; None: from Keras' global seed.

    Returns:
        A Keras initializer.
    """
    if activation in RECTIFIERS:
        return tf.keras.initializers.HeNormal(seed)
    return tf.keras.initializers.GlorotUniform(seed)


@tf.keras.utils.register_keras_serializable("steadyrank")
class MLP(tf.keras.layers.Layer):
    """Dense layers, one after another.

    Args:
        units: Width of each layer; with none the input is returned.
        activation: Name of the activation after all layers but the last.
        final_activation: Name of the activation after the last layer; None: linear.
        seed: Layer i starts from ``seed + i``: no two layers of one stack are alike.
            None: from Keras' global seed.

    Input shape:
        ``[..., d]``, or a ``SplitInput`` once built.

    Output shape:
        ``[..., units[-1]]``.

    Example:

    >>> MLP([16, 1], seed=7)(tf.ones([2, 8])).shape
    TensorShape([2, 1])
    """

    def __init__(
        self, units, activation="relu", final_activation=None, seed=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.units = list(units)
        self.activation = activation
        self.final_activation = final_activation
        self.seed = seed
        self.layers = [self._dense(i) for i in range(len(self.units))]

    def _dense(self, i):
        last = i == len(self.units) - 1
        activation = self.final_activation if last else self.activation
        seed = None if self.seed is None else self.seed + i
        return Dense(
            self.units[i],
            activation=activation,
            kernel_initializer=kernel_initializer(activation, seed),
            name=f"dense_{i}",
        )

    def call(self, inputs):
        """Applies the layers in order."""
        for layer in self.layers:
            inputs = layer(inputs)
        return inputs

    def get_config(self):
        """Every argument of ``__init__``."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": self.activation,
            "final_activation": self.final_activation,
            "seed": self.seed,
        }
