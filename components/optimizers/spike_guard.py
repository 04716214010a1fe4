"""A guard in front of all optimizers: one step whose gradient is far beyond its usual size.

One batch of wrong labels does its harm in the dense weights *and* in the rows of the
tables, whose optimizers see the dense weights' gradient in nothing.  So one factor holds
back both.  It takes no clip's place: it does not act on a gradient that is always large.
"""

import tensorflow as tf

BETA = 0.9  # of the average of squares: some ten steps
LEAST_STEPS = 3  # seen, before a step can be judged by them


def hold_back(n, a, c, kappa, *, beta=BETA):
    """Factor of a step by the usual norm of those before it.

        f = min(1, kappa sqrt(a / (1 - beta^c)) / n)
        a <- beta a + (1 - beta) (f n)^2,   c <- c + 1

    ``f`` is 1 while ``c`` is below ``LEAST_STEPS``, and 0 where ``n`` is not finite: then,
    and where ``n`` is 0 (a batch without an example says nothing of what is usual), ``a``
    and ``c`` stay.  What was held back counts with the norm that was left, so that
    gradients that are larger for good are let through after some steps.

    Args:
        n: float32 scalar, the norm of all dense gradients together, at least 0.
        a: float32 scalar, the average of its squares so far, from 0.
        c: int64 scalar, the steps in it.
        kappa: Scalar, the largest norm that passes whole, in multiples of the usual one.
        beta: Decay of the average.

    Returns:
        ``(f, a, c)``, the last two as they are after the step.
    """
    weight = 1.0 - tf.pow(tf.constant(beta, tf.float32), tf.cast(c, tf.float32))
    usual = tf.sqrt(tf.math.divide_no_nan(a, weight))
    limit = tf.where(c < LEAST_STEPS, n, kappa * usual)
    finite = tf.math.is_finite(n)
    f = tf.where(n > limit, limit / n, 1.0)
    f = tf.where(finite, f, 0.0)
    after = beta * a + (1.0 - beta) * tf.square(f * n)
    taken = finite & (n > 0) & tf.math.is_finite(after)
    a = tf.where(taken, after, a)
    return f, a, c + tf.cast(taken, tf.int64)


class SpikeGuard(tf.Module):
    """What ``hold_back`` remembers of a training's steps.

    Every replica is to call it with the same gradients, summed over all of them.

    Args:
        kappa: As for ``hold_back``, above 1.

    Attributes:
        factor: float32 scalar, f of the last step; 1 before the first.
    """

    def __init__(self, kappa: float):
        super().__init__(name="spike_guard")
        if not kappa > 1:
            raise ValueError(
                f"kappa must be above 1: at 1 half of all steps would be held back. "
                f"Received: kappa={kappa!r}. Use 3."
            )
        self.kappa = kappa
        self.a = _scalar(0.0, "a")
        self.c = _scalar(tf.zeros([], tf.int64), "c")
        self.factor = _scalar(1.0, "factor")

    def __call__(self, gradients):
        """Judge a step.

        Args:
            gradients: Dense tensors of any shapes, of all dense weights; not empty.

        Returns:
            f, a float32 scalar, by which every gradient of the step is to be multiplied.
        """
        n = tf.linalg.global_norm([tf.cast(g, tf.float32) for g in gradients])
        f, a, c = hold_back(n, self.a, self.c, self.kappa)
        self.a.assign(a)
        self.c.assign(c)
        self.factor.assign(f)
        return f


def _scalar(start, name):
    # every replica computes the same: it may keep its own
    aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(start, trainable=False, name=name, aggregation=aggregation)
