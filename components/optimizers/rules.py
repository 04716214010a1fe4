"""Base rules: the step that a gradient asks for, before any clipping.

A rule is a pure function in the symbols of its paper, called as
``rule(g, slots, eta, t) -> (delta, new slots)`` with ``delta = eta * r``.  Dense tensors
and the gathered rows of a table go through the same code.  The *last* slot accumulates
``g^2``: it is the first to overflow, so its finiteness vouches for all the rest.
Each rule computes exactly what the Keras optimizer of its name does.

``rule.absent`` is what the rule does to rows without a gradient of their own, see
``absence``.
"""

import math
from dataclasses import dataclass

import tensorflow as tf

from steadyrank.components.optimizers import lazy_catch_up


def check_range(name, value, low, high=math.inf, *, low_included=True):
    """Refuses a setting outside of [low, high], or of (low, high].

    Args:
        name: What the setting is called.
        value: A number.
        low: The lowest that is allowed.
        high: The highest that is allowed.
        low_included: Whether ``low`` itself is.

    Raises:
        ValueError: It lies outside.
    """
    above = value >= low if low_included else value > low
    if above and value <= high:
        return
    allowed = f"be {'at least' if low_included else 'greater than'} {low}"
    allowed += "" if high == math.inf else f" and at most {high}"
    raise ValueError(f"{name} must {allowed}. Received: {name}={value}. Change {name}.")


@dataclass(frozen=True)
class AdagradRule:
    """Duchi et al. 2011: ``G += g^2``, ``r = g / sqrt(G + epsilon)``.

    The accumulator comes first, as in the Clippy paper, and takes the raw gradient.
    """

    initial_accumulator: float
    epsilon: float

    def __post_init__(self):
        check_range("initial_accumulator", self.initial_accumulator, 0.0)
        check_range("epsilon", self.epsilon, 0.0, low_included=False)

    @property
    def slots(self):
        """Initial value of each slot, by name."""
        return {"accumulator": self.initial_accumulator}

    def __call__(self, g, slots, eta, t):
        """The step that a gradient asks for.

        Args:
            g: Gradient: a variable's, or ``[U, D]`` of some rows.
            slots: ``[G]``, of its shape.
            eta: Learning rate, a scalar.
            t: Number of the step, an int scalar from 1; not used.

        Returns:
            ``(delta, [G])``, delta = eta r, all of the shape of what they change.
        """
        (G,) = slots
        G = G + tf.square(g)
        return eta * g / tf.sqrt(G + self.epsilon), [G]

    def moves_absent_rows(self, l2):
        """Whether rows without a gradient of their own move.

        Args:
            l2: lambda of the L2, a float of at least 0.

        Returns:
            bool.
        """
        return l2 > 0

    def absent(self, w, slots, steps, rates, *, last, l2):
        """Some rows after steps without a gradient but the L2's.

        Args:
            w: ``[U, D]``.
            slots: ``[G]``, ``[U, D]`` or ``[U, 1]``.
            steps: float ``[U]``, how many were missed.
            rates: float ``[U]``, the sum of their learning rates.
            last: float ``[U]``, number of each row's last step; not used.
            l2: lambda, a float or ``[U, 1]``.

        Returns:
            ``(w, [G])``.
        """
        w, G = lazy_catch_up.adagrad(w, slots[0], steps, rates, l2=l2, epsilon=self.epsilon)
        return w, [G]


@dataclass(frozen=True)
class RowWiseAdagradRule(AdagradRule):
    """Adagrad with one accumulator a row, which takes the mean of the row's squares.

    One number a row beside its D weights, as fbgemm's "exact row-wise Adagrad" has it.
    """

    width = 1  # of the slot

    def __call__(self, g, slots, eta, t):
        """The step that the gradient of some rows asks for.

        Args:
            g: Gradient: ``[U, D]``.
            slots: ``[G]``, ``[U, 1]``.
            eta: Learning rate, a scalar.
            t: Number of the step, an int scalar from 1; not used.

        Returns:
            ``(delta, [G])``, delta = eta r, all of the shape of what they change.
        """
        (G,) = slots
        G = G + tf.reduce_mean(tf.square(g), axis=1, keepdims=True)
        return eta * g / tf.sqrt(G + self.epsilon), [G]


@dataclass(frozen=True)
class AdamRule:
    """Kingma and Ba 2015, section 2: both bias corrections folded into the rate."""

    beta_1: float
    beta_2: float
    epsilon: float

    def __post_init__(self):
        check_range("beta_1", self.beta_1, 0.0, 1.0 - 1e-9)
        check_range("beta_2", self.beta_2, 0.0, 1.0 - 1e-9)
        check_range("epsilon", self.epsilon, 0.0, low_included=False)

    @property
    def slots(self):
        """Initial value of each slot, by name."""
        return {"momentum": 0.0, "velocity": 0.0}

    def __call__(self, g, slots, eta, t):
        """The step that a gradient asks for.

        Args:
            g: Gradient: a variable's, or ``[U, D]`` of some rows.
            slots: ``[m, v]``, each of its shape.
            eta: Learning rate, a scalar.
            t: Number of the step, an int scalar from 1.

        Returns:
            ``(delta, [m, v])``, delta = eta r, all of the shape of what they change.
        """
        m, v = slots
        m = m + (g - m) * (1.0 - self.beta_1)
        v = v + (tf.square(g) - v) * (1.0 - self.beta_2)
        t = tf.cast(t, g.dtype)
        bias_1 = 1.0 - tf.pow(tf.cast(self.beta_1, g.dtype), t)
        bias_2 = 1.0 - tf.pow(tf.cast(self.beta_2, g.dtype), t)
        alpha = eta * tf.sqrt(bias_2) / bias_1
        return m * alpha / (tf.sqrt(v) + self.epsilon), [m, v]

    def moves_absent_rows(self, l2):
        """Whether absent rows move: their momentum carries them on.

        Args:
            l2: lambda of the L2, a float of at least 0; not asked.

        Returns:
            bool.
        """
        return True

    def absent(self, w, slots, steps, rates, *, last, l2):
        """Some rows after steps without a gradient but the L2's.

        Args:
            w: ``[U, D]``.
            slots: ``[m, v]``, each ``[U, D]``.
            steps: float ``[U]``, how many were missed.
            rates: float ``[U]``, the sum of their learning rates.
            last: float ``[U]``, number of each row's last step.
            l2: lambda, a float or ``[U, 1]``.

        Returns:
            ``(w, [m, v])``.
        """
        m, v = slots
        w, m, v = lazy_catch_up.adam(
            w, m, v, steps, rates=rates, last=last, l2=l2, rule=self
        )
        return w, [m, v]
