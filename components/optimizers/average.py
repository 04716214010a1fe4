"""An average of dense weights over the last steps, which jitters less than the last ones.

Only weights that every step moves: an average of tables would be a second copy of them.
"""

from collections.abc import Sequence

import tensorflow as tf

RAMP = 9  # steps, after which the average is over about a tenth of all so far


def share_kept(steps, decay):
    """What an average keeps of itself: ``min(decay, t / (t + 9))`` after t steps.

    So the start has no part in it, and a short training is averaged over its end, too.

    Args:
        steps: t, an int scalar.
        decay: Scalar, 0 to 1.

    Returns:
        float32 scalar.
    """
    t = tf.cast(steps, tf.float32)
    return tf.minimum(tf.cast(decay, tf.float32), t / (t + RAMP))


class WeightAverage(tf.Module):
    """``a <- d a + (1 - d) w`` after each step, d of ``share_kept``.

    Reference: Polyak and Juditsky (1992), in the exponential form.

    Every replica is to call it, with the same weights in all of them.

    Args:
        decay: 0.999 is over the last thousand steps or so; above 0, below 1.
        weights: Variables; those of the average lie beside them.

    Attributes:
        weights: The averages, in the order of the weights.
    """

    def __init__(self, decay: float, weights: Sequence[tf.Variable]):
        super().__init__(name="average")
        if not 0 < decay < 1:
            raise ValueError(f"decay must be between 0 and 1. Received: {decay!r}.")
        self.decay = decay
        self.steps = _beside(tf.zeros([], tf.int64), "average/steps")
        self.weights = [
            _beside(v.read_value(), f"average/{v.name.split(':')[0]}") for v in weights
        ]

    def take(self, weights: Sequence[tf.Variable]) -> None:
        """Take in the weights that a step left.

        Args:
            weights: As for the constructor.
        """
        kept = share_kept(self.steps, self.decay)
        for average, weight in zip(self.weights, weights, strict=True):
            away = tf.cast(1.0 - kept, average.dtype)
            average.assign(average + away * (weight - average))
        self.steps.assign_add(tf.ones([], tf.int64))


def _beside(start, name: str) -> tf.Variable:
    # every replica computes the same: it may keep its own
    aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(start, trainable=False, name=name, aggregation=aggregation)
