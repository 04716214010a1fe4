"""Adagrad and Adam that read and write only the rows of the batch.

The cost of a step depends on the batch, not on the size of the table: there is no op
over the whole variable or its slots.  Order of a step: gradients summed over replicas
(rows concatenated), repeated ids summed and counted, L2, clip, base rule, finite
check, rows written in place.
"""

import tensorflow as tf

from components import clippy
from components.base_optimizer import BaseOptimizer, compute_dtype
from components.cowclip import cow_clip
from components.gradients import sum_duplicates
from components.update_rules import AdagradRule, AdamRule, check_range

CLIPS = ("none", "cowclip", "clippy")


class RowOptimizer(BaseOptimizer):
    """A base rule on the touched rows, after CowClip on their gradients.

    A row whose gradient, or whose accumulated square, is not finite is left wholly
    unchanged, weights and slots, and counted in `nonfinite_counts`.

    Attributes:
        clipped_fractions: Per model variable a scalar: the fraction of the rows of
            the last batch that were clipped.
    """

    statistic = ("clipped_fraction", 0.0)

    def __init__(self, rule, learning_rate, clip, r, zeta, l2, name):
        if clip not in CLIPS:
            raise ValueError(
                f"clip must be one of {CLIPS}. Received: clip={clip!r}. "
                "Use 'cowclip', or 'none' to switch clipping off."
            )
        check_range("r", r, 0.0)
        check_range("zeta", zeta, 0.0)
        check_range("l2", l2, 0.0)
        super().__init__(rule, learning_rate, name)
        self.clip = clip
        self.r = r
        self.zeta = zeta
        self.l2 = l2

    @property
    def clipped_fractions(self):
        """Scalars in the order of the variables given to `build`."""
        return self._statistics

    def clipped_fraction(self, variable):
        """The scalar that belongs to one model variable."""
        return self._statistics[self._index(variable)]

    @tf.autograph.experimental.do_not_convert  # no tensor decides a branch
    def update_step(self, gradient, variable):
        """One step of the rows named by a sparse gradient."""
        _require_sparse(gradient, variable)
        dtype = compute_dtype(variable)
        values = tf.cast(gradient.values, dtype)
        rows, g, counts = sum_duplicates(gradient.indices, values)
        w = tf.cast(tf.gather(variable, rows), dtype)
        old = [tf.gather(slot, rows) for slot in self._slots_of(variable)]
        delta, new, clipped = self._rows_step(g, w, tf.cast(counts, dtype), old)
        finite = tf.reduce_all(tf.math.is_finite(new[-1]), axis=1)
        keep = finite[:, tf.newaxis]
        _write(variable, rows, tf.where(keep, w - delta, w))
        for slot, before, after in zip(self._slots_of(variable), old, new, strict=True):
            _write(slot, rows, tf.where(keep, after, before))
        self._report(variable, _fraction(clipped), tf.size(rows) - _count(finite))

    def _rows_step(self, g, w, counts, slots):
        eta = tf.cast(self.learning_rate, w.dtype)
        clipped = tf.zeros_like(counts, tf.bool)
        if self.l2:
            g += 2.0 * self.l2 * w
        if self.clip == "cowclip":
            g, clipped = cow_clip(g, w, counts, self.r, self.zeta)
        delta, slots = self._rule(g, slots, eta, self.iterations + 1)
        if self.clip == "clippy":
            delta, sigma = clippy.shrink(delta, w, self.r, self.zeta, axis=[1])
            clipped = sigma[:, 0] < 1.0
        return delta, slots, clipped

    def _deduplicate_sparse_grad(self, grads):
        return grads  # update_step sums repeated ids itself: it needs their counts

    def get_config(self):
        """Every argument of `__init__`."""
        return {
            **super().get_config(),
            "clip": self.clip,
            "r": self.r,
            "zeta": self.zeta,
            "l2": self.l2,
        }


def _require_sparse(gradient, variable):
    if isinstance(gradient, tf.IndexedSlices) and variable.shape.rank == 2:
        return
    raise ValueError(
        "gradient must be tf.IndexedSlices of a [rows, dim] table. "
        f"Received: gradient={type(gradient).__name__} of {variable.name} "
        f"{tuple(variable.shape)}. Read the table with tf.gather alone (no penalty "
        "over all of it: use l2), and give other weights to a dense optimizer."
    )


def _write(variable, rows, values):
    values = tf.cast(values, variable.dtype)
    variable.scatter_update(tf.IndexedSlices(values, rows))


def _count(mask):
    return tf.math.count_nonzero(mask, dtype=tf.int32)


def _fraction(mask):
    count = tf.cast(_count(mask), tf.float32)
    return tf.math.divide_no_nan(count, tf.cast(tf.size(mask), tf.float32))


@tf.keras.utils.register_keras_serializable("steadyrank")
class RowAdam(RowOptimizer):
    """Adam on the rows of the batch, with CowClip.

    Lazy in its moments: those of a row decay only when the row is touched, while the
    bias correction follows the global step.  A row that comes back after long therefore
    starts from moments as they were, and its first steps are smaller than dense Adam's
    would be after its own moments had faded.

    Reference: Zheng et al. (AAAI 2023), Algorithm 1, with Adam as its optimizer.

    Args:
        learning_rate: eta, a float or a `LearningRateSchedule`.
        clip: `"cowclip"` (default); `"clippy"`, row by row on the update; or `"none"`.
        r: Bound relative to a row's norm (CowClip, 1 as published) or to each weight
            (Clippy's lambda_rel).
        zeta: Floor of the bound: CowClip's zeta, 1e-5 as published for Criteo, or
            Clippy's lambda_abs.
        l2: Adds `2 * l2 * w` to the gradient of the touched rows, before the clip, as
            the published code does; rows outside of the batch do not decay.
        beta_1: Decay of the first moment; 0.9 as in Adam's paper.
        beta_2: Decay of the second moment; 0.999 as in Adam's paper.
        epsilon: Added to the root; 1e-7 as in Keras.
        name: Name of the optimizer and its slots.

    Example:

    >>> table = tf.Variable(tf.ones([4, 2]))
    >>> gradient = tf.IndexedSlices(tf.ones([2, 2]), [3, 3], [4, 2])
    >>> _ = RowAdam(learning_rate=0.5).apply_gradients([(gradient, table)])
    >>> table.numpy()[:, 0].round(4)
    array([1. , 1. , 1. , 0.5], dtype=float32)
    """

    def __init__(
        self,
        learning_rate=1e-3,
        clip="cowclip",
        r=1.0,
        zeta=1e-5,
        l2=0.0,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        name="RowAdam",
    ):
        rule = AdamRule(beta_1, beta_2, epsilon)
        super().__init__(rule, learning_rate, clip, r, zeta, l2, name)


@tf.keras.utils.register_keras_serializable("steadyrank")
class RowAdagrad(RowOptimizer):
    """Adagrad on the rows of the batch, with CowClip; see `RowAdam`.

    Without clip and L2 it is exactly dense Adagrad: a row outside of the batch has a
    zero gradient, which moves neither the weight nor the accumulator.

    Args:
        learning_rate: eta, a float or a `LearningRateSchedule`.
        clip: As for `RowAdam`.
        r: As for `RowAdam`.
        zeta: As for `RowAdam`.
        l2: As for `RowAdam`.
        initial_accumulator: Start of the accumulator; 0.1 as in Keras and Clippy.
        epsilon: Under the root; 1e-7 as in Keras.
        name: Name of the optimizer and its slots.
    """

    def __init__(
        self,
        learning_rate=0.1,
        clip="cowclip",
        r=1.0,
        zeta=1e-5,
        l2=0.0,
        initial_accumulator=0.1,
        epsilon=1e-7,
        name="RowAdagrad",
    ):
        rule = AdagradRule(initial_accumulator, epsilon)
        super().__init__(rule, learning_rate, clip, r, zeta, l2, name)
