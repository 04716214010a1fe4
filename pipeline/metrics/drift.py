"""How far a model's predictions moved from the baseline's, on the same rows."""

from collections.abc import Mapping

import numpy as np

BINS = 10  # tenths of the baseline's predictions
BARS = 40  # of the histogram in the report
NOTHING: Mapping = {}
FLOOR = 1e-6  # share of an empty bin, so that its logarithm exists


def measure_drift(
    outputs: Mapping, baseline: Mapping, weights: Mapping = NOTHING
) -> dict[str, dict]:
    """Population stability index and histograms of every output.

    Args:
        outputs: Output name -> predictions ``[rows]``.
        baseline: The same of the baseline.
        weights: Output name -> how many rows each row stands for; ones by default.

    Returns:
        Output name -> ``psi`` and ``histogram`` with ``edges``, ``model`` and
        ``baseline`` (shares of the rows).
    """
    return {
        name: {
            "psi": stability_index(values, baseline[name], weights.get(name)),
            "histogram": histogram(values, baseline[name], weights.get(name)),
        }
        for name, values in outputs.items()
        if name in baseline and len(values)
    }


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
    if not (np.isfinite(values).all() and np.isfinite(reference).all()):
        return float("nan")
    edges = np.unique(_quantiles(reference, weights))
    shares = []
    for part in (values, reference):
        bins = np.searchsorted(edges, part, "left")
        counts = np.bincount(bins, weights, len(edges) + 1)
        shares.append(np.maximum(counts / counts.sum(), FLOOR))
    p, q = shares
    return float(np.sum((p - q) * np.log(p / q)))


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
