"""The ranking model: features in, one output per task, and the step that trains it."""

import math
import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import tensorflow as tf

from steadyrank.components.layers.experts import GateNotes
from steadyrank.components.layers.mlp import MLP
from steadyrank.components.layers.split_dense import Dense
from steadyrank.components.losses import masked_mean
from steadyrank.models.batch_rows import BatchRows
from steadyrank.models.bias import BiasTower
from steadyrank.models.features import Feature, Task
from steadyrank.models.inputs import LINEAR, FeatureInputs
from steadyrank.models.row_losses import row_losses
from steadyrank.models.serving_head import ServingHead, is_bent
from steadyrank.models.smearing import along, level_curve, smear, straight
from steadyrank.models.task_weighting import TaskWeighting
from steadyrank.models.trained import TrainedModel
from steadyrank.models.trunks.ctr import Wide

NAME = "ranking_model"  # fixed: weights are saved under it


class RankingModel(TrainedModel):
    """Feature inputs, a trunk, and a tower for each task.

    A binary task's tower gives a logit, a regression task's a standardised, transformed
    value, or the logarithm of a mean (``Task.loss``).  Each tower ends in a bias that
    starts at the task's mean in the training split, so that the first steps do not go into
    finding it.

    Args:
        features: Learned features.
        tasks: Learned tasks.
        trunk: Layer ``[B, D]`` -> task name -> ``[B, d]``; None: no towers either.
        tower_units: Widths of a tower's hidden layers; may be empty.
        score: Formula of the ranking score over the tasks' outputs and numbers that the
            features hold.
        seed: Start of the towers' and tables' seeds.
        front: Layer between the features' vectors and the trunk; None: there is none.
        wide: Logits to add to those of the towers; None: none.
        encoders: Sequence's name -> the layer that makes its events one vector.
        bias: What training adds to all outputs, of features that are not served; None:
            nothing.

    Call arguments:
        features: Feature name -> tensor, as the examples hold it.
        gathered: What the rows of the tables hold that a step reads; None: the model reads
            its tables itself.
        training: Whether the bias is added.

    Output shape:
        Task name -> logit or standardised value, ``[B]``.

    Attributes:
        head: ``ServingHead``: what is served.
        smears: Task that is learned transformed -> a scalar that its values are served
            times, 1 at the start, or a curve ``[2, LEVELS + 1]`` that they are served
            along; no step moves it, ``smear`` sets it.
    """

    def __init__(
        self,
        features: Iterable[Feature],
        tasks: Iterable[Task],
        trunk: tf.keras.layers.Layer | None,
        *,
        tower_units: list[int],
        score: str,
        seed: int,
        front: tf.keras.layers.Layer | None = None,
        wide: Wide | None = None,
        encoders: Mapping | None = None,
        bias: BiasTower | None = None,
    ):
        super().__init__(name=NAME)
        self.tasks, self.bias_tower = tuple(tasks), bias
        self.inputs_layer = FeatureInputs(
            features,
            seed,
            linear_units=len(self.tasks) if wide is not None else 0,
            vectors=trunk is not None or bool(wide and wide.product_dim),
            encoders=encoders,
            name="inputs",
        )
        self.front, self.trunk, self.wide = front, trunk, wide
        self.head = ServingHead(self, score)
        self.towers = {
            task.name: MLP(
                [*tower_units, 1], seed=seed + 100 * i, name=f"tower_{task.name}"
            )
            for i, task in enumerate(self.tasks)
            if trunk is not None
        }
        self.biases = {
            task.name: self.add_weight(
                f"bias_{task.name}",
                shape=[],
                initializer=tf.keras.initializers.Constant(_start(task)),
            )
            for task in self.tasks
        }

        self.smears = {
            task.name: self._add_smear(task)
            for task in self.tasks
            if task.kind == "regression" and is_bent(task)
        }

    def _add_smear(self, task: Task):
        start = 1.0 if task.smearing == "factor" else straight()
        return self.add_weight(
            f"smear_{task.name}",
            shape=np.shape(start),
            initializer=tf.keras.initializers.Constant(start),
            trainable=False,
        )

    def compile(self, dense_optimizer, embedding_optimizer, weighting=None, **kwargs):
        """Takes two optimizers, which together update every weight exactly once.

        Args:
            dense_optimizer: For everything but the embedding tables.
            embedding_optimizer: For the embedding tables; reads their sparse gradients.
            weighting: A ``TaskWeighting``; None: the tasks' own weights.
            **kwargs: Passed to Keras.
        """
        self.weighting = weighting or TaskWeighting(self.tasks)
        linear = self.inputs_layer.tables.get(LINEAR)
        embedding_optimizer.leave_unclipped(linear.weights if linear else [])
        for table in self.table_layers.values():
            embedding_optimizer.tell_fields(table.embeddings, table.starts)
        super().compile(dense_optimizer, embedding_optimizer, **kwargs)

    @property
    def tables(self) -> dict[str, tf.Variable]:
        """The embedding tables, each of one feature or several."""
        return {name: layer.embeddings for name, layer in self.table_layers.items()}

    @property
    def table_layers(self) -> dict:
        """The layers of the tables, those of the bias after all others."""
        return self.inputs_layer.tables | (
            self.bias_tower.tables if self.bias_tower else {}
        )

    @property
    def table_readers(self) -> dict[str, tuple[Feature, ...]]:
        """Table -> the features that read it."""
        return self.inputs_layer.readers | (
            self.bias_tower.readers if self.bias_tower else {}
        )

    @property
    def task_weights(self) -> dict[str, float]:
        """As the config has them."""
        return {task.name: task.weight for task in self.tasks}

    def shares(self) -> dict[str, float]:
        """As the method of ``train.task_weights`` has them now."""
        shares = map(float, self.weighting.weights())
        return dict(zip(self.task_weights, shares, strict=True))

    @property
    def rectified_biases(self) -> list[tf.Variable]:
        """Of the trunk: those of its shared experts, where it has some for each task."""
        layers = self.trunk.submodules if self.trunk is not None else ()
        relu = tf.keras.activations.relu
        found = [
            layer.bias
            for layer in layers
            if isinstance(layer, Dense) and layer.use_bias and layer.activation is relu
        ]
        own = [f"task_{task.name}/" for task in self.tasks]
        return [v for v in found if not any(each in self.log_name(v) for each in own)]

    def log_name(self, variable: tf.Variable) -> str:
        """Its place in the model.

        Args:
            variable: A trainable weight of the model.
        """
        return variable.name.split(":")[0].removeprefix(f"{NAME}/")

    def saved_weights(self) -> dict[str, tf.Variable]:
        """By number and place: layers within layers of other libraries are numbered by
        Keras, process by process."""
        variables = [*self.dense_variables, *self.embedding_variables]
        variables += self.smears.values()
        names = [re.sub(r"_\d+(?=/)", "", v.name.split(":")[0]) for v in variables]
        numbered = enumerate(zip(names, variables, strict=True))
        return {f"{i}/{name}": variable for i, (name, variable) in numbered}

    def smear(self, labels: Mapping, masks: Mapping, outputs: Mapping) -> dict:
        """Set factors and curves by what was foretold of some rows, none trained on.

        Args:
            labels: Task name -> ``[rows]``.
            masks: Task name -> ``[rows]``, not 0 inside of the sample space.
            outputs: Task name -> ``[rows]``, what ``head`` gave.

        Returns:
            The outputs as they are with the new ones; NumPy arrays all.
        """
        changed, by_level = dict(outputs), _by_level(self.tasks)
        for name, variable in self.smears.items():
            inside, before = masks[name] > 0, np.asarray(variable.read_value())
            if name in by_level:
                bare = along(before[::-1], outputs[name])
                variable.assign(level_curve(labels[name][inside], bare[inside]))
                changed[name] = along(np.asarray(variable.read_value()), bare)
            else:
                bare = outputs[name] / float(before)
                variable.assign(smear(labels[name][inside], bare[inside]))
                changed[name] = bare * float(variable.read_value())
        return changed

    def call(self, features: Mapping, gathered: Mapping | None = None, training=None):
        """Computes every task's logit or standardised value."""
        inputs = self.inputs_layer(features, gathered)
        outputs = self.from_inputs(inputs, self.wide_logits(features, gathered))
        return self.biased(outputs, features, gathered) if training else outputs

    def biased(
        self, outputs: Mapping, features: Mapping, gathered: Mapping | None = None
    ) -> Mapping:
        """Outputs as the log has them: with what biased it, where that is known.

        Args:
            outputs: Task name -> ``[B]``, without it.
            features: As for ``call``.
            gathered: As for ``call``.

        Returns:
            Task name -> ``[B]``.
        """
        if self.bias_tower is None:
            return outputs
        added = self.bias_tower(features, gathered)
        return {name: output + added[name] for name, output in outputs.items()}

    def locate(self, features: Mapping) -> dict:
        """Rows that a step reads of each table, repeated ones too.

        Args:
            features: As for ``call``.

        Returns:
            Table name -> int ``[N]``.
        """
        located = self.inputs_layer.locate(features)
        return located | (self.bias_tower.locate(features) if self.bias_tower else {})

    def by_sample(self, features: Mapping) -> dict:
        """How these lie by sample: see ``FeatureInputs.by_sample``.

        Args:
            features: As for ``call``.
        """
        found = self.inputs_layer.by_sample(features)
        return found | (self.bias_tower.by_sample(features) if self.bias_tower else {})

    def wide_logits(
        self,
        features: Mapping,
        gathered: Mapping | None = None,
        shared: Collection[str] = (),
    ) -> dict:
        """Logits of the wide side, task name -> ``[B]``; empty where there is none.

        Args:
            features: As for ``call``.
            gathered: As for ``FeatureInputs``.
            shared: Names of features of which there is one row.
        """
        if self.wide is None:
            return {}
        linear = self.inputs_layer.linear(features, gathered, shared)
        if not self.wide.product_dim:
            return self.wide(linear)
        return self.wide(linear, self.inputs_layer.fields(features, gathered, shared))

    def from_inputs(self, inputs, wide: Mapping | None = None) -> dict:
        """The same from the vectors that all tasks read: ``[B, D]`` or split.

        Args:
            inputs: From ``FeatureInputs``.
            wide: From ``wide_logits``.

        Returns:
            As ``call``: task name -> ``[B]``.
        """
        outputs = dict(self.biases)
        if wide:
            outputs = {name: bias + wide[name] for name, bias in outputs.items()}
        if self.trunk is not None:
            states = self.trunk(inputs if self.front is None else self.front(inputs))
            for name, tower in self.towers.items():
                outputs[name] = tower(states[name])[:, 0] + outputs[name]
        return outputs

    def gate_weights(self, features: Mapping) -> dict:
        """What the trunk's gates choose.

        Args:
            features: As for ``call``.

        Returns:
            Gate -> ``(labels of its experts, float32 [B, E])``; empty for a trunk without
            gates.
        """
        if self.trunk is None or not getattr(self.trunk, "gated", False):
            return {}
        notes, inputs = GateNotes(), self.inputs_layer(features)
        self.trunk(inputs if self.front is None else self.front(inputs), notes=notes)
        return {
            gate: (labels, tf.cast(weights, tf.float32))
            for gate, (labels, weights) in notes.weights.items()
        }

    def task_losses(self, labels: Mapping, masks: Mapping, outputs: Mapping) -> dict:
        """Mean loss of each task over the rows that train it in the *global* batch.

        A replica's result is its share: those of all replicas add up to the mean.  A
        task without an example in the batch has loss 0 and moves nothing.  Rows count by
        their weight, and a positive ``Task.positive_weight`` times.

        Args:
            labels: Task name -> float32 ``[B]`` in raw units, NaN: none.
            masks: Task name -> float32 ``[B]``, a row's weight inside of the sample space
                (1 where rows have none), 0 outside.
            outputs: What ``call`` gave.

        Returns:
            Task name -> scalar.
        """
        found = row_losses(self.tasks, labels, masks, outputs)
        counts = tf.stack([tf.reduce_sum(mask) for _, mask in found.values()])
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            counts = replica.all_reduce(tf.distribute.ReduceOp.SUM, counts)
        return {
            name: masked_mean(losses, mask, count)
            for (name, (losses, mask)), count in zip(
                found.items(), tf.unstack(counts), strict=True
            )
        }

    def train_step(self, data):
        """One step: losses, gradients summed over replicas, finite check, clip, update.

        Args:
            data: ``(features, labels, masks)``.

        Returns:
            See ``report``.
        """
        features, labels, masks = data
        rows = BatchRows(
            self.tables,
            self.locate(features),
            self.embedding_optimizer,
            self.by_sample(features),
        )
        with tf.GradientTape(persistent=self.weighting.by_gradient) as tape:
            tape.watch(rows.gathered)
            outputs = self(features, gathered=rows.gathered, training=True)
            losses = self.task_losses(labels, masks, outputs)
            penalty = self._penalty()
            loss = self.weighting.total(losses) + penalty
        dense = self.dense_variables
        of_dense, of_rows = tape.gradient(loss, (dense, rows.gathered))
        shared = self.trunk.trainable_variables if self.trunk is not None else []
        instead = self.weighting.step(tape, losses, shared, penalty)
        of_dense = [instead.get(v.ref(), g) for v, g in zip(dense, of_dense, strict=True)]
        dead_units = self.update(of_dense, rows, of_rows)
        return self.report(loss, losses, dead_units)

    def _penalty(self):
        """This replica's share of what layers add to the loss; 0.0 where none does."""
        replica = tf.distribute.get_replica_context()
        shares = replica.num_replicas_in_sync if replica else 1
        added = [tf.cast(loss, tf.float32) for loss in self.losses]
        return tf.add_n(added) / shares if added else 0.0


def _by_level(tasks: Iterable[Task]) -> set[str]:
    return {task.name for task in tasks if task.smearing == "levels"}


def _start(task: Task) -> float:
    """The bias at which a task's first prediction is its mean."""
    if task.kind == "regression":
        return 0.0
    rate = min(max(task.mean, 1e-6), 1 - 1e-6)
    return math.log(rate / (1 - rate) * task.positive_weight)
