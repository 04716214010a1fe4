"""MRR@k, HR@k and NDCG@k of next-item models, over the full catalogue, as sums.

B rows, V items of the catalogue; one item is the right one in each row.
"""

import numpy as np
import tensorflow as tf


def target_ranks(scores, classes):
    """0-based rank of each row's right item: the items that do not score less than it.

    Ties count against it, so that a model that scores all items alike gets nothing.  A
    row with a NaN among its scores has the largest rank: it is never a hit.

    Args:
        scores: float ``[B, V]``.
        classes: int ``[B]``, the place of the right item, 0 to V - 1.

    Returns:
        int32 ``[B]``.
    """
    own = tf.gather(scores, classes, batch_dims=1)[:, tf.newaxis]
    ahead = tf.math.count_nonzero(scores >= own, axis=1, dtype=tf.int32) - 1
    defined = tf.logical_not(tf.reduce_any(tf.math.is_nan(scores), axis=1))
    return tf.where(defined, ahead, tf.int32.max)


class TopKMetrics:
    """Sums over rows; those of batches and replicas add up, and are divided once.

    At rank r below k a row counts 1 / (r + 1) for MRR, 1 for HR and 1 / log2(r + 2) for
    NDCG, else 0.

    Reference: StackRec (SIGIR 2021), its evaluation, k = 5 there.

    Args:
        k: Length of the list that is looked at.

    Example:

    >>> metrics = TopKMetrics(k=5)
    >>> metrics.update([0, 1, 7, 5])
    >>> metrics.result()
    {'mrr@5': 0.375, 'hr@5': 0.5, 'ndcg@5': 0.4077324383928644}
    """

    def __init__(self, k=5):
        if k < 1:
            raise ValueError(f"k must be at least 1. Received: k={k}. 5 is usual.")
        self.k = k
        self.sums = np.zeros(3)
        self.rows = 0

    def update(self, ranks):
        """Adds rows.

        Args:
            ranks: int ``[B]``, from ``target_ranks``.
        """
        ranks = np.asarray(ranks).ravel()
        hits = ranks[ranks < self.k].astype(np.float64)
        self.sums += [
            np.sum(1 / (hits + 1)),
            len(hits),
            np.sum(1 / np.log2(hits + 2)),
        ]
        self.rows += len(ranks)

    def __add__(self, other):
        """The sums of both, of the same k."""
        if self.k != other.k:
            raise ValueError(
                f"k must be the same. Received: k={self.k} and k={other.k}. "
                "Count both with one k."
            )
        both = TopKMetrics(self.k)
        both.sums, both.rows = self.sums + other.sums, self.rows + other.rows
        return both

    def result(self):
        """Means over the rows, by name; NaN without rows."""
        means = self.sums / self.rows if self.rows else np.full(3, np.nan)
        names = (f"mrr@{self.k}", f"hr@{self.k}", f"ndcg@{self.k}")
        return dict(zip(names, means.tolist(), strict=True))
