"""The mean of a value that was learned transformed. No TensorFlow here.

A net that learns log(1 + y) by its squared error foretells the mean of the logarithm, and
turned back that is too low: the logarithm of a mean is above the mean of logarithms.  One
factor mends that on the whole, a curve among low and high values, too.
"""

import numpy as np

LEVELS = 10  # points of a curve
APART = 1e-5  # of a value: two points at least, or the curve in float32 has a step
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


def level_curve(observed, predicted):
    """How high values are that were foretold low, middling and high: a rising curve.

    Rows are cut into ``LEVELS`` by what was foretold, of which each gives a point: both
    means.  Where a higher one was observed lower, both become one, as in isotonic
    regression, so the order of what is foretold stays as it is.  Below the first it goes
    to 0, where 0 is foretold or, if that is above the first, the lowest.  All is scaled to
    the observed mean.

    Reference: Zadrozny and Elkan (KDD 2002), of probabilities.

    Args:
        observed: float ``[rows]``, y.
        predicted: float ``[rows]``, f(z).

    Returns:
        float ``[2, LEVELS + 1]``, points of what was foretold and of what was observed,
        both rising; ``straight()`` without rows, and where either is not above 0.
    """
    predicted, observed = (np.asarray(v, float) for v in (predicted, observed))
    if not len(predicted) or not np.isfinite(predicted).all():
        return straight()
    points: list[tuple[float, float, int]] = []
    for rows in np.array_split(np.argsort(predicted, kind="stable"), LEVELS):
        if len(rows):
            means = float(np.mean(predicted[rows])), float(np.mean(observed[rows]))
            points.append((*means, len(rows)))
        while len(points) > 1 and _falls(*points[-2:]):
            (x, y, n), (x2, y2, n2) = points.pop(), points.pop()
            whole = n + n2
            points.append(((x * n + x2 * n2) / whole, (y * n + y2 * n2) / whole, whole))
    known = [(x, y) for x, y, _ in points if y > 0]
    if not known or known[-1][0] <= 0:
        return straight()
    while len(known) < LEVELS:  # as it goes on beyond the last
        known.append((2 * known[-1][0], 2 * known[-1][1]))
    x, y = np.array([_below(known, float(predicted.min())), *known]).T
    return np.stack([x, y * smear(observed, along((x, y), predicted))])


def _below(points, lowest: float) -> tuple[float, float]:
    """Where a curve begins: not steeper than its first stretch, and not below 0."""
    (x, y), (x2, y2) = points[0], points[1]
    if x > 0:
        return 0.0, 0.0
    wide = x - lowest if x - lowest > APART * abs(x) else x2 - x
    return x - wide, y - max(min(y, wide * (y2 - y) / (x2 - x)), APART * y)


def straight():
    """The curve that leaves all as foretold: float ``[2, LEVELS + 1]``."""
    return np.stack([np.arange(LEVELS + 1.0)] * 2)


def _falls(before, after) -> bool:
    """Whether a point is not above another, as far as float32 tells them apart."""
    return not all(
        b - a > APART * abs(b) for a, b in zip(before[:2], after[:2], strict=True)
    )


def along(curve, predicted, maximum=np.maximum):
    """Values along a curve: straight between its points, straight on below the first two,
    and in proportion beyond the last.

    Args:
        curve: float ``[2, LEVELS + 1]``, or two of half of it: points, both rising; what is
            along them the other way round is undone.
        predicted: float ``[rows]``.
        maximum: NumPy's, or TensorFlow's of tensors.

    Returns:
        ``[rows]``.
    """
    x, y = curve[0], curve[1]
    slopes = [(y[k + 1] - y[k]) / (x[k + 1] - x[k]) for k in range(LEVELS)]
    slopes.append(y[LEVELS] / x[LEVELS])
    values = y[0] + slopes[0] * (predicted - x[0])
    for k in range(1, LEVELS + 1):
        values += (slopes[k] - slopes[k - 1]) * maximum(predicted - x[k], 0.0)
    return values
