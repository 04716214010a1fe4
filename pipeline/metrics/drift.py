"""How far a model's predictions moved from the baseline's, on the same rows."""

from collections.abc import Mapping

import numpy as np

from steadyrank.components.metrics import bootstrap
from steadyrank.pipeline.metrics.uncertainty import error_of, interval_of

BINS = 10  # tenths of the baseline's predictions
BARS = 40  # of the histogram in the report
NOTHING: Mapping = {}
DRIFT_SEED = 2
FLOOR = 1e-6  # share of an empty bin, so that its logarithm exists


def measure_drift(
    outputs: Mapping,
    baseline: Mapping,
    weights: Mapping = NOTHING,
    *,
    groups: np.ndarray | None = None,
    repetitions: int = bootstrap.REPETITIONS,
) -> dict[str, dict]:
    """Population stability index and histograms of every output.

    Args:
        outputs: Output name -> predictions ``[rows]``.
        baseline: The same of the baseline.
        weights: Output name -> how many rows each row stands for; ones by default.
        groups: int ``[rows]``, those that are drawn for the interval; each row by default.
        repetitions: Samples drawn.

    Returns:
        Output name -> ``psi``, its ``interval`` of 95 % and ``histogram`` with ``edges``,
        ``model`` and ``baseline`` (shares of the rows).
    """
    found = {}
    for name, values in outputs.items():
        if name not in baseline or not len(values):
            continue
        each, stands = (values, baseline[name]), weights.get(name)
        found[name] = {
            **_index_of(*each, stands, groups=groups, repetitions=repetitions),
            "histogram": histogram(*each, stands),
        }
    return found


def stability_index(
    values: np.ndarray, reference: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Population stability index: sum over bins of (p - q) ln(p / q).

    The bins are tenths of the reference.  By custom, below 0.1 is stable and above 0.25
    another distribution.

    Args:
        values: ``[n]``.
        reference: ``[n]``, of the same rows.
        weights: ``[n]``, how many rows each stands for; ones by default.

    Returns:
        The index; NaN where a value is not finite.
    """
    values, reference = np.asarray(values, float), np.asarray(reference, float)
    if not _finite(values, reference):
        return float("nan")
    bins, count = _binned(values, reference, weights)
    return float(_index(*(np.bincount(part, weights, count) for part in bins)))


def _index_of(values, reference, weights, *, groups, repetitions: int) -> dict:
    """``psi``, and how far it would scatter on other groups, the bins as they are."""
    values, reference = np.asarray(values, float), np.asarray(reference, float)
    psi = stability_index(values, reference, weights)
    if not np.isfinite(psi):
        return {"psi": psi, "interval": None}
    users, keys = bootstrap.number_groups(groups, len(values))
    bins, count = _binned(values, reference, weights)
    cells = [
        np.bincount(users * count + part, weights, len(keys) * count).reshape(-1, count)
        for part in bins
    ]
    drawn = [
        _index(*(weight.astype(float) @ each for each in cells))
        for weight in bootstrap.draw(keys, repetitions, len(values) * count, DRIFT_SEED)
    ]
    error = error_of(np.concatenate(drawn), len(keys))
    interval = interval_of(psi, error, len(keys))
    return {"psi": psi, "interval": interval and [max(interval[0], 0.0), interval[1]]}


def _finite(*columns: np.ndarray) -> bool:
    return all(np.isfinite(column).all() for column in columns)


def _binned(values, reference, weights) -> tuple[list[np.ndarray], int]:
    """The bin of each value of both, and how many bins there are."""
    edges = np.unique(_quantiles(reference, weights))
    bins = [np.searchsorted(edges, part, "left") for part in (values, reference)]
    return bins, len(edges) + 1


def _index(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The index of rows in each bin ``[..., bins]``."""
    with np.errstate(invalid="ignore"):
        p, q = (
            np.maximum(each / each.sum(-1, keepdims=True), FLOOR)
            for each in (found, expected)
        )
    return np.sum((p - q) * np.log(p / q), axis=-1)


def _quantiles(values: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The inner tenths of some values, each of which stands for so many rows."""
    tenths = np.arange(1, BINS) / BINS
    if weights is None:
        return np.quantile(values, tenths)
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    places = np.searchsorted(below, tenths * below[-1], "left")
    return values[order][places]


def histogram(
    values: np.ndarray, reference: np.ndarray, weights: np.ndarray | None = None
) -> dict:
    """Shares of both in bars of equal width, logarithmic where all are positive."""
    both = np.concatenate([values, reference]).astype(float)
    both = both[np.isfinite(both)]
    if not len(both):
        return {"edges": [], "model": [], "baseline": []}
    low, high = np.quantile(both, [0.001, 0.999])
    apart = low > 0 and high > 20 * low
    space = np.geomspace if apart else np.linspace
    edges = space(low, high if high > low else low + 1e-6, BARS + 1)
    stands = np.ones(len(values)) if weights is None else weights
    found = [
        np.histogram(np.clip(v, edges[0], edges[-1]), edges, weights=stands)[0]
        for v in (values, reference)
    ]
    model, base = (counts / max(stands.sum(), 1) for counts in found)
    shares = {"model": model.tolist(), "baseline": base.tolist()}
    return {"edges": edges.tolist(), **shares}
