"""One training step of a next-item model on all replicas, and its line in the log."""

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.models.next_item import NextItemModel
from steadyrank.models.stack import named_weights
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema
from steadyrank.pipeline.kinds.next_item.gates import TASK
from steadyrank.pipeline.kinds.next_item.model import training_inputs


class NextItemStep:
    """Runs ``train_step`` and packs all it reports into one small tensor.

    Args:
        model: A compiled model.
        strategy: The strategy that it was built under.
        schema: Of the sequences.
    """

    def __init__(
        self,
        model: NextItemModel,
        strategy: tf.distribute.Strategy,
        schema: SequenceSchema,
    ):
        self.model, self.strategy, self.unknown = model, strategy, schema.unknown
        names = {v.ref(): name for name, v in named_weights(model).items()}
        self.dense = [names[v.ref()] for v in model.dense_variables]
        self.tables = list(model.tables)
        self._nonfinite = 0
        self._function = BatchFunction(self._run)

    def reset(self) -> None:
        """Read the count of skipped updates anew, after a checkpoint was restored."""
        optimizers = (self.model.dense_optimizer, self.model.embedding_optimizer)
        self._nonfinite = sum(int(optimizer.nonfinite_count) for optimizer in optimizers)

    def __call__(self, rows: np.ndarray) -> tf.Tensor:
        """Take a step on sequences ``[B, length]``; see ``line``."""
        count = self.strategy.num_replicas_in_sync
        parts = [tf.constant(part) for part in np.array_split(rows, count)]
        if count == 1:
            return self._function(parts[0])
        return self._function(
            self.strategy.experimental_distribute_values_from_function(
                lambda context: parts[context.replica_id_in_sync_group]
            )
        )

    def _run(self, ids):
        loss, *others = self.strategy.run(self._replica_step, (ids,))
        loss = self.strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None)
        alike = [self.strategy.experimental_local_results(value)[0] for value in others]
        return tf.stack([tf.cast(value, tf.float64) for value in (loss, *alike)])

    def _replica_step(self, ids):
        model = self.model
        loss = model.train_step(training_inputs(ids, self.unknown))["loss"]
        dense, rows = model.dense_optimizer, model.embedding_optimizer
        factors = [dense.clipping_factor(v) + 0.0 for v in model.dense_variables]
        clipped = [rows.clipped_fraction(v) + 0.0 for v in model.embedding_variables]
        return loss, dense.nonfinite_count + rows.nonfinite_count, *factors, *clipped

    def line(self, values: tf.Tensor) -> dict:
        """The log's line for a step; steps must come in their order.

        Args:
            values: What the call gave.
        """
        loss, skipped, *numbers = np.asarray(values).tolist()
        count, before = len(self.dense), self._nonfinite
        self._nonfinite = int(skipped)
        return {
            "loss": loss,
            "losses": {TASK: loss},
            "clipping": dict(zip(self.dense, numbers[:count], strict=True)),
            "clipped_rows": dict(zip(self.tables, numbers[count:], strict=True)),
            "nonfinite": self._nonfinite - before,
        }
