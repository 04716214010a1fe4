"""The ranking model: features in, one output per task, and the step that trains it."""

import inspect
import math
from collections.abc import Collection, Iterable, Mapping

import tensorflow as tf

from steadyrank.components.layers.experts import GateNotes
from steadyrank.components.layers.mlp import MLP
from steadyrank.components.layers.split_dense import KernelCuts
from steadyrank.components.losses import binary_cross_entropy, masked_mean, squared_error
from steadyrank.models.batch_rows import BatchRows
from steadyrank.models.features import Feature, Task, transform_numbers
from steadyrank.models.inputs import LINEAR, FeatureInputs
from steadyrank.models.score import evaluate_score, parse_score, score_names
from steadyrank.models.score_numbers import score_numbers
from steadyrank.models.task_weighting import TaskWeighting
from steadyrank.models.trunks.ctr import Wide

SCORE = "score"
FUNCTIONS = {
    "exp": tf.exp,
    "log1p": tf.math.log1p,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "sigmoid": tf.sigmoid,
    "sqrt": tf.sqrt,
}


class RankingModel(tf.keras.Model):
    """Feature inputs, a trunk, and a tower for each task.

    A binary task's tower gives a logit, a regression task's a standardised, transformed
    value.  Each tower ends in a bias that starts at the task's mean in the training
    split, so that the first steps do not go into finding it.

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

    Call arguments:
        features: Feature name -> tensor, as the examples hold it.

    Output shape:
        Task name -> logit or standardised value, ``[B]``.
    """

    def __init__(
        self,
        features: Iterable[Feature],
        tasks: Iterable[Task],
        trunk: tf.keras.layers.Layer | None,
        tower_units: list[int],
        score: str,
        seed: int,
        front: tf.keras.layers.Layer | None = None,
        wide: Wide | None = None,
        encoders: Mapping | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.inputs_layer = FeatureInputs(
            features,
            seed,
            linear_units=len(self.tasks) if wide is not None else 0,
            vectors=trunk is not None or bool(wide and wide.product_dim),
            encoders=encoders,
            name="inputs",
        )
        self.front, self.trunk, self.wide = front, trunk, wide
        self.score = parse_score(score, score_names(self.tasks, self.inputs_layer.features))
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

    def compile(self, dense_optimizer, embedding_optimizer, weighting=None, **kwargs):
        """Takes two optimizers, which together update every weight exactly once.

        Args:
            dense_optimizer: For everything but the embedding tables.
            embedding_optimizer: For the embedding tables; reads their sparse gradients.
            weighting: A ``TaskWeighting``; None: the tasks' own weights.
            **kwargs: Passed to Keras.
        """
        super().compile(**kwargs)
        self.dense_optimizer = dense_optimizer
        self.embedding_optimizer = embedding_optimizer
        self.weighting = weighting or TaskWeighting(self.tasks)
        linear = self.inputs_layer.tables.get(LINEAR)
        embedding_optimizer.leave_unclipped(linear.weights if linear else [])
        for table in self.inputs_layer.tables.values():
            embedding_optimizer.tell_fields(table.embeddings, table.starts)
        dense_optimizer.build(self.dense_variables)
        embedding_optimizer.build(self.embedding_variables)

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The embedding tables."""
        return self.inputs_layer.embedding_variables

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """All trainable weights but the embedding tables."""
        tables = {id(variable) for variable in self.embedding_variables}
        return [v for v in self.trainable_variables if id(v) not in tables]

    def catch_up(self) -> None:
        """Bring all rows of the tables up to date, before the weights are looked at.

        Outside of a step, and in cross-replica context.
        """
        for table in self.embedding_variables:
            self.embedding_optimizer.catch_up(table)

    def call(self, features: Mapping, gathered: Mapping | None = None):
        """Computes every task's logit or standardised value."""
        inputs = self.inputs_layer(features, gathered)
        return self.from_inputs(inputs, self.wide_logits(features, gathered))

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
        """What the trunk's gates choose: gate -> (labels of its experts, ``[B, E]``).

        Empty for a trunk without gates.
        """
        takes = inspect.signature(self.trunk.call).parameters if self.trunk else {}
        if "notes" not in takes:
            return {}
        notes, inputs = GateNotes(), self.inputs_layer(features)
        self.trunk(inputs if self.front is None else self.front(inputs), notes=notes)
        return notes.weights

    def predict_tasks(self, features: Mapping) -> dict:
        """What is served: task name -> probability or value in raw units, and the score.

        Where only a part of the negatives was kept (``Task.negative_rate``), the
        probability is that of the whole log: ``p / (p + (1 - p) / rate)``, He et al.,
        ADKDD'14, section 6.3.

        Args:
            features: Feature name -> tensor.

        Returns:
            Task name -> float32 ``[B]``, and ``"score"`` -> float32 ``[B]``.
        """
        return self._served(self(features, training=False), features)

    def predict_candidates(
        self, features: Mapping, shared: Collection[str], cuts: KernelCuts | None = None
    ) -> dict:
        """The same for many items and one user, whose part is computed once.

        Args:
            features: Feature name -> tensor; one row of the shared features, B of the
                others.
            shared: Names of the shared features: at least one, and not all.
            cuts: From ``cut_kernels``; None: the kernels are cut in every call.
        """
        inputs = self.inputs_layer.split(features, shared, cuts)
        wide = self.wide_logits(features, shared=shared)
        return self._served(self.from_inputs(inputs, wide), features)

    def cut_kernels(self, features: Mapping, shared: Collection[str]) -> KernelCuts:
        """Cut what ``predict_candidates`` reads, once the weights are final.

        Args:
            features: As for ``predict_candidates``, any values.
            shared: Likewise.
        """
        cuts = KernelCuts()
        inputs = self.inputs_layer.split(features, shared, cuts)
        self.from_inputs(inputs, self.wide_logits(features, shared=shared))
        if cuts.layers:
            cuts.cut(inputs.columns, inputs.shared_columns)
        return cuts

    def _served(self, raw: Mapping, features: Mapping) -> dict:
        outputs = {task.name: _output(task, raw[task.name]) for task in self.tasks}
        numbers = score_numbers(self.score, self.inputs_layer.features, features)
        score = evaluate_score(self.score, {**numbers, **outputs}, FUNCTIONS)
        rows = tf.shape(next(iter(outputs.values())))
        return {**outputs, SCORE: tf.broadcast_to(tf.cast(score, tf.float32), rows)}

    def task_losses(self, labels: Mapping, masks: Mapping, outputs: Mapping) -> dict:
        """Mean loss of each task over its own sample space in the *global* batch.

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
        masks = {t.name: _weigh(t, labels[t.name], masks[t.name]) for t in self.tasks}
        counts = tf.stack([tf.reduce_sum(masks[task.name]) for task in self.tasks])
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            counts = replica.all_reduce(tf.distribute.ReduceOp.SUM, counts)
        return {
            task.name: masked_mean(
                _loss(task, labels[task.name], outputs[task.name]),
                masks[task.name],
                count,
            )
            for task, count in zip(self.tasks, tf.unstack(counts), strict=True)
        }

    def train_step(self, data):
        """One step: losses, gradients summed over replicas, finite check, clip, update.

        Args:
            data: ``(features, labels, masks)``.

        Returns:
            ``loss`` and ``losses`` (a replica's share), ``clipping`` (Clippy's factor of
            each dense variable), ``clipped_rows`` (fraction of the batch's rows of each
            table that CowClip clipped), ``nonfinite`` (tensors and rows skipped so far).
        """
        features, labels, masks = data
        rows = BatchRows(
            dict(zip(self.inputs_layer.tables, self.embedding_variables, strict=True)),
            self.inputs_layer.locate(features),
            self.embedding_optimizer,
        )
        with tf.GradientTape(persistent=self.weighting.by_gradient) as tape:
            tape.watch(rows.gathered)
            outputs = self(features, gathered=rows.gathered, training=True)
            losses = self.task_losses(labels, masks, outputs)
            penalty = self._regularization()
            loss = self.weighting.total(losses) + penalty
        dense, tables = self.dense_variables, self.embedding_variables
        of_dense, of_rows = tape.gradient(loss, (dense, rows.gathered))
        shared = self.trunk.trainable_variables if self.trunk is not None else []
        instead = self.weighting.step(tape, losses, shared)
        if instead and self.losses:  # those are of the tasks' losses alone
            of_penalty = tape.gradient(penalty, shared, unconnected_gradients="zero")
            for v, g in zip(shared, of_penalty, strict=True):
                instead[v.ref()] += g
        of_dense = [instead.get(v.ref(), g) for v, g in zip(dense, of_dense, strict=True)]
        if dense:
            self.dense_optimizer.apply_gradients(zip(of_dense, dense, strict=True))
        if of_rows:
            rows.apply(of_rows)
        return {
            "loss": loss,
            "losses": losses,
            "clipping": [self.dense_optimizer.clipping_factor(v) + 0.0 for v in dense],
            "clipped_rows": [
                self.embedding_optimizer.clipped_fraction(v) + 0.0 for v in tables
            ],
            "nonfinite": self.dense_optimizer.nonfinite_count
            + self.embedding_optimizer.nonfinite_count,
        }

    def _regularization(self):
        """This replica's share of what layers add to the loss."""
        replica = tf.distribute.get_replica_context()
        shares = replica.num_replicas_in_sync if replica else 1
        return tf.add_n(self.losses) / shares if self.losses else 0.0


def _weigh(task: Task, labels, mask):
    if task.positive_weight == 1:
        return mask
    return mask * tf.where(labels == 1.0, task.positive_weight, 1.0)


def _start(task: Task) -> float:
    """The bias at which a task's first prediction is its mean."""
    if task.kind == "regression":
        return 0.0
    rate = min(max(task.mean, 1e-6), 1 - 1e-6)
    return math.log(rate / (1 - rate) * task.positive_weight)


def _loss(task: Task, labels, outputs):
    if task.kind == "binary":
        return binary_cross_entropy(labels, outputs)
    transformed = transform_numbers(task.transform, labels, tf.math)
    return squared_error((transformed - task.mean) / task.std, outputs)


def _output(task: Task, raw):
    if task.kind == "binary":
        # p / (p + (1 - p) / rate), which undoes the sampling: a shift of the logit, as
        # is what undoes the weight of the positives
        shift = math.log(task.negative_rate) - math.log(task.positive_weight)
        return tf.sigmoid(raw + shift)
    value = raw * task.std + task.mean
    if task.transform == "log1p":
        return tf.sign(value) * tf.math.expm1(tf.abs(value))
    return value
