"""The rows of the embedding tables that one batch holds: found, read and updated once."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from steadyrank.components.optimizers.base_rows import RowOptimizer
from steadyrank.components.optimizers.gradients import (
    count_repeats,
    sum_duplicates,
    sum_rows,
)


class BatchRows:
    """What a training step does with the tables.

    The forward pass starts from ``gathered``, not from the tables: rows that were absent
    for long are brought up to date on the way.  On one replica a single look at the ids
    serves the whole step.  On several, each reads its own rows and sums what they were
    asked for; what goes to the others is a row for each of its ids, and how many of its
    samples held it.

    Args:
        tables: Name -> ``[rows, D]`` variable.
        located: Name -> int ``[N]``, the rows that are read, repeated ones too; the same
            tensor for tables that are read at the same rows.
        optimizer: Of the tables, built.
        by_sample: Name -> a function that lays what there is of each reading out by sample,
            ``[N]`` to ``[B, M]``, as ``FusedEmbedding.by_sample`` does; of a table without
            one, each reading is a sample.

    Attributes:
        gathered: Name -> ``[N, D]``.
    """

    def __init__(
        self,
        tables: Mapping[str, tf.Variable],
        located: Mapping[str, tf.Tensor],
        optimizer: RowOptimizer,
        by_sample: Mapping[str, Callable] | None = None,
    ):
        self._tables, self._optimizer = tables, optimizer
        self._by_sample = by_sample or {}
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
            table, held, g = self._tables[name], self._held[name], self._sum(name, gradient)
            asked = self._optimizer.may_clip(table, held, g)
            updates.append((table, held, g, self._count_samples(name, asked)))
        self._optimizer.apply_rows(updates)

    def _sum(self, name, gradient):
        """The gradient of each of the batch's ids, ``[U, D]``."""
        unique = self._unique[name]
        return sum_rows(gradient, unique.idx, tf.size(unique.y))

    def _count_samples(self, name, asked):
        """How many samples hold each id, where it is asked for; elsewhere at least 1."""
        unique = self._unique[name]
        readings = tf.cast(unique.count, tf.float32)
        lay = self._by_sample.get(name)
        positions = None if lay is None or asked is None else lay(unique.idx)
        return readings if positions is None else readings - count_repeats(positions, asked)

    def _apply_together(self, gradients):
        own = {}
        for name, gradient in gradients.items():
            g = self._sum(name, gradient)
            counts = self._count_samples(name, tf.ones_like(self._unique[name].y, tf.bool))
            both = tf.concat([g, tf.cast(counts, g.dtype)[:, tf.newaxis]], axis=1)
            shape = [self._tables[name].shape[0], both.shape[1]]
            own[name] = tf.IndexedSlices(both, self._unique[name].y, tf.constant(shape))
        replica = tf.distribute.get_replica_context()
        updates = []
        for name, slices in replica.all_reduce(tf.distribute.ReduceOp.SUM, own).items():
            rows, both, _ = sum_duplicates(slices.indices, slices.values)
            held = self._optimizer.read(self._tables[name], rows)
            updates.append((self._tables[name], held, both[:, :-1], both[:, -1]))
        self._optimizer.apply_rows(updates)
