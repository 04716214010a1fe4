"""What the gates of a trunk make of its experts: mean weights, and who is left out."""

from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.models.ranker import RankingModel


class ExpertUse:
    """Mean weight of every gate on every expert that it sees.

    Args:
        model: A built model.
    """

    def __init__(self, model: RankingModel):
        self._model, self._labels = model, {}
        self._function = BatchFunction(self._sums)

    def _sums(self, features: Mapping) -> dict:
        found = self._model.gate_weights(features)
        self._labels = {gate: labels for gate, (labels, _) in found.items()}
        return {gate: tf.reduce_sum(weights, 0) for gate, (_, weights) in found.items()}

    def measure(self, dataset: Iterable) -> dict[str, dict[str, float]]:
        """Over all rows of a dataset of ``(features, ...)``.

        Returns:
            Gate -> expert -> mean weight; empty for a trunk without gates.
        """
        totals: dict[str, np.ndarray] = {}
        for features, *_ in dataset:
            sums = self._function(features)
            if not sums:
                return {}
            for gate, values in sums.items():
                totals[gate] = totals.get(gate, 0.0) + values.numpy().astype(np.float64)
        return {
            gate: dict(zip(self._labels[gate], _shares(values), strict=True))
            for gate, values in totals.items()
        }


def _shares(values: np.ndarray) -> list[float]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values / values.sum()).tolist()
