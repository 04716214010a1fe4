"""From the lines of a training log to curves that a page can hold."""

from collections.abc import Callable, Iterable

import numpy as np

from steadyrank.pipeline.report.elements import is_number

MAX_POINTS = 600  # of a curve: more than a page has pixels for


def names(lines: list[dict], key: str) -> list[str]:
    """Every name under ``key`` in any line, in the order of first appearance."""
    return list(dict.fromkeys(name for line in lines for name in line.get(key) or {}))


def series(
    lines: list[dict], value: Callable[[dict], object], key: str = "step"
) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the lines with ``key``; NaN where a value is no number."""
    lines = [line for line in lines if line.get(key) is not None]
    values = [value(line) for line in lines]
    y = np.array([v if is_number(v) else np.nan for v in values], float)
    return np.array([line.get("step", i) for i, line in enumerate(lines)]), y


def smooth(y: np.ndarray, share: float = 0.02) -> np.ndarray:
    """Mean over a centred window of ``share`` of the curve; NaN are left out of it."""
    width = max(1, int(len(y) * share)) | 1
    known = np.isfinite(y)
    kernel = np.ones(width)
    total = np.convolve(np.where(known, y, 0.0), kernel)[width // 2 :][: len(y)]
    weight = np.convolve(known.astype(float), kernel)[width // 2 :][: len(y)]
    return np.where(known & (weight > 0.5), total / np.maximum(weight, 1), np.nan)


def thin(x: np.ndarray, y: np.ndarray, limit: int = MAX_POINTS):
    """At most ``limit`` points, such that no spike is lost.

    The curve is cut into ``limit / 2`` stretches, and each gives its lowest and its
    highest point.

    Returns:
        Two lists of equal length; None where y is not a number.
    """
    if len(x) > limit:
        stretches = np.array_split(np.arange(len(x)), limit // 2)
        low = [s[np.argmin(np.nan_to_num(y[s], nan=np.inf))] for s in stretches]
        high = [s[np.argmax(np.nan_to_num(y[s], nan=-np.inf))] for s in stretches]
        kept = np.unique(low + high)
        x, y = x[kept], y[kept]
    return x.tolist(), clean(y.tolist())


def clean(values: Iterable | None) -> list:
    """None in place of what JSON cannot hold; six digits are more than a plot shows."""
    return [float(f"{v:.6g}") if is_number(v) else None for v in values or ()]


def clipping_by_layer(steps: list[dict]) -> list[dict]:
    """Minimum, median and clipped share of each layer's factor, most clipped first.

    A line of the log leaves out the layers that were not clipped in its step.
    """
    layers = []
    for name in names(steps, "clipping"):
        _, y = series(
            steps, lambda line, name=name: line["clipping"].get(name, 1.0), "clipping"
        )
        if len(y) and not np.isnan(y).all():
            least, median = float(np.nanmin(y)), float(np.nanmedian(y))
            share = float(np.nanmean(y < 1))
            layers.append(
                {"name": name, "minimum": least, "median": median, "clipped": share}
            )
    return sorted(layers, key=lambda layer: (layer["median"], layer["minimum"]))
