"""Hard parameter sharing: one network for all tasks (Caruana, 1997)."""

from collections.abc import Iterable

import tensorflow as tf

from steadyrank.components.layers.mlp import MLP
from steadyrank.components.layers.split_dense import SplitInput


class SharedBottom(tf.keras.layers.Layer):
    """One bottom network whose output every task's tower reads.

    With ``layer_norm`` the input is first normalised over each row.  One cross layer as
    the front and the norm before four wide layers is the model "Large+DCN" of the Clippy
    paper (KDD'23, section 5).

    Args:
        tasks: Task names.
        bottom_units: Widths of the bottom's layers.
        seed: Start of the layers' seeds; no two start alike.
        layer_norm: Whether to normalise what the bottom reads.

    Input shape:
        ``[B, D]``.

    Output shape:
        Task name -> ``[B, bottom_units[-1]]``.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        bottom_units: list[int],
        seed: int,
        *,
        layer_norm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.norm = tf.keras.layers.LayerNormalization(name="norm") if layer_norm else None
        self.bottom = MLP(bottom_units, final_activation="relu", seed=seed, name="bottom")

    def call(self, inputs):
        """Computes the bottom once."""
        if self.norm is not None:
            joined = inputs.joined() if isinstance(inputs, SplitInput) else inputs
            inputs = self.norm(joined)
        return dict.fromkeys(self.tasks, self.bottom(inputs))
