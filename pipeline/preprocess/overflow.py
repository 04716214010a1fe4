"""What no model could be trained on, refused by name: numbers, sample weights, ids."""

from collections.abc import Iterable, Mapping

import numpy as np

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.features import is_dropped
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.examples.compatibility import label_faults
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import LARGEST

MOST_TIMES_MEDIAN = 1e6  # of a sample weight: above it one row outweighs all others


def require_finite(config: Config, statistics: Mapping) -> None:
    """Raise where training could only end in NaN.

    Args:
        config: The run's config.
        statistics: What ``statistics.json`` holds, of the training split.

    Raises:
        InputError: The range, mean or variance of a number overflows float32, in which
            models compute, or a sample weight lies too far from the others.
    """
    if said := overflows(config, statistics):
        raise InputError(" ".join(said))


def overflows(config: Config, statistics: Mapping) -> tuple[str, ...]:
    """The same in sentences: known before rows are encoded, which then need not be."""
    numeric = ("numeric", "vector")
    plain = [
        f
        for f in config.features
        if f.kind in numeric and not f.buckets and f.transform != "quantile"
    ]
    values = [t for t in config.tasks if t.kind == "regression"]
    lows = {n: f["min"] if f["rows"] else None for n, f in statistics["labels"].items()}
    return (
        *_overflowing("features", plain, statistics["features"]),
        *_overflowing("tasks", values, statistics["labels"]),
        *label_faults(config.tasks, lows),
        *_outweighing(config.tasks, statistics.get("weights", {})),
        *_unknown(config.features, statistics["features"]),
    )


def _overflowing(key: str, items: Iterable, statistics: Mapping) -> list[str]:
    """A sentence for each number of which float32 cannot hold what scales it."""
    said = []
    for item in items:
        found = statistics[item.name]
        if not found["rows"]:
            continue
        low, high, mean = (float(found[name]) for name in ("min", "max", "mean"))
        measures = {
            "range": high - low,
            "mean": mean,
            "variance": float(found["m2"]) / found["rows"],
        }
        beyond = [n for n, v in measures.items() if not abs(v) <= LARGEST]
        if beyond:
            after = "" if item.transform == "identity" else f" after {item.transform}"
            said.append(
                f"{key}.{item.name}: column {column(item)!r} goes from {low:g} to "
                f"{high:g}{after} in training, so its {' and '.join(beyond)} overflow "
                f"float32 (at most {LARGEST:.3g}). {_hint(item)}"
            )
    return said


def _hint(item) -> str:
    also = " (transform: log1p)" if item.transform == "identity" else ""
    cut = ", or cut it (clip: [LOW, HIGH] or buckets: 16)" if item.kind == "numeric" else ""
    return f"Make the extreme values missing in the log, shrink them{also}{cut}."


def _outweighing(tasks: Iterable, weights: Mapping) -> list[str]:
    """A sentence for each column of sample weights with one that drowns the others."""
    said = []
    for task in tasks:
        found = weights.get(task.name) or {}
        median, largest = found.get("median"), found.get("max")
        if median and not largest <= MOST_TIMES_MEDIAN * median:
            said.append(
                f"tasks.{task.name}.sample_weight: column {task.sample_weight!r} has a "
                f"weight of {largest:g} in training; at most {MOST_TIMES_MEDIAN:g} times "
                f"the median of the weights above 0, which is {median:g}, is allowed. "
                "Cut the weights in the log, or divide them by what they have in common."
            )
    return said


def _unknown(features: Iterable, statistics: Mapping) -> list[str]:
    """A sentence for each feature that is served as a value which training never sees."""
    return [
        f"features.{item.name}.serving.drop must be a value that training rows have: "
        f"nothing is learned of another. Received: {item.serving.drop!r}; most frequent: "
        f"{', '.join(statistics[item.name]['most_frequent'])}."
        for item in features
        if is_dropped(item) and statistics[item.name].get("reference", 0) is None
    ]


def describe_weights(drawn: np.ndarray, largest: float) -> dict:
    """``median`` of those drawn that are above 0 (None: there are none), and ``max``."""
    known = drawn[drawn > 0]
    return {"median": float(np.median(known)) if len(known) else None, "max": largest}
