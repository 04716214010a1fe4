"""Hard parameter sharing: one network for all tasks (Caruana, 1997)."""

from collections.abc import Iterable

import tensorflow as tf

from components.mlp import MLP


class SharedBottom(tf.keras.layers.Layer):
    """One bottom network whose output every task's tower reads.

    Args:
        tasks: Task names.
        units: Widths of the bottom's layers.
        seed: Start of the layers' seeds.

    Input shape:
        ``[B, D]``.

    Output shape:
        Task name -> ``[B, units[-1]]``.
    """

    def __init__(self, tasks: Iterable[str], units: list[int], seed: int, **kwargs):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.bottom = MLP(units, final_activation="relu", seed=seed, name="bottom")

    def call(self, inputs):
        """Computes the bottom once."""
        return dict.fromkeys(self.tasks, self.bottom(inputs))
