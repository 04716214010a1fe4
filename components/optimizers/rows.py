"""Adam and Adagrad on the rows of the batch, with CowClip.

``base_row_optimizer`` has what they share: the order of a step, and what becomes of the
rows that a batch does not hold.
"""

import tensorflow as tf

from steadyrank.components.optimizers.base_rows import RowOptimizer
from steadyrank.components.optimizers.rules import AdagradRule, AdamRule, RowWiseAdagradRule


@tf.keras.utils.register_keras_serializable("steadyrank")
class RowAdam(RowOptimizer):
    """Adam on the rows of the batch, with CowClip.

    With ``semantics="touched"`` it is what is called lazy Adam elsewhere: moments of a row
    decay only when the row is touched, while the bias correction follows the global
    step.  A row that comes back after long then starts from moments as they were, and
    its first steps are smaller than dense Adam's.

    Reference: Zheng et al. (AAAI 2023), Algorithm 1, with Adam as its optimizer.

    Args:
        learning_rate: eta, a float or a ``LearningRateSchedule``.
        clip: ``"cowclip"`` (default; with ``r=0`` its bound does not adapt to the row);
            for comparison ``"global"``, one factor for all rows of the batch, or
            ``"field"``, one for those of a field, see ``tell_fields``; ``"clippy"``, row by
            row on the update; or ``"none"``.
        r: Bound relative to a row's norm (CowClip, 1 as published) or to each weight
            (Clippy's lambda_rel).
        zeta: Floor of the bound: CowClip's zeta, 1e-5 as published for Criteo, or
            Clippy's lambda_abs.
        l2: lambda of ``lambda ||w||^2``: adds ``2 * l2 * w`` to the gradient, before the
            clip, as the published code does.
        semantics: Of rows outside of the batch: ``"lazy"`` (default), ``"dense"`` or
            ``"touched"``, see ``RowOptimizer``.
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
        *,
        l2=0.0,
        semantics="lazy",
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        name="RowAdam",
    ):
        rule = AdamRule(beta_1, beta_2, epsilon)
        if semantics == "lazy" and beta_1**2 >= beta_2:
            raise ValueError(
                "beta_1 squared must be below beta_2, or momentum outlives what scales it. "
                f"Received: beta_1={beta_1}, beta_2={beta_2}. Use semantics='touched'."
            )
        super().__init__(
            rule, learning_rate, clip, r, zeta=zeta, l2=l2, semantics=semantics, name=name
        )


@tf.keras.utils.register_keras_serializable("steadyrank")
class RowAdagrad(RowOptimizer):
    """Adagrad on the rows of the batch, with CowClip; see ``RowAdam``.

    Without clip and L2 it is exactly dense Adagrad: a row outside of the batch has a
    zero gradient, which moves neither the weight nor the accumulator.

    Args:
        learning_rate: eta, a float or a ``LearningRateSchedule``.
        clip: As for ``RowAdam``.
        r: As for ``RowAdam``.
        zeta: As for ``RowAdam``.
        l2: As for ``RowAdam``.
        semantics: As for ``RowAdam``; without L2 they are all one, but for the clips
            ``"field"`` and ``"global"``.
        initial_accumulator: Start of the accumulator; 0.1 as in Keras and Clippy.
        epsilon: Under the root; 1e-7 as in Keras.
        name: Name of the optimizer and its slots; None: that of the class.
    """

    rule = AdagradRule

    def __init__(
        self,
        learning_rate=0.1,
        clip="cowclip",
        r=1.0,
        zeta=1e-5,
        *,
        l2=0.0,
        semantics="lazy",
        initial_accumulator=0.1,
        epsilon=1e-7,
        name=None,
    ):
        name = name or type(self).__name__
        rule = type(self).rule(initial_accumulator, epsilon)
        super().__init__(
            rule, learning_rate, clip, r, zeta=zeta, l2=l2, semantics=semantics, name=name
        )


@tf.keras.utils.register_keras_serializable("steadyrank")
class RowWiseAdagrad(RowAdagrad):
    """``RowAdagrad`` with a single accumulator for each row.

    The accumulator takes the mean of the row's squares: a table of width D needs 1 / D of
    the memory beside its weights.  Arguments as for ``RowAdagrad``.
    """

    rule = RowWiseAdagradRule
