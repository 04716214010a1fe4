"""What every kind of model that is trained has: two optimizers, which share its weights."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import tensorflow as tf

from steadyrank.components.metrics.early_warning import dead_share
from steadyrank.components.optimizers.average import WeightAverage
from steadyrank.components.optimizers.gradients import to_dense
from steadyrank.components.optimizers.spike_guard import SpikeGuard
from steadyrank.models.batch_rows import BatchRows


class TrainedModel(tf.keras.Model):
    """Embedding tables, which one optimizer updates, and dense weights, which another does.

    A subclass says which tables it has (``tables``), which tasks (``task_weights``), and
    by which names its weights are logged and saved.  Its ``train_step`` ends in ``update``
    and ``report``.
    """

    def compile(
        self,
        dense_optimizer,
        embedding_optimizer,
        *,
        spike_guard=None,
        average=None,
        **kwargs,
    ):
        """Takes two optimizers, which together update every weight exactly once.

        Args:
            dense_optimizer: For everything but the embedding tables.
            embedding_optimizer: For the tables, of which a batch reads some rows.
            spike_guard: kappa of a ``SpikeGuard`` in front of both; None: there is none.
            average: Decay of a ``WeightAverage`` of the dense weights; None: there is none.
            **kwargs: Passed to Keras.
        """
        super().compile(**kwargs)
        self.spike_guard = None if spike_guard is None else SpikeGuard(spike_guard)
        self.dense_optimizer = dense_optimizer
        self.embedding_optimizer = embedding_optimizer
        dense_optimizer.build(self.dense_variables)
        embedding_optimizer.build(self.embedding_variables)
        dense = self.dense_variables
        self.average = None if average is None else WeightAverage(average, dense)

    @property
    def tables(self) -> dict[str, tf.Variable]:
        """The tables of which a training step reads the batch's rows alone, by name."""
        raise NotImplementedError

    @property
    def task_weights(self) -> dict[str, float]:
        """Task name -> its own weight in the loss that is watched for divergence."""
        raise NotImplementedError

    def shares(self) -> Mapping[str, float]:
        """Task name -> what its loss is multiplied by in the next step."""
        return self.task_weights

    def log_name(self, variable: tf.Variable) -> str:
        """What the log calls one of the weights.

        Args:
            variable: A trainable weight of the model.
        """
        raise NotImplementedError

    def saved_weights(self) -> dict[str, tf.Variable]:
        """All trainable weights, by the names under which they are saved."""
        raise NotImplementedError

    @property
    def embedding_variables(self) -> list[tf.Variable]:
        """The embedding tables."""
        return list(self.tables.values())

    @property
    def dense_variables(self) -> list[tf.Variable]:
        """All trainable weights but the embedding tables."""
        tables = {id(variable) for variable in self.embedding_variables}
        return [v for v in self.trainable_variables if id(v) not in tables]

    @property
    def rectified_biases(self) -> list[tf.Variable]:
        """Biases of the shared layers that end in a rectifier: whose units can die.

        None of a task's own layers, which a batch without that task's rows leaves alone.
        """
        return []

    def catch_up(self) -> None:
        """Bring all rows of the tables up to date, before the weights are looked at.

        Outside of a step, and in cross-replica context.
        """
        for table in self.embedding_variables:
            self.embedding_optimizer.catch_up(table)

    def update(
        self, of_dense: Sequence, rows: BatchRows, of_rows: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Move every weight: gradients summed over replicas, guarded, clipped.

        Args:
            of_dense: This replica's gradients, in the order of ``dense_variables``; None
                where a weight has none.
            rows: The batch's rows of the tables.
            of_rows: Table -> ``[N, D]``, this replica's gradients of what was gathered.

        Returns:
            Layer that can die -> float32 scalar, the share of its units that have.
        """
        given = zip(of_dense, self.dense_variables, strict=True)
        pairs = [(g, v) for g, v in given if g is not None]
        if pairs:
            pairs = self.dense_optimizer.aggregate_gradients(pairs)
        dead = self._dead_units(pairs)
        if pairs and self.spike_guard is not None:
            gradients = [to_dense(g) for g, _ in pairs]
            f = self.spike_guard(gradients)
            pairs = [
                (tf.cast(f, g.dtype) * g, v)
                for g, (_, v) in zip(gradients, pairs, strict=True)
            ]
            of_rows = {name: tf.cast(f, g.dtype) * g for name, g in of_rows.items()}
        if pairs:
            self.dense_optimizer.apply_gradients(pairs, skip_gradients_aggregation=True)
        if of_rows:
            rows.apply(of_rows)
        if self.average is not None:
            self.average.take(self.dense_variables)
        return dead

    def _dead_units(self, pairs: Sequence) -> dict[str, tf.Tensor]:
        """Of gradients as they came: a guard may make them 0."""
        summed = {v.ref(): g for g, v in pairs}
        return {
            self.log_name(v).removesuffix("/bias"): dead_share(summed[v.ref()])
            for v in self.rectified_biases
            if v.ref() in summed
        }

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the dense weights are their averages; after it, all are as they were.

        Outside of a step, and in cross-replica context; the tables stay.
        """
        if self.average is None:
            yield
            return
        tables = {id(variable) for variable in self.embedding_variables}
        small = [v for v in self.saved_weights().values() if id(v) not in tables]
        before = [variable.read_value().numpy() for variable in small]
        pairs = zip(self.dense_variables, self.average.weights, strict=True)
        for variable, average in pairs:
            variable.assign(average.read_value())
        try:
            yield
        finally:
            for variable, value in zip(small, before, strict=True):
                variable.assign(value)

    def report(self, loss, losses: Mapping, dead_units: Mapping | None = None) -> dict:
        """What ``train_step`` gives, once the optimizers have moved.

        Args:
            loss: This replica's share.
            losses: Task name -> likewise.
            dead_units: What ``update`` gave; None: no layer is watched.

        Returns:
            ``loss`` and ``losses``, ``clipping`` (dense variable -> its clipping factor),
            ``clipped_rows`` (table -> fraction of the batch's rows that were clipped),
            ``nonfinite`` (tensors and rows skipped so far), ``dead_units`` and, where there
            is a guard, ``spike_factor`` (what it multiplied all gradients by).
        """
        guard = {}
        if self.spike_guard is not None:
            guard = {"spike_factor": self.spike_guard.factor + 0.0}
        dense, rows = self.dense_optimizer, self.embedding_optimizer
        return {
            "loss": loss,
            "losses": losses,
            "clipping": {
                self.log_name(v): dense.clipping_factor(v) + 0.0
                for v in self.dense_variables
            },
            "clipped_rows": {
                self.log_name(v): rows.clipped_fraction(v) + 0.0
                for v in self.embedding_variables
            },
            "nonfinite": dense.nonfinite_count + rows.nonfinite_count,
            "dead_units": dict(dead_units or {}),
            **guard,
        }
