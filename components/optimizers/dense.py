"""Adagrad and Adam for dense weights, with Clippy or one of its rivals on the update.

Order of a step: gradients summed over replicas, repeated ids summed, base rule, finite
check, clip, update.  Embedding tables belong to ``row_optimizers``: here a sparse
gradient is made dense, at the cost of the whole table.
"""

import tensorflow as tf

from steadyrank.components.optimizers import clipping, clippy
from steadyrank.components.optimizers.base import BaseOptimizer, compute_dtype
from steadyrank.components.optimizers.gradients import global_norm, to_dense
from steadyrank.components.optimizers.rules import AdagradRule, AdamRule, check_range

CLIPS: tuple[str, ...] = (
    "none",
    "clippy",
    "clippy_unit",
    "value",
    "norm",
    "global_norm",
    "agc",
)
CLIPS += ("agc_tensor", "lamb")
THRESHOLDS = ("threshold", "relative", "absolute")


class DenseOptimizer(BaseOptimizer):
    """``w <- w - sigma * eta * r``, with r of the base rule and sigma of the clip.

    The slots take the raw gradient under every method.  A tensor whose gradient, or
    whose accumulated square, is not finite is left wholly unchanged, weights and slots,
    and counted in ``nonfinite_counts``.

    The thresholds are hyperparameters like the rate: numbers, or variables, of which
    another value needs no other trace.

    Args:
        rule: A base rule, see ``rules``.
        learning_rate: eta, a float or a ``LearningRateSchedule``.
        name: Name of the optimizer and its slots.
        clip: One of ``CLIPS``, see ``Adagrad``.
        **thresholds: ``threshold``, ``relative`` and ``absolute``, likewise.

    Attributes:
        clipping_factors: Per model variable a scalar, the smallest sigma of its last
            step; 1 is unclipped.
        update_norms: Per model variable a scalar, the L2 norm of its last step.
    """

    statistic = ("clipping_factor", 1.0)

    def __init__(self, rule, learning_rate, name, *, clip, **thresholds):
        if clip not in CLIPS:
            raise ValueError(
                f"clip must be one of {CLIPS}. Received: clip={clip!r}. "
                "Use 'clippy', or 'none' to switch clipping off."
            )
        for threshold in THRESHOLDS:
            least_included = threshold != "threshold"
            value = thresholds[threshold]
            check_range(threshold, value, 0.0, low_included=least_included)
        super().__init__(rule, learning_rate, name)
        self.clip = clip
        self.threshold, self.relative, self.absolute = map(thresholds.get, THRESHOLDS)

    @property
    def clipping_factors(self):
        """Scalars in the order of the variables given to ``build``."""
        return self._statistics

    def clipping_factor(self, variable):
        """The scalar that belongs to one model variable.

        Args:
            variable: One of those given to ``build``.

        Returns:
            A float32 scalar variable, the smallest sigma of its last step.
        """
        return self._statistics[self._index(variable)]

    def build(self, var_list):
        """Creates slots and statistics; called by the first ``apply_gradients``."""
        first = not getattr(self, "_built", False)
        if first:
            self._global_norm = tf.Variable(0.0, trainable=False, name="global_norm")
        super().build(var_list)
        if first:
            zero = tf.constant(0.0)
            self.update_norms = [self._add(v, "update_norm", zero) for v in var_list]

    @tf.autograph.experimental.do_not_convert  # no tensor decides a branch
    def update_step(self, gradient, variable):
        """One step of one variable."""
        dtype = compute_dtype(variable)
        slots = self._slots_of(variable)
        # each is read once: every use of a variable would be an operation of its own
        w, *held = map(tf.convert_to_tensor, (variable, *slots))
        g, w = tf.cast(gradient, dtype), tf.cast(w, dtype)
        eta = tf.cast(self.learning_rate, dtype)
        delta, new_slots = self._rule(g, held, eta, self.iterations + 1)
        finite = tf.reduce_all(tf.math.is_finite(new_slots[-1]))
        sigma = self._sigma(g, w, delta)
        update = sigma * delta
        variable.assign(tf.cast(_either(finite, w - update, w), variable.dtype))
        for slot, old, new in zip(slots, held, new_slots, strict=True):
            slot.assign(_either(finite, new, old))
        least = tf.reduce_min(sigma) if sigma.shape.rank else sigma
        smallest = _either(finite, least, tf.zeros([], dtype))
        self._report(variable, smallest, tf.logical_not(finite))
        # l2_loss is half the sum of squares, in one pass over the update.
        norm = tf.sqrt(2.0 * tf.nn.l2_loss(update))
        norm = _either(finite, norm, tf.zeros([], dtype))
        self.update_norms[self._index(variable)].assign(tf.cast(norm, tf.float32))

    def _sigma(self, g, w, delta):
        c = tf.cast(self.threshold, w.dtype)
        match self.clip:
            case "clippy":
                return clippy.factor(delta, w, self.relative, self.absolute)
            case "clippy_unit":
                axis = clipping.unit_axes(w)
                return clippy.factor(delta, w, self.relative, self.absolute, axis=axis)
            case "value":
                return clipping.by_value(g, c)
            case "norm":
                return clipping.by_norm(g, c)
            case "global_norm":
                total = tf.cast(self._global_norm, w.dtype)
                return clipping.by_global_norm(total, c)
            case "agc":
                return clipping.agc(g, w, c)
            case "agc_tensor":
                return clipping.agc_tensor(g, w, c)
            case "lamb":
                return self._lamb(w, delta, c)
        return tf.ones([], w.dtype)

    def _lamb(self, w, delta, mu):
        # ||r|| = ||eta r|| / eta; a rate of 0 leaves delta at 0, whatever the factor.
        eta = tf.cast(self.learning_rate, w.dtype)
        return clipping.lamb(w, tf.math.divide_no_nan(delta, eta), mu)

    def _deduplicate_sparse_grad(self, grads):
        return [to_dense(gradient) for gradient in grads]

    def _distributed_apply_gradients_fn(self, distribution, grads_and_vars, **kwargs):
        # The norm over all variables has to be known before the first of them moves.
        if self.clip == "global_norm":
            gradients = tuple(gradient for gradient, _ in grads_and_vars)
            distribution.extended.update(
                self._global_norm,
                lambda norm, *parts: norm.assign(global_norm(parts)),
                args=gradients,
                group=False,
            )
        return super()._distributed_apply_gradients_fn(
            distribution, grads_and_vars, **kwargs
        )

    def get_config(self):
        """Every argument of ``__init__``."""
        return {
            **super().get_config(),
            "clip": self.clip,
            **{name: float(getattr(self, name)) for name in THRESHOLDS},
        }


def _either(finite, x, y):
    # Hands one of them on; `tf.where` broadcasts the scalar, ten times as long.
    return tf.raw_ops.Select(condition=finite, x=x, y=y)


@tf.keras.utils.register_keras_serializable("steadyrank")
class Adagrad(DenseOptimizer):
    """Adagrad with a clip on the update: with ``clip="clippy"``, Clippy.

    ``G += g^2;  r = g / sqrt(G + epsilon);  w -= sigma * eta * r``.

    Reference: Clippy paper (KDD 2023), section 4; the rivals as in its section 5.

    Args:
        learning_rate: eta, a float or a ``LearningRateSchedule``.
        clip: ``"clippy"`` (default), ``"clippy_unit"`` (Clippy with a factor per output
            unit), ``"none"``, ``"value"``, ``"norm"`` (GC), ``"global_norm"``, ``"agc"``
            (per output unit), ``"agc_tensor"`` or ``"lamb"``.
        threshold: lambda of the gradient clips, mu of LAMB; not used by Clippy. 1e-2 is
            the middle of the ranges that the paper tuned over.
        relative: lambda_rel of Clippy; 0.5 as in all runs of the paper.
        absolute: lambda_abs of Clippy; 1e-2 as in the paper, so that weights at zero
            can move.
        initial_accumulator: Start of G; 0.1 as in the paper.
        epsilon: Under the root; 1e-7 as in Keras.
        name: Name of the optimizer and its slots.

    Example:

    >>> w = tf.Variable([1.0, 0.0])
    >>> optimizer = Adagrad(learning_rate=1.0)
    >>> _ = optimizer.apply_gradients([(tf.constant([1e6, 1e6]), w)])
    >>> w.numpy().round(4)  # the zero weight may move by 0.01: so may then all
    array([ 0.99, -0.01], dtype=float32)
    """

    def __init__(
        self,
        learning_rate=0.1,
        clip="clippy",
        threshold=1e-2,
        relative=0.5,
        *,
        absolute=1e-2,
        initial_accumulator=0.1,
        epsilon=1e-7,
        name="Adagrad",
    ):
        rule = AdagradRule(initial_accumulator, epsilon)
        thresholds = {"threshold": threshold, "relative": relative, "absolute": absolute}
        super().__init__(rule, learning_rate, name, clip=clip, **thresholds)


@tf.keras.utils.register_keras_serializable("steadyrank")
class Adam(DenseOptimizer):
    """Adam with the same clips on its update; see ``Adagrad``.

    Under a gradient clip (value, norm, global norm, AGC) the factor found from g
    multiplies Adam's step, and both moments take the raw gradient.

    Args:
        learning_rate: eta, a float or a ``LearningRateSchedule``.
        clip: As for ``Adagrad``.
        threshold: As for ``Adagrad``.
        relative: As for ``Adagrad``.
        absolute: As for ``Adagrad``.
        beta_1: Decay of the first moment; 0.9 as in Adam's paper.
        beta_2: Decay of the second moment; 0.999 as in Adam's paper.
        epsilon: Added to the root; 1e-7 as in Keras.
        name: Name of the optimizer and its slots.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        clip="clippy",
        threshold=1e-2,
        relative=0.5,
        *,
        absolute=1e-2,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        name="Adam",
    ):
        rule = AdamRule(beta_1, beta_2, epsilon)
        thresholds = {"threshold": threshold, "relative": relative, "absolute": absolute}
        super().__init__(rule, learning_rate, name, clip=clip, **thresholds)
