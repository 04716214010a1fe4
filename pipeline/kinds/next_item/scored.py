"""How well an export ranks the item that came next, and how sure that is. NumPy alone.

N sequences; a rank is 0-based, over all known items.
"""

from collections.abc import Mapping

import numpy as np

from steadyrank.components.metrics import bootstrap
from steadyrank.pipeline.kinds.next_item.gates import TASK
from steadyrank.pipeline.metrics.samples import Samples, fingerprint_of
from steadyrank.pipeline.metrics.uncertainty import (
    bounded,
    difference_of,
    error_of,
    interval_of,
)

CUTOFFS = (5, 10, 20)
BOOTSTRAP_SEED = 1
SURE = 0.99  # of having learned: an idle model is judged every night


def row_metrics(ranks: np.ndarray) -> dict[str, np.ndarray]:
    """Each sequence's share in each metric, which is their mean.

    At rank r below k: 1 / (r + 1) for MRR@k, 1 for HR@k, 1 / log2(r + 2) for NDCG@k.

    Args:
        ranks: int ``[N]``.

    Returns:
        Metric -> float64 ``[N]``.
    """
    found = {}
    for k in CUTOFFS:
        hit = ranks < k
        found[f"mrr@{k}"] = hit / (ranks + 1.0)
        found[f"hr@{k}"] = hit.astype(float)
        found[f"ndcg@{k}"] = hit / np.log2(ranks + 2.0)
    return found


def summarise(
    ranks: np.ndarray,
    groups: np.ndarray,
    others: Mapping[str, np.ndarray],
    *,
    repetitions: int = bootstrap.REPETITIONS,
) -> dict:
    """Metrics, how far they would scatter on other users, and gains over other rankings.

    Args:
        ranks: int ``[N]``.
        groups: int ``[N]``, the users: they are drawn, not the rows.
        others: Name of a gain -> ranks ``[N]`` of what is compared with, on the same rows.
        repetitions: Samples drawn.

    Returns:
        ``kind``, ``rows``, ``groups`` (users with a hit of any ranking), each metric,
        ``errors``, ``intervals`` (of 95 %), and under the name of each gain metric ->
        ``difference``, ``error`` and ``interval``.
    """
    users, keys = bootstrap.number_groups(groups, len(ranks))
    rankings = {"": ranks, **others}
    by_row = {name: row_metrics(each) for name, each in rankings.items()}
    drawn = _draw(by_row, users, keys, repetitions)
    hit = np.any([each[f"hr@{CUTOFFS[-1]}"] > 0 for each in by_row.values()], axis=0)
    judged = len(np.unique(users[hit]))
    result = {"kind": TASK, "rows": len(ranks), "groups": judged}
    result |= {metric: _mean(values) for metric, values in by_row[""].items()}
    spread = {metric: error_of(drawn["", metric], judged) for metric in by_row[""]}
    result["errors"] = spread
    result["intervals"] = {
        m: bounded(m, interval_of(result[m], e, judged)) for m, e in spread.items()
    }
    for name in others:
        result[name] = {
            metric: difference_of(
                result[metric] - _mean(by_row[name][metric]),
                error_of(drawn["", metric] - drawn[name, metric], judged),
                judged,
            )
            for metric in by_row[name]
        }
    return result


def samples_of(ranks: np.ndarray, groups: np.ndarray, repetitions: int) -> Samples:
    """Metrics of drawn samples, to be compared with another model's."""
    users, keys = bootstrap.number_groups(groups, len(ranks))
    found = _draw({"": row_metrics(ranks)}, users, keys, repetitions)
    values = {metric: drawn for (_, metric), drawn in found.items()}
    return Samples({TASK: values}, {TASK: fingerprint_of(np.zeros(len(ranks)), groups)})


def chance_of(visible: np.ndarray) -> np.ndarray:
    """The MRR@20 that a random order of the visible items would give each sequence.

    Args:
        visible: int ``[N]``, among how many items the right one was ranked; 0: it was
            left out, and no order hits it.

    Returns:
        float64 ``[N]``.
    """
    hits = np.cumsum(1 / np.arange(1, CUTOFFS[-1] + 1))
    return np.where(visible > 0, hits[np.clip(visible, 1, len(hits)) - 1], 0.0) / (
        np.maximum(visible, 1)
    )


def learned(
    ranks: np.ndarray,
    popular: np.ndarray,
    visible: np.ndarray,
    groups: np.ndarray,
    *,
    targets: np.ndarray,
    repetitions: int,
    varies: bool,
) -> dict:
    """How far the MRR@20 lies above that of an order which is the same for all histories.

    Of two: a random order of the visible items, and that by popularity, which a model has
    after a few idle steps.  The one that hits more often is the constant.

    Users are drawn, and items that came next: a net of random weights that happens to rank
    an item high does so for all whom it came next to, whose rows tell the same thing.  The
    larger of both errors is taken.

    Args:
        ranks: int ``[N]``.
        popular: int ``[N]``, those of the order by popularity.
        visible: As ``chance_of`` takes it.
        groups: int ``[N]``, the users.
        targets: int ``[N]``, the items that came next.
        repetitions: Samples drawn.
        varies: Whether scores differ from history to history.

    Returns:
        As ``pipeline.metrics.soundness.measure_learned``; ``loss`` and ``constant_loss``
        are the two MRR@20, of which more is better; ``constant`` is the order's name,
        ``worse`` whether the model is told to be below even a random one, and ``surely``
        whether it is told to be above by more than one idle model in a hundred is.
    """
    name = f"mrr@{CUTOFFS[-1]}"
    ours, chance = row_metrics(ranks)[name], chance_of(visible)
    constants = {"a random order": chance, "popularity": row_metrics(popular)[name]}
    best = max(constants, key=lambda constant: _mean(constants[constant]))
    gains = {constant: {name: ours - each} for constant, each in constants.items()}
    errors, told_by = [], []
    for groups_of in (groups, targets):
        numbers, keys = bootstrap.number_groups(groups_of, len(ranks))
        told_by.append(len(np.unique(numbers[visible > 0])))
        drawn = _draw(gains, numbers, keys, repetitions)
        errors.append({c: error_of(drawn[c, name], told_by[-1]) for c in gains})
    judged = min(told_by)
    known = {c: [each[c] for each in errors if each[c] is not None] for c in gains}
    spread = {c: max(each) if len(each) == 2 else None for c, each in known.items()}
    told = {
        constant: interval_of(_mean(gains[constant][name]), spread[constant], judged)
        for constant in gains
    }
    over_chance = told["a random order"]
    return {
        "kind": TASK,
        "rows": len(ranks),
        "scarcer": len(ranks),
        "groups": judged,
        "varies": varies,
        "loss": _mean(ours),
        "constant": best,
        "constant_loss": _mean(constants[best]),
        "gain": _mean(gains[best][name]),
        "error": spread[best],
        "interval": told[best],
        "worse": over_chance is not None and over_chance[1] < 0,
        "surely": spread[best] is not None
        and _mean(gains[best][name])
        > bootstrap.quantile(SURE, max(judged, 2)) * spread[best],
    }


def _draw(by_row: Mapping, users: np.ndarray, names, repetitions: int) -> dict:
    """(ranking, metric) -> its values on drawn samples of the users, ``[repetitions]``."""
    count = len(names)
    keys = [(name, metric) for name, found in by_row.items() for metric in found]
    sums = [np.bincount(users, by_row[n][m], count) for n, m in keys]
    columns = np.stack([np.bincount(users, minlength=count).astype(float), *sums], axis=1)
    blocks = [
        weights.astype(float) @ columns
        for weights in bootstrap.draw(names, repetitions, len(users), BOOTSTRAP_SEED)
    ]
    totals = np.concatenate(blocks)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = totals[:, 1:] / totals[:, :1]
    return {key: values[:, i] for i, key in enumerate(keys)}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
