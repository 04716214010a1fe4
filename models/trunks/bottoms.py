"""A bottom network for each task, and what it may read of the others': no gates.

Single-task, asymmetric and customized sharing as PLE (RecSys'20, figure 1) has them.
"""

from collections.abc import Iterable, Mapping

import tensorflow as tf

from steadyrank.components.layers.experts import ExpertBank


class Bottoms(tf.keras.layers.Layer):
    """Private bottoms of one shape; a tower reads its own, and others beside it.

    Args:
        tasks: Task names.
        bottom_units: Widths of a bottom's layers.
        seed: Start of the bottoms' seeds; no two start alike.
        reads: Task -> the other tasks whose bottoms its tower reads, too: asymmetric
            sharing.
        shared: Whether every tower reads one more bottom, which all share: customized
            sharing.

    Input shape:
        ``[B, D]``.

    Output shape:
        Task name -> ``[B, bottom_units[-1] * n]`` for n bottoms read, the task's own first.
    """

    def __init__(
        self,
        tasks: Iterable[str],
        bottom_units: list[int],
        seed: int,
        *,
        reads: Mapping[str, list[str]] | None = None,
        shared: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.reads = {task: tuple((reads or {}).get(task, ())) for task in self.tasks}
        self.shared = shared
        size = len(self.tasks) + shared
        self.bank = ExpertBank(size, bottom_units, seed=seed, name="bottoms")

    def call(self, inputs):
        """Computes every bottom once."""
        found = self.bank(inputs)
        own = dict(zip(self.tasks, found, strict=False))
        common = found[len(self.tasks) :]
        outputs = {}
        for task in self.tasks:
            parts = [own[task], *(own[other] for other in self.reads[task]), *common]
            outputs[task] = tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]
        return outputs
