"""What the dense and the row optimizers share: slots, statistics, configuration."""

from dataclasses import asdict

import tensorflow as tf


class BaseOptimizer(tf.keras.optimizers.Optimizer):
    """Keras optimizer around a base rule; subclasses say what an update touches.

    Gradients reach ``update_step`` summed over the replicas.  Slots are at least
    float32, whatever the variable's type.

    Args:
        rule: A base rule, see ``rules``.
        learning_rate: eta, a float or a ``LearningRateSchedule``.
        name: Name of the optimizer and its slots.

    Attributes:
        nonfinite_counts: Per model variable an int64 scalar: how many of its steps
            (row optimizers: rows) were skipped because of non-finite numbers.
    """

    statistic = ("", 0.0)  # name and start of a subclass's float per variable

    def __init__(self, rule, learning_rate, name):
        # Keras' default weight_decay=0 would still run a dense op over each variable.
        super().__init__(name=name, weight_decay=None, jit_compile=False)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self._rule = rule
        self._slots, self._statistics, self.nonfinite_counts = [], [], []

    def build(self, var_list):
        """Creates slots and statistics; called by the first ``apply_gradients``."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self._built = True
        for variable in var_list:
            self._slots.append(self._start_slots(variable))
            name, value = self.statistic
            self._statistics.append(self._add(variable, name, tf.constant(value)))
            zero = tf.zeros([], tf.int64)
            self.nonfinite_counts.append(self._add(variable, "nonfinite", zero))

    def _start_slots(self, variable):
        """What is remembered of one variable: the rule's slots."""
        dtype = compute_dtype(variable)
        return [
            self._add(variable, name, tf.fill(variable.shape, tf.cast(value, dtype)))
            for name, value in self._rule.slots.items()
        ]

    def _add(self, variable, name, initial):
        # Keras' add_variable_from_reference would take the variable's type: the sum of
        # squares must not be kept in half precision.
        strategy = tf.distribute.get_strategy()
        name = f"{name}/{variable.name.split(':')[0]}"
        with strategy.extended.colocate_vars_with(variable):
            slot = tf.Variable(initial, name=name, trainable=False)
        self._variables.append(slot)
        return slot

    @property
    def nonfinite_count(self):
        """Total of ``nonfinite_counts``: an int64 scalar, 0 before the first step."""
        return sum(self.nonfinite_counts, tf.zeros([], tf.int64))

    def _index(self, variable):
        return self._index_dict[self._var_key(variable)]

    def _slots_of(self, variable):
        return self._slots[self._index(variable)]

    def state_of(self, variable):
        """Variables that hold what this optimizer remembers of one model variable.

        Args:
            variable: One of those given to ``build``.

        Returns:
            List of variables, the rule's slots, each of its shape.
        """
        return list(self._slots_of(variable))

    def _report(self, variable, statistic, nonfinite):
        index = self._index(variable)
        self._statistics[index].assign(tf.cast(statistic, tf.float32))
        self.nonfinite_counts[index].assign_add(tf.cast(nonfinite, tf.int64))

    def get_config(self):
        """Every argument of ``__init__``, the base rule's among them."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        rate = float(rate) if hasattr(rate, "dtype") else rate
        return {"name": self.name, "learning_rate": rate, **asdict(self._rule)}


def compute_dtype(variable):
    """The type that a variable's update is computed in: float32 or wider.

    Args:
        variable: A variable of a float type.

    Returns:
        ``tf.float64`` where it is of that, else ``tf.float32``.
    """
    return tf.float64 if variable.dtype == tf.float64 else tf.float32
