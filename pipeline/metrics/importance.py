"""How much each feature matters to a model: what is lost where its values are exchanged.

The values of one unit of features change places among the rows, all else stays, and the
same rows are scored again.  A unit is mostly one feature; features that say the same are
exchanged together, or each would look worthless beside the other.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from steadyrank.components.metrics import bootstrap, grouped
from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.metrics.uncertainty import (
    difference_of,
    error_of,
    interval_of,
)

ALIKE = 0.8  # of two features' entropy in common, from which on they are one unit
BINS = 10  # of a number, to look at what it has in common with others
METRICS = {"binary": "auc", "regression": "rmse"}

Columns = Mapping[str, np.ndarray]


def units_of(
    features: Sequence[Feature],
    columns: Columns,
    raw: Mapping[str, str],
    together: Sequence[Sequence[str]] = (),
) -> list[list[str]]:
    """Features by units that are exchanged together.

    One unit are those that a user names, those of one raw column, all sequences (of one
    history, place by place), and those that say nearly the same on the rows.

    Args:
        features: Of the model.
        columns: Feature -> encoded values ``[rows, ...]``.
        raw: Feature -> the raw column that it is read from; a cross has none.
        together: Names of features that a user wants to be one unit each.

    Returns:
        Names of each unit, in the order of the features.
    """
    names = [feature.name for feature in features]
    unit = {name: number for number, name in enumerate(names)}

    def join(one: str, other: str) -> None:
        old, new = unit[other], unit[one]
        for name in names:
            if unit[name] == old:
                unit[name] = new

    for group in together:
        for name in group[1:]:
            join(group[0], name)
    sequences = [feature.name for feature in features if feature.kind == "sequence"]
    for name in sequences[1:]:
        join(sequences[0], name)
    codes = {feature.name: _codes(feature, columns[feature.name]) for feature in features}
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            if unit[one] == unit[other]:
                continue
            if raw.get(one, one) == raw.get(other, other) or _alike(
                codes[one], codes[other]
            ):
                join(one, other)
    units: dict[int, list[str]] = {}
    for name in names:
        units.setdefault(unit[name], []).append(name)
    return list(units.values())


def _codes(feature: Feature, values: np.ndarray) -> np.ndarray:
    """A feature's values as integers from 0, equal where the values are."""
    if feature.kind == "numeric" and not feature.width:
        known = values[np.isfinite(values)]
        edges = (
            np.unique(np.quantile(known, np.arange(1, BINS) / BINS)) if len(known) else []
        )
        values = np.where(np.isnan(values), -1, np.searchsorted(edges, values, "right"))
    elif values.ndim > 1:
        wide = np.ascontiguousarray(values).view([("", values.dtype)] * values.shape[1])
        values = wide.ravel()
    return np.unique(values, return_inverse=True)[1].ravel()


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two columns of codes have most of their entropy in common.

    Of so few rows much of it is in common by chance alone: as much as is when one of them
    is shuffled.
    """
    chance = _common(one, np.random.default_rng(1).permutation(other))
    return chance < 1 and (_common(one, other) - chance) / (1 - chance) >= ALIKE


def _common(one: np.ndarray, other: np.ndarray) -> float:
    """Twice the mutual information over the sum of the entropies: 0 to 1."""
    single = _entropy(one), _entropy(other)
    both = _entropy(one * (int(other.max(initial=0)) + 1) + other)
    total = sum(single)
    return 2 * (total - both) / total if total > 0 else 0.0


def _entropy(codes: np.ndarray) -> float:
    counts = np.unique(codes, return_counts=True)[1] / max(len(codes), 1)
    return float(-(counts * np.log(counts)).sum())


def measure_importance(
    score: Callable[[Columns], Columns],
    tasks: Sequence[Task],
    rows: Mapping,
    units: Sequence[Sequence[str]],
    *,
    repetitions: int = bootstrap.REPETITIONS,
) -> dict:
    """What each task loses where the values of a unit change places.

    The rows are scored once as they are and once for each unit.

    Args:
        score: Encoded features of all rows -> outputs by task, ``[rows]``.
        tasks: The tasks; one that is not predicted is left out.
        rows: ``labels`` and ``masks`` by task, ``groups`` or None, and ``features``.
        units: Names of the features of each.
        repetitions: Samples drawn.

    Returns:
        ``rows``; ``tasks``: name -> ``metric``, ``value``, ``interval``; ``units``: the
        most important first, each with its ``features`` and ``tasks``: name ->
        ``difference`` (what is lost: AUC, or what RMSE grows by), ``error``, ``interval``
        (paired, of 95 %).
    """
    features = dict(rows["features"])
    outputs = [score(features)]
    for unit in units:
        order = _order("+".join(unit), len(next(iter(features.values()))))
        exchanged = {name: features[name][order] for name in unit}
        outputs.append(score({**features, **exchanged}))
    found: dict = {"rows": len(next(iter(features.values()), ())), "tasks": {}}
    by_unit: list[dict] = [{"features": list(unit), "tasks": {}} for unit in units]
    for task in (task for task in tasks if task.name in outputs[0]):
        inside = rows["masks"][task.name] > 0
        label = np.asarray(rows["labels"][task.name][inside], float)
        groups = None if rows.get("groups") is None else rows["groups"][inside]
        own = [np.asarray(each[task.name][inside], float) for each in outputs]
        values, drawn = _drawn(task, label, own, groups, repetitions=repetitions)
        told = _groups(task, label, groups)
        base = {"metric": METRICS[task.kind], "value": values[0]}
        base["interval"] = interval_of(values[0], error_of(drawn[0], told), told)
        found["tasks"][task.name] = base
        sign = 1 if task.kind == "binary" else -1
        for number, unit in enumerate(by_unit, 1):
            lost = sign * (values[0] - values[number])
            error = error_of(drawn[0] - drawn[number], told)
            unit["tasks"][task.name] = difference_of(lost, error, told)
    return found | {"units": sorted(by_unit, key=_weight, reverse=True)}


def _order(name: str, rows: int) -> np.ndarray:
    """How the rows of a unit change places: by its name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).permutation(rows)


def _weight(unit: dict) -> float:
    """How far the tasks' losses lie off 0, in standard errors: the largest of them."""
    found = unit["tasks"].values()
    return max((t["difference"] / t["error"] for t in found if t["error"]), default=0.0)


def _groups(task: Task, label: np.ndarray, groups) -> int:
    if task.kind == "binary":
        return bootstrap.scarcest(label, groups)
    return len(bootstrap.number_groups(groups, len(label))[1])


def _drawn(task: Task, label, outputs: Sequence, groups, *, repetitions: int) -> tuple:
    """The metric of each output, and in drawn samples ``[outputs, repetitions]``."""
    numbers, keys = bootstrap.number_groups(groups, len(label))
    if task.kind == "binary":
        values = [grouped.auc(label, output) for output in outputs]
        rankings = [bootstrap.Ranking(label, output, numbers) for output in outputs]
        measures = [lambda w, of=ranking: of.areas(w)["auc"] for ranking in rankings]
    else:
        values = [grouped.rmse(label, output) for output in outputs]
        sums = [np.bincount(numbers, (label - o) ** 2, len(keys)) for o in outputs]
        rows = np.bincount(numbers, minlength=len(keys))
        measures = [lambda w, of=each: np.sqrt((w @ of) / (w @ rows)) for each in sums]
    blocks = []
    for weights in bootstrap.draw(keys, repetitions, len(label), seed=1):
        with np.errstate(invalid="ignore", divide="ignore"):
            blocks.append([measure(weights.astype(float)) for measure in measures])
    return values, np.concatenate(blocks, axis=1)
