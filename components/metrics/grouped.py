"""Exact ranking metrics in NumPy: sorting, no thresholds, no TensorFlow.

All sums are float64.  What is not defined (one class only, no rows, a NaN among the
scores) is NaN, which a gate refuses; nothing is quietly replaced.
"""

import numpy as np

from steadyrank.components.metrics.auc import StreamingAuc

_PLACES = 10  # of a list that NDCG looks at
_SMALLEST = 1e-15  # probabilities are kept this far from 0 and 1 in a logarithm


def _float64(*arrays):
    return [np.asarray(array, np.float64).ravel() for array in arrays]


def _segment_starts(*sorted_keys):
    """True where any of the sorted keys differs from the row before it."""
    starts = np.zeros(len(sorted_keys[0]), bool)
    starts[:1] = True
    for key in sorted_keys:
        starts[1:] |= key[1:] != key[:-1]
    return starts


def _pairs_won(labels, scores, weights, groups):
    """Sorted by group and score: positive rows' weighted wins over negatives.

    Returns:
        ``(group [n], positive [n], negative [n], won [n])``: for each row its group, its
        weight as positive and as negative, and positive times the negative weight of
        its group that scores less, ties counting half.
    """
    order = np.lexsort((scores, groups))
    group, score = groups[order], scores[order]
    positive = np.where(labels[order] > 0.5, weights[order], 0.0)
    negative = weights[order] - positive
    tie = np.cumsum(_segment_starts(group, score)) - 1
    in_tie = np.bincount(tie, negative)
    below_tie = np.cumsum(in_tie) - in_tie
    first_tie_of_group = tie[_segment_starts(group)]
    below_group = below_tie[first_tie_of_group][np.cumsum(_segment_starts(group)) - 1]
    beaten = below_tie[tie] - below_group + in_tie[tie] / 2
    return group, positive, negative, positive * beaten


def auc(labels, scores, weights=None):
    """Area under the ROC curve: the share of (positive, negative) pairs in order.

    Without weights and of float32 scores, which models give, it is counted in whole
    numbers, by ``StreamingAuc``, which sorts words instead of indices: several times as
    fast, and nothing is rounded before the last division.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``, any monotone score; ties count half.
        weights: ``[n]``, non-negative; ones by default.

    Returns:
        float; NaN without both classes.
    """
    if weights is None and getattr(scores, "dtype", None) == np.float32:
        area = StreamingAuc()
        area.update(labels, scores)
        return area.result()
    labels, scores = _float64(labels, scores)
    weights = np.ones_like(labels) if weights is None else _float64(weights)[0]
    if not len(labels) or np.isnan(scores).any():
        return float("nan")
    groups = np.zeros(len(labels), np.int8)
    _, positive, negative, won = _pairs_won(labels, scores, weights, groups)
    pairs = positive.sum() * negative.sum()
    return float(won.sum() / pairs) if pairs > 0 else float("nan")


def pr_auc(labels, scores, weights=None):
    """Average precision: precision at each threshold, weighted by the recall it adds.

    The step-wise area under the precision-recall curve.  Unlike AUC it depends on the
    share of positives, which is what a random score reaches.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``; rows that tie come in together.
        weights: ``[n]``, non-negative; ones by default.

    Returns:
        float; NaN without positives, or with a NaN among the scores.
    """
    labels, scores = _float64(labels, scores)
    weights = np.ones_like(labels) if weights is None else _float64(weights)[0]
    if not len(labels) or np.isnan(scores).any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    positive = np.where(labels[order] > 0.5, weights[order], 0.0)
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    found = np.cumsum(positive)[last_of_tie]
    seen = np.cumsum(weights[order])[last_of_tie]
    if not found[-1] > 0:
        return float("nan")
    precision = np.where(seen > 0, found / np.where(seen > 0, seen, 1.0), 0.0)
    return float(np.sum(np.diff(found, prepend=0.0) * precision) / found[-1])


def gauc(labels, scores, groups, weights=None):
    """Mean of each group's AUC, weighted by its rows, over groups with both classes.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``.
        groups: ``[n]``, the group of each row (a user, say), numbers or strings.
        weights: ``[n]``, how many rows each stands for; ones by default.

    Returns:
        float; NaN where no group has both classes.
    """
    labels, scores = _float64(labels, scores)
    if not len(labels) or np.isnan(scores).any():
        return float("nan")
    values, groups = np.unique(np.asarray(groups).ravel(), return_inverse=True)
    areas, rows = group_aucs(labels, scores, groups, len(values), weights=weights)
    return float(np.average(areas, weights=rows)) if rows.any() else float("nan")


def group_aucs(labels, scores, groups, count, *, weights=None):
    """Each group's AUC, and its rows; 0 rows where a group has one class only.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``.
        groups: ``[n]``, int, from 0.
        count: Number of groups.
        weights: ``[n]``, how many rows each stands for; ones by default.

    Returns:
        ``(areas [count], rows [count])``; an area without rows is 0.
    """
    labels, scores = _float64(labels, scores)
    weights = np.ones_like(labels) if weights is None else _float64(weights)[0]
    group, *counted = _pairs_won(labels, scores, weights, groups)
    positive, negative, won = (np.bincount(group, part, count) for part in counted)
    pairs = positive * negative
    areas = won / np.where(pairs > 0, pairs, 1.0)
    return areas, np.where(pairs > 0, positive + negative, 0.0)


def ndcg(labels, scores, groups, weights=None):
    """NDCG@10: mean over groups with both classes of each group's, all alike.

    Args:
        labels: ``[n]``, 0 or 1: the gain.
        scores: ``[n]``.
        groups: ``[n]``, the group of each row (a user, say), numbers or strings.
        weights: ``[n]``, how many rows each stands for; ones by default.

    Returns:
        float; NaN where no group has both classes.
    """
    labels, scores = _float64(labels, scores)
    if not len(labels) or np.isnan(scores).any():
        return float("nan")
    values, groups = np.unique(np.asarray(groups).ravel(), return_inverse=True)
    gains, told = group_ndcgs(labels, scores, groups, len(values), weights=weights)
    return float(np.average(gains, weights=told)) if told.any() else float("nan")


def group_ndcgs(labels, scores, groups, count, *, weights=None):
    """Each group's NDCG@10, and whether it has both classes.

    Rows that tie share the discounts of their places (as in McSherry and Najork, 2008).
    A row that stands for several takes as many places, in fractions where need be.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``.
        groups: ``[n]``, int, from 0.
        count: Number of groups.
        weights: ``[n]``, how many rows each stands for; ones by default.

    Returns:
        ``(ndcg [count], told [count])``; ``told`` is 1.0 or 0.0, without it the NDCG is 0.
    """
    labels, scores = _float64(labels, scores)
    weights = np.ones_like(labels) if weights is None else _float64(weights)[0]
    order = np.lexsort((-scores, groups))
    group, score, weight = groups[order], scores[order], weights[order]
    gain = np.where(labels[order] > 0.5, weight, 0.0)
    tie = np.cumsum(_segment_starts(group, score)) - 1
    of_tie = group[_segment_starts(group, score)]
    taken = np.bincount(tie, weight)
    end = np.cumsum(taken)
    every, positive = np.bincount(group, weight, count), np.bincount(group, gain, count)
    end -= (np.cumsum(every) - every)[of_tie]
    share = (_discounts(end) - _discounts(end - taken)) / np.where(taken > 0, taken, 1.0)
    found = np.bincount(of_tie, np.bincount(tie, gain) * share, count)
    best = _discounts(positive)
    told = (positive > 0) & (positive < every)
    return np.where(told, found / np.where(best > 0, best, 1.0), 0.0), told.astype(float)


def _discounts(places):
    """Sum of 1 / log2(place + 1) over the first places, at most 10; in between linear."""
    sums = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, _PLACES + 2)))])
    return np.interp(places, np.arange(_PLACES + 1), sums)


def log_loss(labels, probabilities):
    """Mean binary cross-entropy, in nats.

    Args:
        labels: ``[n]``, 0 or 1.
        probabilities: ``[n]``; taken for 1e-15 off 0 and 1 where they are nearer.

    Returns:
        float; NaN without rows.
    """
    losses = row_log_loss(labels, probabilities)
    return float(np.mean(losses)) if len(losses) else float("nan")


def row_log_loss(labels, probabilities):
    """Binary cross-entropy of each row, in nats.

    Args:
        labels: ``[n]``, 0 or 1.
        probabilities: ``[n]``; taken for 1e-15 off 0 and 1 where they are nearer.

    Returns:
        float64 ``[n]``.
    """
    labels, p = _float64(labels, probabilities)
    p = np.clip(p, _SMALLEST, 1 - _SMALLEST)
    return -(labels * np.log(p) + (1 - labels) * np.log1p(-p))


def normalized_entropy(labels, probabilities):
    """Log loss over that of always predicting the mean label (He et al. 2014).

    Args:
        labels: ``[n]``, 0 or 1.
        probabilities: ``[n]``; taken for 1e-15 off 0 and 1 where they are nearer.

    Returns:
        float; below 1 is better than knowing the base rate only, NaN where there is one
        class.
    """
    (labels,) = _float64(labels)
    if not len(labels) or labels.min() == labels.max():
        return float("nan")
    return log_loss(labels, probabilities) / log_loss(
        labels, np.full(len(labels), labels.mean())
    )


def calibration(labels, predictions):
    """Sum of the predictions over the sum of the labels: 1 is right on the whole.

    Args:
        labels: ``[n]``.
        predictions: ``[n]``, in the labels' unit.

    Returns:
        float; NaN where the labels add up to 0.
    """
    labels, predictions = _float64(labels, predictions)
    observed = labels.sum()
    return float(predictions.sum() / observed) if observed else float("nan")


def calibration_curve(labels, predictions, bins=10):
    """Mean prediction and mean label in bins of as equal numbers of rows as possible.

    Args:
        labels: ``[n]``.
        predictions: ``[n]``.
        bins: Largest number of bins; fewer where there are fewer rows.

    Returns:
        ``{"predicted": [...], "observed": [...], "rows": [...]}``, predictions rising.
    """
    labels, predictions = _float64(labels, predictions)
    order = np.argsort(predictions, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return {
        "predicted": [float(predictions[part].mean()) for part in parts],
        "observed": [float(labels[part].mean()) for part in parts],
        "rows": [len(part) for part in parts],
    }


def roc_curve(labels, scores, points=200):
    """The ROC curve, thinned to at most ``points`` points evenly spaced along it.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``.
        points: Largest number of points, at least 2.

    Returns:
        ``{"false_positive_rate": [...], "true_positive_rate": [...]}`` from (0, 0) to
        (1, 1); empty lists without both classes.
    """
    labels, scores = _float64(labels, scores)
    if np.isnan(auc(labels, scores)):
        return {"false_positive_rate": [], "true_positive_rate": []}
    order = np.argsort(-scores, kind="stable")
    positive = labels[order] > 0.5
    last_of_tie = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true = np.append(0.0, np.cumsum(positive)[last_of_tie] / positive.sum())
    false = np.append(0.0, np.cumsum(~positive)[last_of_tie] / (~positive).sum())
    places = np.searchsorted(true + false, np.linspace(0.0, 2.0, points) - 1e-12)
    places = np.unique(places) if len(true) > points else np.arange(len(true))
    return {
        "false_positive_rate": false[places].tolist(),
        "true_positive_rate": true[places].tolist(),
    }


def mse(labels, predictions):
    """Mean squared error.

    Args:
        labels: ``[n]``.
        predictions: ``[n]``, in the labels' unit.

    Returns:
        float, in the square of the labels' unit; NaN without rows.
    """
    labels, predictions = _float64(labels, predictions)
    return float(np.mean((labels - predictions) ** 2)) if len(labels) else float("nan")


def mae(labels, predictions):
    """Mean absolute error.

    Args:
        labels: ``[n]``.
        predictions: ``[n]``, in the labels' unit.

    Returns:
        float, in the labels' unit; NaN without rows.
    """
    labels, predictions = _float64(labels, predictions)
    return float(np.mean(np.abs(labels - predictions))) if len(labels) else float("nan")


def rmse(labels, predictions):
    """Root of the mean squared error.

    Args:
        labels: ``[n]``.
        predictions: ``[n]``, in the labels' unit.

    Returns:
        float, in the labels' unit; NaN without rows.
    """
    return float(np.sqrt(mse(labels, predictions)))
