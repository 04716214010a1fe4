"""The rows of the embedding tables that one batch holds: found, read and updated once."""

from collections.abc import Mapping

import tensorflow as tf

from steadyrank.components.optimizers.base_rows import RowOptimizer
from steadyrank.components.optimizers.gradients import sum_rows


class BatchRows:
    """What a training step does with the tables.

    The forward pass starts from ``gathered``, not from the tables: rows that were absent
    for long are brought up to date on the way.  On one replica a single look at the ids
    serves the whole step.  On several, each reads its own rows, and the optimizer finds
    out which ids the global batch repeats.

    Args:
        tables: Name -> ``[rows, D]`` variable.
        located: Name -> int ``[N]``, the rows that are read, repeated ones too; the same
            tensor for tables that are read at the same rows.
        optimizer: Of the tables, built.

    Attributes:
        gathered: Name -> ``[N, D]``.
    """

    def __init__(
        self,
        tables: Mapping[str, tf.Variable],
        located: Mapping[str, tf.Tensor],
        optimizer: RowOptimizer,
    ):
        self._tables, self._located, self._optimizer = tables, located, optimizer
        self._unique, found = {}, {}
        for name, rows in located.items():
            if id(rows) not in found:
                found[id(rows)] = tf.unique_with_counts(rows)
            self._unique[name] = found[id(rows)]
        self._held = {
            name: optimizer.read(tables[name], unique.y)
            for name, unique in self._unique.items()
        }
        self.gathered = {
            name: tf.gather(held.w, self._unique[name].idx)
            for name, held in self._held.items()
        }

    def apply(self, gradients: Mapping[str, tf.Tensor]) -> None:
        """Update the rows.

        Args:
            gradients: Name -> ``[N, D]``, of what was gathered.
        """
        replica = tf.distribute.get_replica_context()
        alone = replica is None or replica.num_replicas_in_sync == 1
        (self._apply_alone if alone else self._apply_together)(gradients)

    def _apply_alone(self, gradients):
        updates = []
        for name, gradient in gradients.items():
            unique, held = self._unique[name], self._held[name]
            g = sum_rows(gradient, unique.idx, tf.size(unique.y))
            counts = tf.cast(unique.count, tf.float32)
            updates.append((self._tables[name], held, g, counts))
        self._optimizer.apply_rows(updates)

    def _apply_together(self, gradients):
        slices = [
            (tf.IndexedSlices(g, self._located[name], tf.shape(table)), table)
            for name, table in self._tables.items()
            for g in [gradients[name]]
        ]
        self._optimizer.apply_gradients(slices)
