"""Run a model over a dataset and gather columns, remainder included."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf


def predict(function: Callable, dataset: tf.data.Dataset):
    """Predict every row of a dataset.

    Args:
        function: Features of a batch -> output name -> ``[B]``; compiled.
        dataset: Of ``(features, labels, masks)`` and, maybe, further columns.

    Returns:
        Labels, masks, outputs and further columns: dictionaries by name of NumPy arrays
        ``[rows]``, in the order of the dataset.
    """
    parts: list[list[dict]] = [[], [], [], []]
    for features, labels, masks, *extra in dataset:
        batch = (labels, masks, function(features), extra[0] if extra else {})
        for gathered, columns in zip(parts, batch, strict=True):
            gathered.append({name: values.numpy() for name, values in columns.items()})
    return tuple(_stack(gathered) for gathered in parts)


def _stack(batches: list[dict]) -> dict[str, np.ndarray]:
    names = batches[0] if batches else ()
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}
