"""Progressive layered extraction (Tang et al., RecSys'20, sections 3.2 and 4)."""

from collections.abc import Iterable

import tensorflow as tf

from steadyrank.components.layers.experts import CGC

LEVEL_SEEDS = 1_000_000


class Ple(tf.keras.layers.Layer):
    """Levels of CGC, one reading what the other extracted; one level is CGC itself.

    Every level but the last hands on a shared state beside those of the tasks.

    Args:
        tasks: Task names.
        levels: Extraction levels; 1: CGC.
        shared_experts: Shared experts of each level.
        task_experts: Private experts of each task and level.
        expert_units: Widths of an expert's layers.
        seed: Start of the experts' seeds; no two start alike.

    Call arguments:
        inputs: ``[B, D]``.
        notes: ``GateNotes`` to fill, or None.

    Output shape:
        Task name -> ``[B, expert_units[-1]]``.
    """

    gated = True  # takes ``notes``

    def __init__(
        self,
        tasks: Iterable[str],
        *,
        levels: int = 1,
        shared_experts: int,
        task_experts: int,
        expert_units: list[int],
        seed: int,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.levels = [
            CGC(
                self.tasks,
                task_experts,
                shared_experts,
                expert_units,
                shared_gate=level < levels - 1,
                seed=seed + LEVEL_SEEDS * level,
                name=f"level_{level}",
            )
            for level in range(levels)
        ]

    def call(self, inputs, notes=None):
        """Extracts level by level; all states start as the input."""
        states, shared = dict.fromkeys(self.tasks, inputs), inputs
        for level in self.levels:
            states, shared = level(states, shared, notes=notes)
        return states
