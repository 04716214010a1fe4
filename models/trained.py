"""What every kind of model that is trained has: two optimizers, which share its weights."""

from collections.abc import Mapping

import tensorflow as tf


class TrainedModel(tf.keras.Model):
    """Embedding tables, which one optimizer updates, and dense weights, which another does.

    A subclass says which tables it has (``tables``), which tasks (``task_weights``), and
    by which names its weights are logged and saved.  Its ``train_step`` ends in ``report``.
    """

    def compile(self, dense_optimizer, embedding_optimizer, **kwargs):
        """Takes two optimizers, which together update every weight exactly once.

        Args:
            dense_optimizer: For everything but the embedding tables.
            embedding_optimizer: For the tables, of which a batch reads some rows.
            **kwargs: Passed to Keras.
        """
        super().compile(**kwargs)
        self.dense_optimizer = dense_optimizer
        self.embedding_optimizer = embedding_optimizer
        dense_optimizer.build(self.dense_variables)
        embedding_optimizer.build(self.embedding_variables)

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
        """What the log calls one of the trainable weights."""
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

    def catch_up(self) -> None:
        """Bring all rows of the tables up to date, before the weights are looked at.

        Outside of a step, and in cross-replica context.
        """
        for table in self.embedding_variables:
            self.embedding_optimizer.catch_up(table)

    def report(self, loss, losses: Mapping) -> dict:
        """What ``train_step`` gives, once the optimizers have moved.

        Args:
            loss: This replica's share.
            losses: Task name -> likewise.

        Returns:
            ``loss`` and ``losses``, ``clipping`` (dense variable -> its clipping factor),
            ``clipped_rows`` (table -> fraction of the batch's rows that were clipped),
            ``nonfinite`` (tensors and rows skipped so far).
        """
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
        }
