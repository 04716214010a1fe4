"""What a dense optimizer does to rows while no batch holds them, in closed form.

A dense optimizer with L2 moves every row of a table in every step: a row that no batch
holds has the gradient ``a w`` with ``a = 2 lambda``, and its moments fade.  The functions
here do in one go what k such steps would have done, at the cost of one step.

Per coordinate, for Adam, in continuous time s with ``c = -log(beta_2)``:

    w(s)' = -alpha(s) m(s) / (sqrt(v(s)) + epsilon)

The first moment has two parts.  What the last gradients left in it fades within some ten
steps, while v hardly changes: the row coasts by a geometric series.  The L2 gradient
arrives after a lag of as many steps and then stands at ``a w``, with
``v(s) = e^-cs v + (1 - e^-cs) b^2``, b being the L2 gradient's own size.  With b constant
the integral of ``1 / sqrt(v)`` is elementary.

v starts at the size of the data's gradients and fades to that of the L2, so a row first
decays slowly, then ever faster, until it is at zero: like a threshold of the steps missed
rather than a constant rate.  ``tests/components/optimizers/test_lazy_catch_up.py`` compares
with the steps themselves.  U rows, D width.
"""

import math

import tensorflow as tf


def adam(w, m, v, steps, *, rates, last, l2, rule):
    """k steps of dense Adam whose only gradient is the L2's.

    Without L2 only the bias correction while the row coasts is approximate; with it, the
    error is a few percent of what the rows moved.

    Args:
        w: ``[U, D]``, weights after the row's last step.
        m: ``[U, D]``, their first moment.
        v: ``[U, D]``, their second moment.
        steps: ``[U]``, k >= 0, float. 0 gives back w, m and v bit for bit.
        rates: ``[U]``, sum of the k steps' learning rates.
        last: ``[U]``, number of the row's last step, float; 0: it never had one.
        l2: lambda >= 0, of ``lambda ||w||^2``; or a tensor ``[U, 1]`` of them.
        rule: ``AdamRule``, for its constants.

    Returns:
        ``(w, m, v)`` after k steps.
    """
    b1, b2, epsilon = rule.beta_1, rule.beta_2, rule.epsilon
    c, a = -math.log(b2), 2.0 * l2
    k = steps[:, tf.newaxis]
    left_1, left_2 = _power(b1, k), tf.exp(-c * k)
    eta = tf.math.divide_no_nan(rates, steps)
    coasting = tf.maximum(last + tf.minimum(0.5 * (steps + 1.0), 0.5 / (1.0 - b1)), 1.0)
    ratio = b1 / math.sqrt(b2)
    series = ratio * (1.0 - _power(ratio, k)) / (1.0 - ratio)
    correction = tf.sqrt(1.0 - tf.exp(-c * coasting)) / (1.0 - _power(b1, coasting))
    rate = (eta * correction)[:, tf.newaxis]
    root = tf.sqrt(v)
    w -= (rate * series) * (m / (root + epsilon))
    if not tf.is_tensor(l2) and not l2:
        return w, left_1 * m, left_2 * v
    b = a * tf.abs(w) + epsilon
    faded = tf.sqrt(left_2 * v + (1.0 - left_2) * tf.square(b))
    integral = (2.0 * tf.math.log((faded + b) / (root + b)) + c * k) / b
    lag = tf.math.divide_no_nan(k - b1 * (1.0 - left_1) / (1.0 - b1), k)
    rate = (eta * _mean_correction(steps, last, c))[:, tf.newaxis]
    decayed = w * tf.exp((-a / c * rate * lag) * integral)
    squares = (tf.square(w) + w * decayed + tf.square(decayed)) * (a * a / 3.0)
    m = left_1 * m + (1.0 - left_1) * (a * decayed)
    return decayed, m, left_2 * v + (1.0 - left_2) * squares


def _power(base, exponent):
    """``base^exponent``, which is 0^0 = 1, too; faster than ``tf.pow``."""
    return tf.exp(math.log(max(base, 1e-30)) * exponent)


def _mean_correction(steps, last, c):
    """Mean of ``sqrt(1 - beta_2^t)`` over an absence; its integral is elementary."""
    before, after = (tf.sqrt(1.0 - tf.exp(-c * t)) for t in (last, last + steps))
    change = tf.math.log((1.0 + after) / (1.0 + before)) - (after - before)
    return 1.0 + 2.0 / c * tf.math.divide_no_nan(change, steps)


def adagrad(w, accumulator, steps, rates, *, l2, epsilon):
    """k steps of dense Adagrad whose only gradient is the L2's.

    ``w' = -eta a w / sqrt(G + epsilon)`` and ``G' = (a w)^2``.  G hardly grows beside the
    data's squares in it, so that w decays at a constant rate; what G takes in follows
    from the two equations: ``dG = -a sqrt(G) / eta * w dw``.

    Args:
        w: ``[U, D]``.
        accumulator: G, ``[U, D]``; or ``[U, 1]`` for a row, which takes the mean of
            squares.
        steps: ``[U]``, k >= 0, float.
        rates: ``[U]``, sum of the k steps' learning rates.
        l2: lambda >= 0, of ``lambda ||w||^2``; or a tensor ``[U, 1]`` of them.
        epsilon: Under the root, a scalar.

    Returns:
        ``(w, accumulator)`` after k steps.
    """
    if not tf.is_tensor(l2) and not l2:
        return w, accumulator
    a, root = 2.0 * l2, tf.sqrt(accumulator + epsilon)
    decayed = w * tf.exp(-a * rates[:, tf.newaxis] / root)
    inverse_rate = tf.math.divide_no_nan(steps, rates)[:, tf.newaxis]
    taken = (0.5 * a * inverse_rate) * root * (tf.square(w) - tf.square(decayed))
    if accumulator.shape[1] != w.shape[1]:
        taken = tf.reduce_mean(taken, axis=1, keepdims=True)
    return decayed, accumulator + taken
