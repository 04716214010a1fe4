"""What the gates of a trunk make of its experts: mean weights, and who is left out."""

from collections.abc import Iterable, Mapping
from math import isfinite

import numpy as np
import tensorflow as tf

from steadyrank.components.batch_function import BatchFunction
from steadyrank.models.ranker import RankingModel

UNUSED = 0.01  # an expert that no gate gives more than this, on average
SOLE = 0.99  # a gate that gives one of several experts more than this, on average


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


def collapsed(use: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What is wrong with the use of the experts, in sentences; none: nothing is.

    Args:
        use: From ``ExpertUse.measure``, or a log, where null stands for what is not
            finite; gates are called ``<level>/<who reads>``.
    """
    said, most = [], {}
    for gate, weights in use.items():
        level = gate.partition("/")[0]
        numbers = {e: w for e, w in weights.items() if w is not None and isfinite(w)}
        if len(numbers) < len(weights):
            said.append(f"gate {gate} gives weights that are no numbers")
        for expert, weight in numbers.items():
            key = level, expert
            most[key] = max(most.get(key, 0.0), weight)
            if len(weights) > 1 and weight > SOLE:
                said.append(f"gate {gate} gives {weight:.1%} to expert {expert!r} alone")
    said += [
        f"no gate of {level} gives expert {expert!r} more than {weight:.1%}"
        for (level, expert), weight in most.items()
        if weight < UNUSED
    ]
    return said
