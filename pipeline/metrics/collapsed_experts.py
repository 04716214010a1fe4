"""Experts that are left out, from the weights that gates give them."""

from collections.abc import Mapping
from math import isfinite

UNUSED = 0.01  # an expert that no gate gives more than this, on average
SOLE = 0.99  # a gate that gives one of several experts more than this, on average


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
