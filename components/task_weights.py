"""How much each task's loss counts while training goes on: pure functions.

K tasks; all vectors are float32 ``[K]`` in the order of the tasks.  Losses are those of
the global batch, so that replicas agree.
"""

import tensorflow as tf

SMALLEST_WEIGHT = 1e-3  # GradNorm's weights stay positive


def decayed(w0, gamma, t):
    """``w_k(t) = w_{k,0} gamma_k^t`` (PLE, RecSys'20, section 4.3).

    Args:
        w0: ``[K]``, weights at the start.
        gamma: ``[K]``, above 0.
        t: Scalar, steps or epochs so far.

    Returns:
        ``[K]``.
    """
    return w0 * tf.pow(gamma, tf.cast(t, tf.float32))


def uncertainty_weights(s, c):
    """``c_k exp(-s_k)`` with ``s = log sigma^2`` (Kendall et al., CVPR'18, section 3.2).

    Args:
        s: ``[K]``, log variances.
        c: ``[K]``, 1 for a classification, 1/2 for a regression.

    Returns:
        ``[K]``.
    """
    return c * tf.exp(-s)


def uncertainty_step(s, losses, c, rate):
    """A step of ``s`` down the gradient of ``sum_k c_k exp(-s_k) L_k + s_k / 2``.

    Args:
        s: ``[K]``, log variances.
        losses: ``[K]``.
        c: ``[K]``, as for ``uncertainty_weights``.
        rate: Scalar, learning rate.

    Returns:
        The new ``s`` ``[K]``; a task whose loss is 0 (no example) or not finite stays
        where it is.
    """
    gradient = 0.5 - uncertainty_weights(s, c) * losses
    # s comes back by rate / 2 a step at most: one spike must not take it far
    gradient = tf.clip_by_value(gradient, -1.0, 1.0)
    known = tf.logical_and(losses > 0, tf.math.is_finite(losses))
    return s - rate * tf.where(known, gradient, 0.0)


def gradnorm_step(w, norms, ratios, alpha, *, rate):
    """GradNorm (Chen et al., ICML'18, equations 1 and 2, Algorithm 1), one step.

    Args:
        w: ``[K]``, weights.
        norms: ``[K]``, gradient norms of the unweighted losses; their common scale does
            not matter.
        ratios: ``[K]``, loss over the loss at the start.
        alpha: Scalar, how strongly slow tasks are favoured; 0: norms become equal.
        rate: Learning rate of the weights.

    Returns:
        New weights ``[K]``, which add up to K; ``w`` where all norms are 0.
    """
    tasks = tf.cast(tf.size(w), w.dtype)
    norms = tf.math.divide_no_nan(norms, tf.reduce_mean(norms))
    weighted = w * norms
    speed = tf.math.divide_no_nan(ratios, tf.reduce_mean(ratios))
    target = tf.reduce_mean(weighted) * tf.pow(speed, alpha)
    moved = w - rate * tf.sign(weighted - target) * norms
    moved = tf.maximum(moved, SMALLEST_WEIGHT)
    return tasks * moved / tf.reduce_sum(moved)


def dwa(last, before, temperature):
    """Dynamic weight average (Liu et al., CVPR'19, equation 7).

    Args:
        last: ``[K]``, mean losses of the last epoch.
        before: ``[K]``, of the one before it.
        temperature: T, a scalar; the larger, the more alike the weights.

    Returns:
        ``K softmax((last / before) / T)``, ``[K]``; a task without a loss before counts
        as one that stands still.
    """
    tasks = tf.cast(tf.size(last), last.dtype)
    falling = tf.where(before > 0, tf.math.divide_no_nan(last, before), 1.0)
    return tasks * tf.nn.softmax(falling / temperature)


def pcgrad(gradients, orders):
    """PCGrad (Yu et al., NeurIPS'20, Algorithm 1): conflicts projected away, then the sum.

    Args:
        gradients: ``[K, P]``.
        orders: int ``[K, K]``, row i: in which order task i meets the tasks; meeting
            itself does nothing.

    Returns:
        ``[P]``.
    """
    squares = tf.reduce_sum(gradients**2, axis=1)
    total = tf.zeros_like(gradients[0])
    for i in range(gradients.shape[0]):
        g = gradients[i]
        for n in range(gradients.shape[0]):
            j = orders[i, n]
            other = tf.gather(gradients, j)
            conflict = tf.minimum(tf.tensordot(g, other, 1), 0.0)
            share = tf.math.divide_no_nan(conflict, tf.gather(squares, j))
            g -= tf.where(j == i, 0.0, share) * other
        total += g
    return total
