"""Experts and their gates, and one level of CGC (PLE) made of them.

References: Tang et al., "Progressive Layered Extraction" (RecSys 2020), sections 4.1
and 4.2; Ma et al., "Modeling Task Relationships in Multi-task Learning with Multi-gate
Mixture-of-Experts" (KDD 2018).  B batch, d input width, E experts, D expert width.
"""

import tensorflow as tf

from steadyrank.components.layers.mlp import MLP, kernel_initializer
from steadyrank.components.layers.split_dense import Dense

# Seeds are counted off from a layer's own: expert i of a bank at i * EXPERT_SEEDS, its
# later layers behind it, the gate behind the experts, the next task's after that.
EXPERT_SEEDS = 100
GATE_SEED = 9_999
TASK_SEEDS = 10_000
SHARED_STATE = "(shared)"  # the shared gate's name among those of the tasks


def mix(gate_logits, experts):
    """``g(x) = softmax(W x) S(x)``: the gate's weighted mean of the experts (eq. 1 to 4).

    Args:
        gate_logits: ``[B, E]``.
        experts: E tensors ``[B, D]``, or ``[B, E, D]``.

    Returns:
        ``[B, D]``.
    """
    if not isinstance(experts, list | tuple):
        experts = tf.unstack(experts, axis=1)
    weights = tf.split(tf.nn.softmax(gate_logits), len(experts), axis=1)
    # no stack: to copy the experts once more for every task costs more than the sums
    return tf.add_n([w * x for w, x in zip(weights, experts, strict=True)])


def _offset(seed, by):
    return None if seed is None else seed + by


class GateNotes:
    """What gates chose in one call, noted by the layers that are handed it.

    Attributes:
        weights: Gate -> ``(labels, weights)``: the experts it sees, and ``[B, E]``.
    """

    def __init__(self):
        self.weights = {}


class Gate(Dense):
    """The paper's gate: a single linear layer without bias, softmax, and the mixture.

    Args:
        labels: Names of the experts that it sees, in their order.
        seed: Of its own kernel; the experts' seeds are counted off likewise.
        name: Its name, and its key among the notes.

    Call arguments:
        selector: ``[B, d]``, or a ``SplitInput`` once built: to ``[B, E]`` logits.
    """

    def __init__(self, labels, seed, name):
        self.labels = tuple(labels)
        super().__init__(
            len(self.labels),
            use_bias=False,
            kernel_initializer=kernel_initializer(None, _offset(seed, GATE_SEED)),
            name=f"gate_{name}",
        )

    def mix(self, selector, experts, notes=None, key=""):
        """The mixture of what the experts gave; the gate's weights go into the notes.

        Args:
            selector: ``[B, d]``, or a ``SplitInput`` once built.
            experts: E tensors ``[B, D]``.
            notes: ``GateNotes`` to fill, or None.
            key: The gate's name among the notes.

        Returns:
            ``[B, D]``.
        """
        logits = self(selector)
        if notes is not None:
            notes.weights[key] = self.labels, tf.nn.softmax(logits)
        return mix(logits, experts)


class ExpertBank(tf.keras.layers.Layer):
    """Experts that read the same input: ``[B, d]`` to a list of E tensors ``[B, D]``.

    Their first layers are one wide matrix product.  Every expert draws its own initial
    weights: experts that start alike are told apart by the gates alone.

    Args:
        experts: E.
        units: Widths of the layers of each expert.
        activation: After every layer, the last included.
        seed: Start of the experts' seeds; None: from Keras' global seed.

    Call arguments:
        inputs: ``[B, d]``, or a ``SplitInput`` once built.
    """

    def __init__(self, experts, units, activation="relu", seed=None, **kwargs):
        super().__init__(**kwargs)
        self.experts = experts
        seeds = [_offset(seed, EXPERT_SEEDS * i) for i in range(experts)]
        self._first = Dense(
            experts * units[0],
            activation=activation,
            kernel_initializer=_side_by_side(activation, seeds),
            name="first",
        )
        self._rest = [
            MLP(units[1:], activation, activation, _offset(each, 1), name=f"expert_{i}")
            for i, each in enumerate(seeds)
        ]

    def call(self, inputs):
        """Computes all experts."""
        parts = tf.split(self._first(inputs), self.experts, axis=-1)
        return [mlp(x) for mlp, x in zip(self._rest, parts, strict=True)]


def _side_by_side(activation, seeds):
    """Initial ``[d, E * h]`` whose blocks ``[d, h]`` are drawn one by one."""

    def initialize(shape, dtype=None, **kwargs):
        block = [shape[0], shape[1] // len(seeds)]
        draws = [kernel_initializer(activation, seed)(block, dtype) for seed in seeds]
        return tf.concat(draws, axis=1)

    return initialize


@tf.keras.utils.register_keras_serializable("steadyrank")
class CGC(tf.keras.layers.Layer):
    """Customized gate control: one extraction level of PLE.

    The experts of task k read the input of task k, the shared experts the shared input.
    The gate of task k is driven by the input of task k and weighs its own experts and
    the shared ones; another task's private experts are out of its sight.  The shared
    gate, which every level but the last has, weighs all experts of the level.

    Args:
        tasks: Names of the tasks.
        task_experts: m_k, for all tasks or by name; 0 leaves a task the shared ones.
        shared_experts: m_s; may be 0.
        expert_units: Widths of the layers of each expert.
        shared_gate: Whether the level has a shared output; False at the last level.
        activation: After every layer of an expert.
        seed: Start of the seeds, each expert and gate having its own; None: from Keras'
            global seed.

    Call arguments:
        inputs: Dict, task name to ``[B, d]``.
        shared: ``[B, d]``.
        notes: ``GateNotes`` to fill, or None.

    Output shape:
        ``(dict of task name to [B, D], shared [B, D])``; shared is None without the gate.

    Example:

    >>> x = tf.ones([2, 8])
    >>> level = CGC(["click", "like"], expert_units=[16, 4], shared_gate=False)
    >>> outputs, shared = level({"click": x, "like": x}, x)
    >>> outputs["like"].shape, shared
    (TensorShape([2, 4]), None)
    """

    def __init__(
        self,
        tasks,
        task_experts=1,
        shared_experts=1,
        expert_units=(256,),
        *,
        shared_gate=True,
        activation="relu",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = list(tasks)
        self.task_experts = task_experts
        self.shared_experts = shared_experts
        self.expert_units = list(expert_units)
        self.shared_gate = shared_gate
        self.activation = activation
        self.seed = seed
        self._banks, self._gates = {}, {}
        sizes = self._bank_sizes()
        for i, (label, size) in enumerate(sizes.items()):
            self._add(label, size, sizes, _offset(seed, TASK_SEEDS * i))

    def _bank_sizes(self):
        """Number of experts of each task and, at the end, of the shared ones."""
        given = self.task_experts
        by_task = given if isinstance(given, dict) else dict.fromkeys(self.tasks, given)
        if set(by_task) != set(self.tasks):
            raise ValueError(
                f"task_experts must name the tasks {list(self.tasks)}. Received: "
                f"task_experts={dict(by_task)}. Give one number, or one for each task."
            )
        for task, size in by_task.items():
            if size + self.shared_experts < 1:
                raise ValueError(
                    "task_experts and shared_experts must give each task an expert. "
                    f"Received: task_experts=0 for {task}, shared_experts=0. Add one."
                )
        private = {f"task_{task}": by_task[task] for task in self.tasks}
        return {**private, "shared": self.shared_experts}

    def _add(self, label, size, sizes, seed):
        if size:
            self._banks[label] = ExpertBank(
                size, self.expert_units, self.activation, seed, name=f"experts_{label}"
            )
        if label == "shared" and not self.shared_gate:
            return
        seen = list(sizes) if label == "shared" else [label, "shared"]
        labels = [
            f"{bank.removeprefix('task_')} {i}" for bank in seen for i in range(sizes[bank])
        ]
        self._gates[label] = Gate(labels, seed, label)

    def call(self, inputs, shared, notes=None):
        """Computes every expert once, then each gate's mixture."""
        inputs = {f"task_{task}": inputs[task] for task in self.tasks}
        states = {**inputs, "shared": shared}
        experts = {label: bank(states[label]) for label, bank in self._banks.items()}
        outputs = {
            task: self._mix(f"task_{task}", inputs[f"task_{task}"], experts, notes)
            for task in self.tasks
        }
        if not self.shared_gate:
            return outputs, None
        return outputs, self._mix("shared", shared, experts, notes)

    def _mix(self, label, selector, experts, notes):
        names = list(experts) if label == "shared" else [label, "shared"]
        visible = [x for name in names for x in experts.get(name, ())]
        reader = SHARED_STATE if label == "shared" else label.removeprefix("task_")
        key = f"{self.name}/{reader}"
        return self._gates[label].mix(selector, visible, notes, key)

    def get_config(self):
        """Every argument of ``__init__``."""
        given = self.task_experts
        return {
            **super().get_config(),
            "tasks": self.tasks,
            "task_experts": dict(given) if isinstance(given, dict) else given,
            "shared_experts": self.shared_experts,
            "expert_units": self.expert_units,
            "shared_gate": self.shared_gate,
            "activation": self.activation,
            "seed": self.seed,
        }
