"""Mixtures of experts that all tasks share: OMoE, MMoE, and MMoE in levels.

Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts" (KDD'18); levels as PLE (RecSys'20, section 4) compares itself with.
"""

from collections.abc import Iterable

import tensorflow as tf

from steadyrank.components.layers.experts import EXPERT_SEEDS, TASK_SEEDS, ExpertBank, Gate
from steadyrank.components.layers.mlp import MLP

LEVEL_SEEDS = 1_000_000
ALL_TASKS = "all tasks"


class Mmoe(tf.keras.layers.Layer):
    """Shared experts, and a gate for each task, ``y_k = sum_i softmax(W_k x)_i f_i(x)``.

    With several levels each higher expert reads a mixture of the lower ones by a gate of
    its own.  All gates select by the input, whatever their level.

    Args:
        tasks: Task names.
        experts: Experts of each level.
        expert_units: Widths of an expert's layers.
        seed: Start of the experts' and gates' seeds; no two start alike.
        levels: 1: MMoE; more: ML-MMoE.
        one_gate: Whether all tasks share the last level's gate: OMoE.

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
        experts: int,
        expert_units: list[int],
        seed: int,
        *,
        levels: int = 1,
        one_gate: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.bank = ExpertBank(experts, expert_units, seed=seed, name="experts")
        self.higher = [
            [
                MLP(
                    expert_units,
                    final_activation="relu",
                    seed=seed + LEVEL_SEEDS * level + EXPERT_SEEDS * i,
                    name=f"level_{level}_expert_{i}",
                )
                for i in range(experts)
            ]
            for level in range(1, levels)
        ]
        between = [f"expert {i}" for i in range(experts)]
        last = [ALL_TASKS] if one_gate else self.tasks
        self.gates = [
            {
                reader: self._gate(reader, level, seed + LEVEL_SEEDS * level, place)
                for place, reader in enumerate(readers)
            }
            for level, readers in enumerate([between] * (levels - 1) + [last])
        ]

    def _gate(self, reader: str, level: int, seed: int, place: int) -> Gate:
        labels = [f"shared {i}" for i in range(self.bank.experts)]
        name = f"level_{level}_{reader.replace(' ', '_')}"
        return Gate(labels, seed + TASK_SEEDS * place, name)

    def call(self, inputs, notes=None):
        """Computes level after level, each expert once."""
        experts, mixtures = self.bank(inputs), {}
        for level, gates in enumerate(self.gates):
            mixtures = {
                reader: gate.mix(inputs, experts, notes, f"level_{level}/{reader}")
                for reader, gate in gates.items()
            }
            if level < len(self.higher):
                states = zip(self.higher[level], mixtures.values(), strict=True)
                experts = [expert(state) for expert, state in states]
        if ALL_TASKS in mixtures and ALL_TASKS not in self.tasks:
            return dict.fromkeys(self.tasks, mixtures[ALL_TASKS])
        return mixtures
