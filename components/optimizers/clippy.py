"""Clippy: shrink an update until no weight moves by more than it can bear.

Reference: Tang et al., "Improving Training Stability for Multitask Ranking Models in
Recommender Systems" (KDD 2023), section 4.  In the paper's symbols the bound on the
move of weight i is ``lambda_rel |w_i| + lambda_abs``; one factor sigma is shared by the
whole tensor, so its direction is kept.
"""

import tensorflow as tf

# The paper's thresholds, and the defaults of tensorflow-recommenders' ClippyAdagrad.
# The latter all but freeze weights that start at zero.
PRESETS = {
    "paper": {"relative": 0.5, "absolute": 1e-2},
    "tfrs": {"relative": 0.1, "absolute": 1e-7},
}

# Four roundings of float32 (bound, ratio, quotient, product) can each add 2^-24; taking
# 2^-21 off a factor below one keeps the product within the bound, not just near it.
_SHAVE = 1.0 - 2.0**-21


def factor(delta, w, relative, absolute, *, axis=None):
    """Largest sigma in [0, 1] with ``sigma |delta_i| <= relative |w_i| + absolute``.

    ``sigma = 1 / max(1, max_i |delta_i| / bound_i)`` with 0/0 := 0: a zero bound stops
    only a coordinate that wants to move.

    Args:
        delta: Finite tensor, the update ``eta * r`` about to be subtracted.
        w: The weights, of the same shape and type (float32 or wider).
        relative: lambda_rel >= 0, a scalar; may be infinite.
        absolute: lambda_abs >= 0, a scalar; may be infinite.
        axis: Axes that share one factor; all of them by default.

    Returns:
        sigma: a scalar, or with ``axis`` a tensor with these axes kept at size 1.
    """
    bound = tf.math.multiply_no_nan(tf.cast(relative, w.dtype), tf.abs(w)) + absolute
    ratio = tf.math.xdivy(tf.abs(delta), bound)  # 0 where delta is 0, even over 0
    worst = tf.reduce_max(ratio, axis=axis, keepdims=axis is not None)
    return tf.where(worst > 1.0, _SHAVE / worst, tf.ones_like(worst))


def shrink(delta, w, relative, absolute, *, axis=None):
    """Clips an update (paper, section 4.2).

    Args:
        delta: As for ``factor``.
        w: As for ``factor``.
        relative: As for ``factor``.
        absolute: As for ``factor``.
        axis: As for ``factor``.

    Returns:
        ``(sigma * delta, sigma)``.  For every coordinate of the first, also in float32:
        ``|sigma delta_i| <= relative |w_i| + absolute``.  Where sigma is 1, delta comes
        back bit for bit.
    """
    sigma = factor(delta, w, relative, absolute, axis=axis)
    return sigma * delta, sigma
