"""How far metrics would scatter on other users: the paired bootstrap over groups.

Rows of one user are alike, so users are drawn, not rows.  A drawn sample is a weight for
every group; metrics of all models are taken under the same weights, so that what models
have in common cancels in their difference.  NumPy alone; no loop over rows.
"""

import statistics

import numpy as np

from steadyrank.components.metrics import grouped

REPETITIONS = 200  # a standard error is then known to about 5 %
FEWEST = 10  # groups with positives, and with negatives, below which no error is told
DECILES = 10
_CELLS = 1 << 22  # of a block of repetitions times rows, in memory at once
_DRAWS = 1 << 16
_LANES = 4  # draws of 16 bits in a word
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _poisson_table():
    """Poisson(1) by its inverse distribution function, for 16 random bits."""
    counts = np.arange(10)
    factorials = np.cumprod(np.maximum(counts, 1)).astype(float)
    below = np.cumsum(np.exp(-1.0) / factorials)
    return np.searchsorted(below, (np.arange(_DRAWS) + 0.5) / _DRAWS).astype(np.uint8)


_POISSON = _poisson_table()


class Ranking:
    """One model's scores, sorted once, for its areas under any weights of the groups.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``.
        groups: ``[n]``, int, from 0.
        negative_rate: As of ``Sums``.
    """

    def __init__(self, labels, scores, groups, negative_rate=1.0):
        positive = np.asarray(labels) > 0.5
        above, below = np.sort(scores[positive]), scores[~positive]
        order = np.argsort(below, kind="stable")
        self._positives = groups[positive][np.argsort(scores[positive], kind="stable")]
        self._negatives = groups[~positive][order]
        self._less = np.searchsorted(below[order], above, "left")
        self._at_most = np.searchsorted(below[order], above, "right")
        self._first_of_tie = np.searchsorted(above, above, "left")
        self._stands = 1 / negative_rate

    def areas(self, weights):
        """AUC, ties counting half, and PR-AUC (average precision) under weights.

        Args:
            weights: ``[r, groups]``, non-negative integers.

        Returns:
            ``auc`` and ``pr_auc``, each ``[r]``; NaN where a class that it needs has no
            weight.
        """
        lost = np.zeros((len(weights), len(self._negatives) + 1))
        np.cumsum(weights[:, self._negatives], axis=1, out=lost[:, 1:])
        positive = weights[:, self._positives].astype(float)
        less, every = lost[:, self._less], lost[:, -1:]
        won = positive * (less + lost[:, self._at_most])
        total = positive.sum(1)
        pairs = total * every[:, 0]
        found = np.cumsum(positive[:, ::-1], axis=1)[:, ::-1][:, self._first_of_tie]
        beside = self._stands * (every - less)
        with np.errstate(invalid="ignore", divide="ignore"):
            precise = np.where(positive > 0, positive * found / (found + beside), 0.0)
            return {
                "auc": np.where(pairs > 0, won.sum(1) / 2 / pairs, np.nan),
                "pr_auc": np.where(total > 0, precise.sum(1) / total, np.nan),
            }


class Sums:
    """One model's metrics that are quotients of sums over rows.

    Args:
        labels: ``[n]``.
        outputs: ``[n]``, probabilities; values where ``binary`` is False.
        groups: ``[n]``, int, from 0.
        count: Number of groups.
        binary: Whether labels are 0 or 1.
        negative_rate: The fraction of the negatives that the rows are a sample of: each
            stands for 1 / ``negative_rate`` rows.
    """

    def __init__(self, labels, outputs, groups, count, *, binary=True, negative_rate=1.0):
        self._binary = binary
        rows = np.where(labels > 0.5, 1.0, 1 / negative_rate) if binary else None
        stands = 1.0 if rows is None else rows
        order = np.argsort(outputs, kind="stable")
        decile = np.empty(len(outputs), np.int64)
        decile[order] = np.arange(len(outputs)) * DECILES // max(len(outputs), 1)
        columns = [_by_group(groups, count, v) for v in (rows, labels, stands * outputs)]
        columns += _deciles(groups, count, decile, labels)
        columns += _deciles(groups, count, decile, stands * outputs)
        if binary:
            area, ranked = grouped.group_aucs(labels, outputs, groups, count, weights=rows)
            loss = rows * grouped.row_log_loss(labels, outputs)
            columns += [_by_group(groups, count, loss), area * ranked, ranked]
        else:
            gap = labels - outputs
            columns += [_by_group(groups, count, v) for v in (gap**2, np.abs(gap))]
        self._columns = np.stack(columns, 1)

    def metrics(self, weights):
        """The metrics under some weights of the groups.

        Args:
            weights: ``[r, groups]``, non-negative integers.

        Returns:
            Name -> float64 ``[r]``, of ``deciles`` ``[r, 10]``; NaN where not defined.
        """
        with np.errstate(invalid="ignore", over="ignore"):  # of outputs without bounds
            sums = (weights.astype(float) @ self._columns).T
        rows, observed, predicted = sums[:3]
        end = 3 + 2 * DECILES
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {
                "calibration": predicted / observed,
                "deciles": (sums[3 + DECILES : end] / sums[3 : 3 + DECILES]).T,
            }
            if self._binary:
                rate = observed / rows
                entropy = -rate * np.log(rate) - (1 - rate) * np.log1p(-rate)
                loss = sums[end] / rows
                found |= {"log_loss": loss, "normalized_entropy": loss / entropy}
                found["gauc"] = sums[end + 1] / sums[end + 2]
            else:
                squares, gaps = sums[end : end + 2] / rows
                found |= {"mse": squares, "rmse": np.sqrt(squares), "mae": gaps}
        return {name: np.where(np.isfinite(v), v, np.nan) for name, v in found.items()}


def _by_group(groups, count, values):
    return np.bincount(groups, values, count).astype(float)


def _deciles(groups, count, decile, values):
    """Sums of the values in each decile, by group: a list of ``[groups]``."""
    cells = np.bincount(decile * count + groups, values, DECILES * count)
    return list(cells.reshape(DECILES, count))


def draw(keys, repetitions, rows, seed):
    """Weights of the groups in drawn samples, block by block.

    A weight hangs on the group's key, the number of the sample and the seed alone: samples
    of other models, drawn elsewhere and later, are the same wherever the groups are.

    Args:
        keys: ``[groups]``, int64, what each group is called; no two are alike.
        repetitions: Number of samples.
        rows: Rows of the data, which limit a block.
        seed: A number; the same one draws the same samples.

    Yields:
        ``[r, groups]`` uint8: how often each group was drawn, Poisson(1).
    """
    with np.errstate(over="ignore"):
        start = np.asarray(keys, np.int64).view(np.uint64) + _mixed(np.uint64(seed))
        start = _mixed(start)
    words = -(-repetitions // _LANES)
    block = max(1, _CELLS // max(rows, len(start), 1) // _LANES)
    for first in range(0, words, block):
        numbers = np.arange(first + 1, min(first + block, words) + 1, dtype=np.uint64)
        with np.errstate(over="ignore"):
            bits = _mixed(start + numbers[:, None] * _GOLDEN)
        lanes = bits.view(np.uint16).reshape(len(numbers), len(start), _LANES)
        drawn = _POISSON[lanes.swapaxes(1, 2).reshape(_LANES * len(numbers), len(start))]
        yield drawn[: repetitions - first * _LANES]


def _mixed(words):
    """The words, uint64, each stirred to 64 random bits (SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def resample(
    labels,
    outputs,
    groups=None,
    *,
    binary=True,
    negative_rate=1.0,
    repetitions=REPETITIONS,
    seed=1,
    score=(),
):
    """Metrics of models on drawn samples of the groups, the same for all models.

    Args:
        labels: ``[n]``.
        outputs: One ``[n]`` for each model.
        groups: ``[n]``, numbers or strings; None: every row is a group.
        binary: Whether labels are 0 or 1; else the metrics of values.
        negative_rate: The fraction of the negatives that the rows hold, see ``Sums``.
        repetitions: Samples drawn.
        seed: Of the draw.
        score: One ``[n]`` for each model: what its rows are ordered by within a group, for
            ``score_gauc``, ``score_ndcg`` and ``score_ndcg_chance``; empty: none of these.

    Returns:
        Name -> ``[models, repetitions]``, of ``deciles`` ``[models, repetitions, 10]``.
    """
    labels = np.asarray(labels, float)
    outputs = [np.asarray(output, float) for output in outputs]
    groups, keys = number_groups(groups, len(labels))
    settings = {"binary": binary, "negative_rate": negative_rate}
    models = [
        Sums(labels, output, groups, len(keys), **settings).metrics for output in outputs
    ]
    if binary:
        ranked = [Ranking(labels, o, groups, negative_rate).areas for o in outputs]
        models = [_both(*pair) for pair in zip(models, ranked, strict=True)]
    if len(score):
        ordered = [
            Ordering(labels, s, groups, len(keys), negative_rate=negative_rate)
            for s in score
        ]
        pairs = zip(models, ordered, strict=True)
        models = [_both(model, each.metrics) for model, each in pairs]
    drawn = []
    for weights in draw(keys, repetitions, len(labels), seed):
        found = [of_model(weights) for of_model in models]
        drawn.append({name: np.stack([f[name] for f in found]) for name in found[0]})
    return {name: np.concatenate([d[name] for d in drawn], 1) for name in drawn[0]}


def _both(first, second):
    return lambda weights: first(weights) | second(weights)


class Ordering:
    """How well a score orders each group's rows, under any weights of the groups.

    Args:
        labels: ``[n]``, 0 or 1.
        scores: ``[n]``.
        groups: ``[n]``, int, from 0.
        count: Number of groups.
        negative_rate: As of ``Sums``.
    """

    def __init__(self, labels, scores, groups, count, *, negative_rate=1.0):
        stands = np.where(labels > 0.5, 1.0, 1 / negative_rate)
        area, ranked = grouped.group_aucs(labels, scores, groups, count, weights=stands)
        chance = np.zeros(len(labels))
        columns = [area * ranked, ranked]
        for each in (scores, chance):
            gain, told = grouped.group_ndcgs(labels, each, groups, count, weights=stands)
            columns.append(gain * told)
        self._columns = np.stack([*columns, told], 1)

    def metrics(self, weights):
        """The score's metrics under some weights of the groups.

        Args:
            weights: ``[r, groups]``, non-negative integers.

        Returns:
            Name -> float64 ``[r]``; NaN where no group that tells was drawn.
        """
        area, ranked, gain, chance, told = (weights.astype(float) @ self._columns).T
        with np.errstate(invalid="ignore", divide="ignore"):
            found = {
                "score_gauc": area / ranked,
                "score_ndcg": gain / told,
                "score_ndcg_chance": chance / told,
            }
        return {name: np.where(np.isfinite(v), v, np.nan) for name, v in found.items()}


def number_groups(groups, rows):
    """Groups as integers, and what each is called, for ``draw``.

    Args:
        groups: ``[rows]``, numbers or strings; None: every row is a group.
        rows: Number of rows, an int.

    Returns:
        ``(numbers int [rows] from 0, keys int64 [groups])``.
    """
    if groups is None:
        return np.arange(rows), np.arange(rows)
    values, numbers = np.unique(np.asarray(groups).ravel(), return_inverse=True)
    whole = np.issubdtype(values.dtype, np.signedinteger)
    return numbers.ravel(), values.astype(np.int64) if whole else np.arange(len(values))


def scarcest(labels, groups=None):
    """Groups that hold a positive, or a negative row, whichever are fewer.

    Args:
        labels: ``[n]``, 0 or 1.
        groups: ``[n]``, numbers or strings; None: every row is a group.

    Returns:
        int.
    """
    groups, _ = number_groups(groups, len(labels))
    positive = np.asarray(labels) > 0.5
    return min(len(np.unique(groups[positive])), len(np.unique(groups[~positive])))


def mixed(labels, groups=None):
    """Groups that hold rows of both classes: those alone tell how a group is ordered.

    Args:
        labels: ``[n]``, 0 or 1.
        groups: ``[n]``, numbers or strings; None: every row is a group.

    Returns:
        int.
    """
    groups, keys = number_groups(groups, len(labels))
    positive = np.bincount(groups, np.asarray(labels) > 0.5, len(keys))
    rows = np.bincount(groups, minlength=len(keys))
    return int(((positive > 0) & (positive < rows)).sum())


def standard_error(values):
    """Standard deviation over drawn samples, those of NaN left out.

    Args:
        values: ``[repetitions, ...]``.

    Returns:
        float64 ``[...]``; NaN unless more than half of the samples are finite.
    """
    values = np.asarray(values, float)
    known = np.isfinite(values).sum(0)
    mean = np.nansum(values, 0) / np.maximum(known, 1)
    squares = np.nansum((values - mean) ** 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(2 * known > len(values), np.sqrt(squares / (known - 1)), np.nan)


def quantile(confidence, groups):
    """How many standard errors a bound lies off, so that it holds with a confidence.

    Student's t with ``groups - 1`` degrees of freedom, by its expansion around the normal
    distribution (Abramowitz and Stegun 26.7.5), right to 1 % from ten groups on.

    Args:
        confidence: Of one bound, in (0.5, 1).
        groups: Number of groups that were drawn from.

    Returns:
        float.
    """
    z, free = statistics.NormalDist().inv_cdf(confidence), max(groups - 1, 1)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / free + second / free**2
