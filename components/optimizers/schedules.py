"""Learning rates: a linear warm-up, and rules that scale them with the batch size."""

from typing import NamedTuple

import tensorflow as tf

RULES = ("none", "sqrt", "linear", "n2_lambda", "cowclip", "sde", "momentum")
ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}  # at the base batch size


@tf.keras.utils.register_keras_serializable("steadyrank")
class WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from ``start`` to ``learning_rate``, then stays, or falls to 0.

    It rises over ``steps`` steps; the fall, to step ``end``, is linear, too.

    Args:
        learning_rate: Rate after the warm-up.
        steps: Length of the warm-up; 0: none. One epoch in CowClip's published runs.
        start: Rate of step 0; 1e-8 as there.
        end: Step at which the rate has fallen to 0; None: it stays.
        begin: Steps that do not count: an optimizer that goes on after an earlier run
            keeps its own.
    """

    def __init__(self, learning_rate, steps, start=1e-8, end=None, *, begin=0):
        super().__init__()
        if steps < 0:
            raise ValueError(
                f"steps must be at least 0. Received: steps={steps}. Use 0 for none."
            )
        if end is not None and end <= steps:
            raise ValueError(
                f"end must be after the warm-up. Received: steps={steps}, end={end}. "
                "Use None for a rate that stays."
            )
        self.learning_rate = learning_rate
        self.steps = steps
        self.start = start
        self.end = end
        self.begin = begin

    def __call__(self, step):
        """The rate of a step.

        Args:
            step: Number of the step, an int scalar from 0.

        Returns:
            A float32 scalar.
        """
        step = tf.cast(step, tf.int64) - self.begin
        done = tf.cast(step, tf.float32) / max(self.steps, 1)
        warming = self.start + (self.learning_rate - self.start) * done
        finished = step >= self.steps
        return tf.where(finished, self._after(step), warming)

    def _after(self, step):
        rate = tf.cast(self.learning_rate, tf.float32)
        if self.end is None:
            return rate
        left = tf.cast(self.end - step, tf.float32)
        return rate * tf.maximum(left / (self.end - self.steps), 0.0)

    def get_config(self):
        """Every argument of ``__init__``."""
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "start": self.start,
            "end": self.end,
            "begin": self.begin,
        }


@tf.keras.utils.register_keras_serializable("steadyrank")
class Backoff(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A schedule times a factor that training can lower while it runs.

    Args:
        schedule: A learning rate, or a schedule.
        factor: A float32 variable that several schedules may share, or its value;
            1 by default.
    """

    def __init__(self, schedule, factor=1.0):
        super().__init__()
        self.schedule = schedule
        self.factor = factor

    def __call__(self, step):
        """The rate of a step, times the factor as it is now.

        Args:
            step: Number of the step, an int scalar from 0.

        Returns:
            A float32 scalar.
        """
        rate = self.schedule(step) if callable(self.schedule) else self.schedule
        return tf.cast(rate, tf.float32) * tf.cast(self.factor, tf.float32)

    def get_config(self):
        """Every argument of ``__init__``, the factor by its value."""
        base = self.schedule
        if callable(base):
            base = tf.keras.optimizers.schedules.serialize(base)
        return {"schedule": base, "factor": float(self.factor)}

    @classmethod
    def from_config(cls, config):
        """Revives the base schedule, too."""
        base = config["schedule"]
        if isinstance(base, dict):
            base = tf.keras.optimizers.schedules.deserialize(base)
        return cls(base, config["factor"])


class Rates(NamedTuple):
    """What a scaling rule changes.

    Attributes:
        embedding_rate: Learning rate of the embeddings.
        embedding_l2: Their L2.
        dense_rate: Learning rate of the dense weights.
        adam: Adam's constants: ``beta_1``, ``beta_2`` and ``epsilon``.
    """

    embedding_rate: float
    embedding_l2: float
    dense_rate: float
    adam: dict


def scale(rule, s, embedding_rate, embedding_l2, *, dense_rate, dense_optimizer="adam"):
    """Scales the settings of a base batch size b for the batch size s * b.

    ``"cowclip"`` (AAAI 2023, section 4): a rare id is updated as often per epoch in large
    batches as in small ones, so the embedding rate stays and the L2 grows.

    ``"sde"`` (Malladi et al., "On the SDEs and Scaling Rules for Adaptive Gradient
    Algorithms", NeurIPS 2022, section 5): where noise dominates gradients, Adam follows
    the same path at rates times sqrt(s), if its moments forget per *example* as fast as
    before: ``beta^s``, and epsilon / sqrt(s).  L2 is a drift, which then needs no change.
    It holds for rare ids, too: the root of their second moment shrinks by sqrt(s).

    ``"momentum"``: as ``"sde"``, but ``beta_1`` stays, and Adam's rate for the dense
    weights grows by s (Adagrad's by sqrt(s): its sum of squares never forgets).
    ``beta_1^s`` leaves no momentum to large batches, whose steps noise does not bound any
    more, but curvature; momentum is what raises that bound (Zhang et al., "Which
    Algorithmic Choices Matter at Which Batch Sizes?", NeurIPS 2019, section 3).  Here it
    holds from 1 K to 64 K what sde
    loses: ``benchmarks.large_batch``.  Where ``beta_2^s`` falls below ``beta_1``,
    ``beta_1`` follows it: no momentum outlives what scales it.

    Args:
        rule: One of ``RULES``.
        s: Batch size over base batch size, positive.
        embedding_rate: Learning rate of the embeddings at the base batch size.
        embedding_l2: L2 of the embeddings at the base batch size.
        dense_rate: Learning rate of the dense weights at the base batch size.
        dense_optimizer: Theirs: ``"adam"`` or ``"adagrad"``.

    Returns:
        ``Rates``.

    Raises:
        ValueError: Unknown rule, or s not positive.
    """
    if rule not in RULES:
        raise ValueError(
            f"rule must be one of {RULES}. Received: rule={rule!r}. Use 'momentum'."
        )
    if not s > 0:
        raise ValueError(f"s must be positive. Received: s={s}. Check the batch sizes.")
    root = s**0.5
    embedding, l2, dense = {
        "none": (1.0, 1.0, 1.0),
        "sqrt": (root, root, root),
        "linear": (s, 1.0, s),
        "n2_lambda": (1.0, s**2, root),
        "cowclip": (1.0, s, root),
        "sde": (root, 1.0, root),
        "momentum": (root, 1.0, s if dense_optimizer == "adam" else root),
    }[rule]
    adam = dict(ADAM)
    if rule in ("sde", "momentum"):
        adam["beta_1"], adam["beta_2"] = ADAM["beta_1"] ** s, ADAM["beta_2"] ** s
        adam["epsilon"] /= root
    if rule == "momentum":
        adam["beta_1"] = min(ADAM["beta_1"], adam["beta_2"])
    return Rates(embedding_rate * embedding, embedding_l2 * l2, dense_rate * dense, adam)
