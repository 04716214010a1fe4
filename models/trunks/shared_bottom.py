"""Hard parameter sharing: one network for all tasks (Caruana, 1997)."""

from collections.abc import Iterable

import tensorflow as tf
from tensorflow_recommenders.layers.feature_interaction.dcn import Cross

from steadyrank.components.layers.mlp import MLP
from steadyrank.components.layers.split_dense import SplitInput

CROSS_SEEDS = 10_000
CROSS_STDDEV = 0.05  # that of Keras' "truncated_normal", the default of Cross


class SharedBottom(tf.keras.layers.Layer):
    """One bottom network whose output every task's tower reads.

    With ``cross_layers`` the input first goes through DCN-v2 (Wang et al., WWW'21,
    equation 1), ``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l``; with ``layer_norm`` it is
    then normalised over each row.  One cross layer and the norm before four wide layers
    is the model "Large+DCN" of the Clippy paper (KDD'23, section 5).

    Args:
        tasks: Task names.
        units: Widths of the bottom's layers.
        seed: Start of the layers' seeds; no two start alike.
        cross_layers: DCN-v2 layers before the bottom; 0: none.
        layer_norm: Whether to normalise what the bottom reads.

    Input shape:
        ``[B, D]``.

    Output shape:
        Task name -> ``[B, units[-1]]``.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        units: list[int],
        seed: int,
        cross_layers: int = 0,
        layer_norm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.crosses = [_cross(i, seed + CROSS_SEEDS + i) for i in range(cross_layers)]
        self.norm = tf.keras.layers.LayerNormalization(name="norm") if layer_norm else None
        self.bottom = MLP(units, final_activation="relu", seed=seed, name="bottom")

    def call(self, inputs):
        """Computes the bottom once."""
        mixed = self.crosses or self.norm is not None
        if mixed and isinstance(inputs, SplitInput):
            inputs = inputs.joined()
        crossed = inputs
        for cross in self.crosses:
            crossed = cross(inputs, crossed)
        if self.norm is not None:
            crossed = self.norm(crossed)
        return dict.fromkeys(self.tasks, self.bottom(crossed))


def _cross(index: int, seed: int) -> Cross:
    initializer = tf.keras.initializers.TruncatedNormal(stddev=CROSS_STDDEV, seed=seed)
    return Cross(kernel_initializer=initializer, name=f"cross_{index}")
