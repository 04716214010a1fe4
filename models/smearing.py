"""The mean of a value that was learned transformed. No TensorFlow here.

A net that learns log(1 + y) by its squared error foretells the mean of the logarithm, and
turned back that is too low: the logarithm of a mean is above the mean of logarithms.
"""

import numpy as np

LEVELS = 10  # points of a curve
_NO_CURVE = np.zeros(0), np.zeros(0)
MOST = 10.0  # times; beyond it the net has not learned, and no factor mends that


def smear(observed, predicted):
    """Factor that gives values turned back from a transform their observed mean.

        S = sum y / sum f(z)

    with y the labels, z the net's output and f what turns it back: the ratio form of
    Duan's smearing estimate (JASA 1983), which holds where the spread of the errors
    depends on the value, too.

    Args:
        observed: float ``[rows]``, y.
        predicted: float ``[rows]``, f(z).

    Returns:
        S, between 1 / ``MOST`` and ``MOST``; 1 without rows, and where the sums are not
        of one sign.
    """
    observed, predicted = np.sum(observed, dtype=float), np.sum(predicted, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = observed / predicted
    if not (np.isfinite(factor) and factor > 0):
        return 1.0
    return float(np.clip(factor, 1 / MOST, MOST))


def level_curve(observed, predicted, levels: int = LEVELS):
    """How high values are that were foretold low, middling and high: a rising curve.

    Rows are cut by what was foretold into tenths, say, of which each gives a point; where
    a higher one was observed lower, both become one (the pool of adjacent violators, as in
    isotonic regression).  So the order of what is foretold stays as it is.

    Args:
        observed: float ``[rows]``, y.
        predicted: float ``[rows]``, f(z), at least 0.
        levels: How many points, at most.

    Returns:
        ``(x, y)``, float ``[K]`` both, rising: means of what was foretold and observed;
        without a point where nothing above 0 was foretold, or observed.
    """
    order = np.argsort(predicted, kind="stable")
    points: list[tuple[float, float, int]] = []
    for rows in np.array_split(order, levels):
        if len(rows):
            means = float(np.mean(predicted[rows])), float(np.mean(observed[rows]))
            points.append((*means, len(rows)))
        while len(points) > 1 and _falls(*points[-2:]):
            (x, y, n), (x2, y2, n2) = points.pop(), points.pop()
            whole = n + n2
            points.append(((x * n + x2 * n2) / whole, (y * n + y2 * n2) / whole, whole))
    known = [(x, y) for x, y, _ in points if x > 0 and y > 0]
    return tuple(np.array(values) for values in zip(*known, strict=True)) or _NO_CURVE


def _falls(before, after) -> bool:
    return not (after[0] > before[0] and after[1] > before[1])


def along(curve, predicted):
    """Values along a curve: straight between its points, in proportion beyond them.

    Args:
        curve: From ``level_curve``.
        predicted: float ``[rows]``, at least 0.

    Returns:
        float ``[rows]``; as foretold where the curve has no point.
    """
    x, y = curve
    if not len(x):
        return predicted
    inside = np.interp(predicted, x, y)
    low, high = predicted * (y[0] / x[0]), predicted * (y[-1] / x[-1])
    return np.where(predicted < x[0], low, np.where(predicted > x[-1], high, inside))
