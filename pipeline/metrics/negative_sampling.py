"""Metrics of the whole log, from rows of which only a part of the negatives was kept.

Every positive stands for itself and every negative for ``1 / rate`` rows: that undoes
the sampling of the evaluation data, as the export undoes that of the training data.
AUC and ROC need none of it, as each negative weighs the same, nor does the AUC of
a group; GAUC weighs a group by the rows that those kept of it stand for.
"""

import numpy as np

from steadyrank.components.metrics import grouped


def row_weights(labels: np.ndarray, rate: float) -> np.ndarray:
    """How many rows of the whole log each row stands for.

    Args:
        labels: ``[rows]``, 0 or 1.
        rate: Fraction of the negatives that was kept.
    """
    return np.where(labels > 0.5, 1.0, 1.0 / rate)


def whole_log_metrics(
    labels: np.ndarray,
    outputs: np.ndarray,
    rate: float,
    groups: np.ndarray | None = None,
) -> dict:
    """What depends on the share of positives, negatives weighed.

    Args:
        labels: ``[rows]``, 0 or 1.
        outputs: ``[rows]``, probabilities in the whole log.
        rate: Fraction of the negatives that was kept.
        groups: ``[rows]``, for GAUC; None: there is none.

    Returns:
        What replaces the plain ``log_loss``, ``normalized_entropy``, ``calibration``,
        ``pr_auc`` and, with groups, ``gauc``; NaN where they are not defined.  And
        ``base_rate``, the share of positives in the whole log.
    """
    names = ("log_loss", "normalized_entropy", "calibration", "pr_auc")
    nothing = dict.fromkeys(names, float("nan"))
    if groups is not None:
        stands = row_weights(labels, rate)
        nothing["gauc"] = grouped.gauc(labels, outputs, groups, stands)
    if not len(labels):
        return nothing
    labels, outputs = np.asarray(labels, float), np.asarray(outputs, float)
    weights = row_weights(labels, rate)
    loss = float(np.average(grouped.row_log_loss(labels, outputs), weights=weights))
    if not labels.any():
        return nothing | {"log_loss": loss}
    calibration = float((weights * outputs).sum() / (weights * labels).sum())
    found = nothing | {"log_loss": loss, "calibration": calibration}
    found["base_rate"] = float(np.average(labels, weights=weights))
    found["pr_auc"] = grouped.pr_auc(labels, outputs, weights)
    if labels.all():
        return found
    base = np.full(len(labels), found["base_rate"])
    entropy = np.average(grouped.row_log_loss(labels, base), weights=weights)
    return found | {"normalized_entropy": loss / float(entropy)}


def whole_log_curve(labels: np.ndarray, outputs: np.ndarray, rate: float, bins=10) -> dict:
    """``metrics.calibration_curve`` with the negatives weighed."""
    labels, outputs = np.asarray(labels, float), np.asarray(outputs, float)
    weights, order = row_weights(labels, rate), np.argsort(outputs, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]

    def mean(values):
        return [float(np.average(values[p], weights=weights[p])) for p in parts]

    return {
        "predicted": mean(outputs),
        "observed": mean(labels),
        "rows": [len(part) for part in parts],
    }
