"""What a loss does not show: units that have died.

A unit whose rectifier lets none of a batch's rows through has a bias gradient of exactly
0; one that lets a row through hardly ever has.  So the biases say it of a layer at the
cost of a few vectors.  Where rates are too high the first large steps push units of the
lower layers below zero for good; the others carry the loss, or a task freezes at its mean.
"""

from collections.abc import Mapping

import tensorflow as tf

SHARE = 0.2  # of a layer's units, above which it is dying
STEPS = 3  # in a row, before it is said: one odd batch is none


def dead_share(gradient):
    """Share of a layer's units that no row of the batch moves.

    Args:
        gradient: float ``[units]``, of the layer's bias, summed over the whole batch.

    Returns:
        float32 scalar, 0 to 1; 0 where a gradient is not finite, which says nothing.
    """
    still = tf.reduce_mean(tf.cast(tf.equal(gradient, 0), tf.float32))
    finite = tf.reduce_all(tf.math.is_finite(gradient))
    return tf.where(finite, still, 0.0)


class EarlyWarning:
    """Warns once of each spell in which a layer's units die. No TensorFlow here.

    Args:
        share: Of the units of the worst layer, above which a step counts.
        steps: So many in a row begin a spell, and so many others end it.
    """

    def __init__(self, share=SHARE, steps=STEPS):
        self.share, self.steps = share, steps
        self.warnings: list[dict] = []
        self._run, self._in_spell = 0, False

    def update(self, step: int, shares: Mapping[str, float]) -> dict | None:
        """Take the shares of one step in.

        Args:
            step: Number of the step; rising.
            shares: Layer -> share of its units that are dead; a layer that is not named
                has none.

        Returns:
            None, or a warning: ``step``, ``layer`` (the worst) and ``share``.
        """
        layer, worst = max(shares.items(), key=lambda each: each[1], default=("", 0.0))
        if (worst > self.share) == self._in_spell:
            self._run = 0
            return None
        self._run += 1
        if self._run < self.steps:
            return None
        self._run, self._in_spell = 0, not self._in_spell
        if not self._in_spell:
            return None
        self.warnings.append({"step": step, "layer": layer, "share": worst})
        return self.warnings[-1]
