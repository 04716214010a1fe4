"""Run a model over a dataset and gather columns, remainder included."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.examples.records import NO_GROUP

GROUP = "group"  # in an example set


def predict(function: Callable, dataset: tf.data.Dataset, gather: Callable | None = None):
    """Predict every row of a dataset.

    Args:
        function: Features of a batch -> output name -> ``[B]``; compiled.
        dataset: Of ``(features, labels, masks)`` and, maybe, further columns.
        gather: A column of this process's rows -> that of all workers' rows; None: it has
            them all.

    Returns:
        Labels, masks, outputs and further columns: dictionaries by name of NumPy arrays
        ``[rows]``, in the order of the dataset.  Rows without a group have one each.
    """
    parts: list[list[dict]] = [[], [], [], []]
    for features, labels, masks, *extra in dataset:
        batch = (labels, masks, function(features), extra[0] if extra else {})
        for gathered, columns in zip(parts, batch, strict=True):
            gathered.append({name: values.numpy() for name, values in columns.items()})
    stacked = tuple(_stack(gathered) for gathered in parts)
    if gather is not None:
        stacked = tuple({n: gather(v) for n, v in columns.items()} for columns in stacked)
    if GROUP in stacked[-1]:
        stacked[-1][GROUP] = own_groups(stacked[-1][GROUP])
    return stacked


def own_groups(groups: np.ndarray) -> np.ndarray:
    """Groups ``[rows]`` in which every row that had none has a number of its own.

    So it is a user of one row: GAUC, which compares rows of a user, leaves it out, and the
    bootstrap draws it by itself.
    """
    missing = groups == NO_GROUP
    return np.where(missing, NO_GROUP + np.cumsum(missing), groups)


def _stack(batches: list[dict]) -> dict[str, np.ndarray]:
    """Columns of all rows; batches are let go of on the way, one column after another."""
    names = [*batches[0]] if batches else ()
    return {name: np.concatenate([each.pop(name) for each in batches]) for name in names}
