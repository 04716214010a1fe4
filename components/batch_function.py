"""Compiling a function of batches once, however many rows a batch has."""

from collections.abc import Callable

import tensorflow as tf


class BatchFunction:
    """A function that is traced once, for batches of any number of rows.

    ``tf.function`` would trace it for the first batch's rows, and once more for the
    remainder at the end of an epoch: a training step takes seconds to trace, and is no
    faster for knowing how many rows there are.

    Args:
        function: Takes nested structures of tensors (or of their values on replicas)
            whose first axis is the rows; types and further axes never change.

    Example:

    >>> traces = []
    >>> double = BatchFunction(lambda x: (traces.append(1), 2 * x)[1])
    >>> double(tf.ones([3, 2])).shape, double(tf.ones([1, 2])).shape, len(traces)
    (TensorShape([3, 2]), TensorShape([1, 2]), 1)
    """

    def __init__(self, function: Callable):
        self._function = function
        self._compiled: Callable | None = None

    def __call__(self, *batch):
        """Calls the function; the first call traces it."""
        if self._compiled is None:
            specs = tf.nest.map_structure(_of_any_rows, batch)
            self._compiled = tf.function(self._function, specs, autograph=False)
        return self._compiled(*batch)


def _of_any_rows(value):
    if isinstance(value, tf.distribute.DistributedValues):
        values = tf.nest.flatten(value, expand_composites=True)
        return type(tf.type_spec_from_value(value))(*map(_of_any_rows, values))
    return tf.TensorSpec([None, *value.shape[1:]], value.dtype)
