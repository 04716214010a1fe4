"""The clipping methods that Clippy is measured against, as factors on the step.

All have the form ``w <- w - eta * sigma * r`` and differ in sigma alone
(Clippy, KDD 2023, section 4).
``g`` is the gradient and ``w`` the weights of one variable, dense, after the all-reduce.
A norm that overflows is infinite and gives the factor 0, never NaN.
"""

import tensorflow as tf


def norm(x, axis=None):
    """L2 norm.

    Args:
        x: float tensor of any shape.
        axis: Axes that are summed over, and kept at size 1; None: all, to a scalar.

    Returns:
        Of the type of ``x``; infinite where the sum of squares overflows.
    """
    square = tf.reduce_sum(tf.square(x), axis=axis, keepdims=axis is not None)
    return tf.sqrt(square)


def by_value(g, threshold):
    """``sigma_i = min(1, threshold / |g_i|)``: each coordinate on its own.

    Args:
        g: Gradient, a float tensor of any shape.
        threshold: Largest magnitude, a scalar above 0.

    Returns:
        sigma, of the shape of ``g``.
    """
    return tf.minimum(threshold / tf.abs(g), 1.0)


def by_norm(g, threshold):
    """GC (Pascanu et al. 2013): ``sigma = min(1, lambda / ||g||)``, per tensor.

    Args:
        g: Gradient, a float tensor of any shape.
        threshold: lambda, a scalar above 0.

    Returns:
        sigma, a scalar.
    """
    return tf.minimum(threshold / norm(g), 1.0)


def by_global_norm(global_norm, threshold):
    """``sigma = min(1, lambda / ||all gradients||)``, one factor for all variables.

    Args:
        global_norm: Scalar, from ``gradients.global_norm``.
        threshold: lambda, a scalar above 0.

    Returns:
        sigma, a scalar.
    """
    return tf.minimum(threshold / global_norm, 1.0)


def unit_axes(w):
    """Axes of the weights into one output unit.

    Args:
        w: Weights, a tensor or variable of any rank.

    Returns:
        All axes but the last; None, for all axes, of a vector or scalar.
    """
    return list(range(w.shape.rank - 1)) if w.shape.rank > 1 else None


def agc(g, w, threshold, epsilon=1e-3):
    """Adaptive gradient clipping (Brock et al. 2021), one factor per output unit.

    ``sigma = min(1, lambda max(||w_u||, epsilon) / ||g_u||)`` over the incoming weights
    of unit u, which is the last axis of a kernel; a vector or scalar is one unit.

    Args:
        g: Gradient, a float tensor of any shape.
        w: Weights of the same shape.
        threshold: lambda, a scalar.
        epsilon: Floor of the weight norm, so that zero weights can leave zero; 1e-3
            as in the authors' code.

    Returns:
        sigma that broadcasts against ``g``.
    """
    axis = unit_axes(w)
    w_norm = tf.maximum(norm(w, axis), epsilon)
    return tf.minimum(threshold * w_norm / norm(g, axis), 1.0)


def agc_tensor(g, w, threshold, epsilon=1e-3):
    """``agc`` with one factor for the whole tensor, as the Clippy paper writes it.

    Args:
        g: As for ``agc``.
        w: As for ``agc``.
        threshold: As for ``agc``.
        epsilon: As for ``agc``.

    Returns:
        sigma, a scalar.
    """
    return tf.minimum(threshold * tf.maximum(norm(w), epsilon) / norm(g), 1.0)


def lamb(w, r, threshold):
    """LAMB (You et al. 2020) on any base rule: ``sigma = mu ||w|| / ||r||``.

    The step then has the length ``eta mu ||w||`` whatever the gradient; sigma may exceed
    1.  As in the authors' code the ratio of norms is 1 where either of them is 0.

    Args:
        w: Weights, a float tensor of any shape.
        r: The base rule's step before the rate, of the same shape.
        threshold: mu.

    Returns:
        sigma, a scalar.
    """
    w_norm, r_norm = norm(w), norm(r)
    both = tf.logical_and(w_norm > 0.0, r_norm > 0.0)
    return threshold * tf.where(both, tf.math.divide_no_nan(w_norm, r_norm), 1.0)
