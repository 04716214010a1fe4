"""The mean of a value that was learned transformed. No TensorFlow here.

A net that learns log(1 + y) by its squared error foretells the mean of the logarithm, and
turned back that is too low: the logarithm of a mean is above the mean of logarithms.
"""

import numpy as np

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
