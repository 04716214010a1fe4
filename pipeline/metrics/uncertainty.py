"""How sure the metrics are: standard errors, intervals and gains over the baseline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from steadyrank.components.metrics import bootstrap
from steadyrank.models.features import Task

CONFIDENCE = 0.95  # of a gate's one bound, where the config says nothing else
BOTH = 0.975  # of either bound of a 95 % interval
SCORE = ("score_gauc", "score_ndcg")  # of a task's rows under the served score
# of next-item models
RANKS = tuple(f"{name}@{k}" for k in (5, 10, 20) for name in ("mrr", "hr", "ndcg"))
HIGHER = ("auc", "gauc", "pr_auc", *SCORE, *RANKS)  # of which more is better; LOWER: less
LOWER = ("log_loss", "normalized_entropy", "rmse", "mse", "mae")
WITHIN = ("gauc", *SCORE)  # to which only groups with both classes have something to say
CHANCE = {"auc": 0.5, "gauc": 0.5, "score_gauc": 0.5, "normalized_entropy": 1.0}


@dataclass(frozen=True)
class Estimate:
    """A measured number, and how far it would scatter.

    Attributes:
        value: The number; None where it is missing or not finite.
        error: Its standard error; None where it is not known.
        groups: Groups it was drawn from; the scarcer class decides.
        rows: Rows it was measured on.
    """

    value: float | None
    error: float | None = None
    groups: int = 0
    rows: int = 0


def interval_of(value: float | None, error: float | None, groups: int, trials: int = 1):
    """The 95 % interval of a number: its bounds, or None where they are not known.

    Of one of several trials: all their intervals hold at once with 95 % (Bonferroni).
    """
    if error is None or value is None or not np.isfinite(value):
        return None
    confidence = 1 - (1 - BOTH) / max(trials, 1)
    far = bootstrap.quantile(confidence, max(groups, 2)) * error
    return [value - far, value + far]


UNIT = {"auc", "gauc", "pr_auc", "reachable_auc", "score_gauc", "score_ndcg"}
UNIT |= {
    f"{metric}@{k}" for metric in ("hr", "ndcg", "mrr") for k in (1, 5, 10, 20, 50, 100)
}


def bounded(name: str, interval: list[float] | None) -> list[float] | None:
    """An interval of a metric, none of it where the metric cannot be."""
    if interval is None or name not in UNIT:
        return interval
    return [min(max(bound, 0.0), 1.0) for bound in interval]


def error_of(drawn: np.ndarray, groups: int) -> float | None:
    """Standard error of a number from its values in drawn samples ``[repetitions]``."""
    error = float(bootstrap.standard_error(drawn))
    return error if groups >= bootstrap.FEWEST and np.isfinite(error) else None


def not_told(result: Mapping, name: str) -> bool:
    """Whether a task's metric is not told from what chance would give.

    Args:
        result: A task's metrics, with ``intervals``.
        name: The metric.
    """
    if name == "score_ndcg":  # over a random order of the same rows, paired with it
        return straddles((result.get("over_chance") or {}).get("interval"), 0.0)
    chance = CHANCE.get(name)
    return chance is not None and straddles(
        (result.get("intervals") or {}).get(name), chance
    )


def straddles(interval: Sequence[float] | None, value: float) -> bool:
    """Whether a value lies within an interval; no interval tells nothing."""
    return interval is not None and interval[0] <= value <= interval[1]


def add_scatter(
    results: Mapping[str, dict],
    tasks: Iterable[Task],
    columns: Mapping[str, Mapping],
    baseline: Mapping[str, np.ndarray] | None = None,
    *,
    baseline_results: Mapping[str, dict] | None = None,
    repetitions: int = bootstrap.REPETITIONS,
) -> dict[str, dict[str, np.ndarray]]:
    """Add to each task's metrics how far they would scatter on other users.

    Adds ``errors`` (metric -> standard error), ``intervals`` (metric -> bounds of its 95 %
    interval), ``deciles`` (predicted over observed in tenths of the predictions, with
    ``errors``), ``groups`` (that hold the scarcer class), ``over_chance`` where the rows
    are ordered by the score and, with a baseline, ``gain`` (metric -> ``difference``,
    positive where the model is better, with ``error`` and ``interval``).

    Args:
        results: From ``measure``, to which it is added.
        tasks: The tasks.
        columns: ``labels``, ``masks`` and ``outputs`` by task, and ``groups`` or None; of
            ``truths``, where there are some, how far the AUC that they reach scatters.
        baseline: The baseline's outputs on the same rows, of the tasks that it has.
        baseline_results: The baseline's metrics, from ``measure``; their own ``errors``
            and ``intervals`` are added.
        repetitions: Samples drawn.

    Returns:
        Task -> metric -> its values in the drawn samples, ``[repetitions]``; of tasks that
        have rows.
    """
    samples = {}
    for task in tasks:
        inside = columns["masks"][task.name] > 0
        label = columns["labels"][task.name][inside]
        if not len(label):
            continue
        models = [columns["outputs"]]
        if baseline is not None and task.name in baseline:
            models.append(baseline)
        outputs = [model[task.name][inside] for model in models]
        group = None if columns.get("groups") is None else columns["groups"][inside]
        base = (baseline_results or {}).get(task.name)
        result = results[task.name]
        ordered = result.get("score_gauc") is not None
        score = [model["score"][inside] for model in models] if ordered else []
        settings = {"negative_rate": task.negative_rate, "repetitions": repetitions}
        drawn = _add(
            result, base, label, outputs, group=group, score=score, settings=settings
        )
        truth = (columns.get("truths") or {}).get(task.name)
        if truth is not None and result.get("reachable_auc") is not None:
            _add_reachable(
                result, label, truth[inside], group, drawn=drawn["auc"], settings=settings
            )
        samples[task.name] = drawn
    return samples


def _add(result, base, label, outputs, *, group, score, settings: dict) -> dict:
    binary = result["kind"] == "binary"
    drawn = bootstrap.resample(
        label, outputs, group, binary=binary, score=score, **settings
    )
    if binary:
        groups = bootstrap.scarcest(label, group)
    else:
        groups = len(bootstrap.number_groups(group, len(label))[1])
    deciles, result["groups"] = drawn.pop("deciles"), groups
    if binary:
        result["mixed_groups"] = bootstrap.mixed(label, group)
    chance = drawn.pop("score_ndcg_chance", None)
    known = {name: v for name, v in drawn.items() if result.get(name) is not None}
    _add_errors(result, known, 0)
    if base is not None:
        base |= {n: result[n] for n in ("groups", "mixed_groups") if n in result}
        _add_errors(base, known, 1)
        result["gain"] = _gains(result, base, known)
    if chance is not None:
        lift = result["score_ndcg"] - result["score_ndcg_chance"]
        told = groups_of(result, "score_ndcg")
        error = error_of(drawn["score_ndcg"][0] - chance[0], told)
        result["over_chance"] = difference_of(lift, error, told)
    stands = np.where(label > 0.5, 1.0, 1 / settings["negative_rate"])
    result["deciles"] = _deciles(label, outputs[0], stands, deciles[0], groups=groups)
    return {name: values[0] for name, values in known.items()}


def _add_errors(result: dict, drawn: Mapping, number: int) -> None:
    """A model's errors and intervals, by its number among those that were drawn."""
    told = {name: groups_of(result, name) for name in drawn}
    errors = {name: error_of(values[number], told[name]) for name, values in drawn.items()}
    result["errors"] = errors
    result["intervals"] = {
        name: bounded(name, interval_of(result.get(name), error, told[name]))
        for name, error in errors.items()
    }


def _add_reachable(result, label, truth, group, *, drawn, settings: dict) -> None:
    """Of the AUC of the true probabilities, and the model's share of its lift."""
    groups, truth = result["groups"], np.asarray(truth, float)
    reached = bootstrap.resample(label, [truth], group, **settings)["auc"][0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (drawn - 0.5) / (reached - 0.5)
    lift = result["reachable_auc"] - 0.5
    result["share_of_lift"] = (result["auc"] - 0.5) / lift if lift > 0 else None
    for name, values in (("reachable_auc", reached), ("share_of_lift", share)):
        error = error_of(values, groups)
        result["errors"][name] = error
        interval = interval_of(result[name], error, groups)
        result["intervals"][name] = bounded(name, interval)


def groups_of(result: Mapping, name: str) -> int:
    """How many groups tell about a metric of a task."""
    if name in WITHIN and "mixed_groups" in result:
        return result["mixed_groups"]
    return result.get("groups", 0)


def _gains(result: dict, base: dict, drawn: dict) -> dict:
    gains = {}
    for name in drawn.keys() & {*HIGHER, *LOWER}:
        sign = 1 if name in HIGHER else -1
        if base.get(name) is None:
            continue
        difference = sign * (result[name] - base[name])
        told = groups_of(result, name)
        error = error_of(drawn[name][0] - drawn[name][1], told)
        gains[name] = difference_of(difference, error, told)
    return gains


def difference_of(difference: float, error: float | None, groups: int) -> dict:
    """``difference``, its ``error`` and 95 % ``interval``."""
    interval = interval_of(difference, error, groups)
    return {"difference": difference, "error": error, "interval": interval}


def _deciles(label, output: np.ndarray, stands, drawn: np.ndarray, *, groups: int) -> dict:
    """Predicted over observed in each tenth of the predictions, from low to high.

    A row stands for ``stands`` rows of the whole log.
    """
    order = np.argsort(output, kind="stable")
    tenth = np.arange(len(order)) * bootstrap.DECILES // len(order)
    count = bootstrap.DECILES
    predicted = np.bincount(tenth, (stands * output)[order].astype(float), count)
    observed = np.bincount(tenth, label[order].astype(float), count)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(observed > 0, predicted / observed, np.nan)
    errors = [error_of(values, groups) for values in drawn.T]
    intervals = [interval_of(*each, groups) for each in zip(ratio, errors, strict=True)]
    return {
        "ratio": ratio.tolist(),
        "errors": bootstrap.standard_error(drawn).tolist(),
        "intervals": [i and [float(bound) for bound in i] for i in intervals],
        "observed": observed.tolist(),
        "rows": np.bincount(tenth, minlength=count).tolist(),
    }
