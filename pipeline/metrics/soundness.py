"""Whether a model predicts numbers at all, and better than a constant would."""

from collections.abc import Iterable, Mapping

import numpy as np

from steadyrank.components.metrics import bootstrap, grouped
from steadyrank.models.features import Task, transform_numbers
from steadyrank.pipeline.metrics.uncertainty import error_of, interval_of

TINY = 1e-30  # of a mean whose logarithm is taken
SAME = 1e-6  # of the largest prediction: what rounding makes of one that is always alike


def count_nonfinite(outputs: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Output name -> rows whose prediction is NaN or infinite."""
    return {n: int((~np.isfinite(values)).sum()) for n, values in outputs.items()}


def varies(values: np.ndarray) -> bool:
    """Whether a prediction tells rows apart at all, by more than rounding."""
    largest = float(np.abs(values).max(initial=0.0))
    return bool(len(values)) and not np.ptp(values) <= SAME * largest


def measure_learned(
    tasks: Iterable[Task],
    columns: Mapping[str, Mapping],
    means: Mapping[str, float | None],
    repetitions: int = bootstrap.REPETITIONS,
) -> dict[str, dict]:
    """How much lower each task's loss is than that of always predicting its mean.

    The loss is the one that was trained on: cross-entropy, the squared error of the
    transformed value in standard deviations, or another of ``Task.loss``.  Rows count as
    they do there, by their sample weights, and a negative for as many rows of the whole
    log as it stands for.

    Args:
        tasks: The tasks; one that was not predicted is left out.
        columns: ``labels``, ``masks`` and ``outputs`` by task, and ``groups`` or None.
        means: Task name -> mean of its transformed label in training: the constant.  A
            task with sample weights, or None, has the weighted mean of these rows instead.
        repetitions: Samples drawn.

    Returns:
        Task name -> ``kind``, ``rows``, ``scarcer`` (rows of the scarcer class; of values
        all rows), ``groups`` (that hold the scarcer class), ``varies`` (whether rows are
        told apart at all), ``auc`` (of both classes), ``loss``, ``constant_loss``,
        ``gain`` (the difference), ``error`` and ``interval`` (of 95 %; None: too few
        groups).
    """
    return {
        task.name: _learned(task, columns, means[task.name], repetitions)
        for task in tasks
        if task.name in columns["outputs"]
    }


def _learned(task: Task, columns: Mapping, mean: float | None, repetitions: int) -> dict:
    mask = np.asarray(columns["masks"][task.name], float)
    inside = mask > 0
    label, output = (
        np.asarray(columns[name][task.name][inside], float)
        for name in ("labels", "outputs")
    )
    group = None if columns.get("groups") is None else columns["groups"][inside]
    binary = task.kind == "binary"
    found = {"kind": task.kind, "rows": len(label)}
    positives = int((label > 0.5).sum())
    found["scarcer"] = min(positives, len(label) - positives) if binary else len(label)
    numbers, keys = bootstrap.number_groups(group, len(label))
    found["groups"] = bootstrap.scarcest(label, group) if binary else len(keys)
    found["varies"] = varies(output)
    nothing = dict.fromkeys(("loss", "constant_loss", "gain", "error", "interval"))
    if not len(label):
        return found | nothing
    weights = mask[inside] * np.where(label > 0.5, 1.0, 1 / task.negative_rate)
    losses = _losses(
        task, label, output, mean, sample_weights=mask[inside], weights=weights
    )
    sums = [np.bincount(numbers, weights * loss, len(keys)) for loss in losses]
    sums = np.stack([*sums, np.bincount(numbers, weights, len(keys))], 1)
    ours, constant, total = sums.sum(0)
    gain = float((constant - ours) / total)
    if binary and found["scarcer"]:
        found["auc"] = float(grouped.auc(label, output, weights))
    found |= {"loss": float(ours / total), "constant_loss": float(constant / total)}
    return found | {
        "gain": gain,
        **_scatter(sums, keys, gain, found["groups"], repetitions=repetitions),
    }


def _losses(task: Task, label, output, mean, *, sample_weights, weights):
    """Each row's loss, and what it would be under the constant."""
    own = task.sample_weight or mean is None
    if task.kind == "binary":
        if own:
            mean = np.average(label, weights=weights)
        else:
            mean = mean / (mean + (1 - mean) / task.negative_rate)
        constant = np.full(len(label), mean)
        return [grouped.row_log_loss(label, each) for each in (output, constant)]
    if task.loss != "squared":
        scale = mean if mean and mean > 0 else 1.0
        if own:
            mean = np.average(label, weights=sample_weights)
        each = (output, np.full(len(label), max(mean, TINY)))
        return [value_loss(task, label / scale, by / scale) for by in each]
    label, output = (transform_numbers(task.transform, v, np) for v in (label, output))
    if own:
        mean = np.average(label, weights=sample_weights)
    return [((label - each) / task.std) ** 2 for each in (output, mean)]


def value_loss(task: Task, label: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The loss of values whose mean's logarithm is learned, ``components.losses`` has it.

    Args:
        task: Of a loss other than the squared one.
        label: float64 ``[n]``, at least 0.
        mean: float64 ``[n]``, what was foretold.
    """
    mean, power = np.maximum(mean, TINY), task.tweedie_power
    if task.loss == "tweedie":
        return label * mean ** (1 - power) / (power - 1) + mean ** (2 - power) / (2 - power)
    if task.loss == "gamma":
        return label / mean + np.log(mean)
    return label * np.log1p(1 / mean) + np.log1p(mean)


def _scatter(sums: np.ndarray, keys, gain: float, groups: int, *, repetitions: int) -> dict:
    """``error`` and ``interval`` of a gain, from its sums over groups ``[groups, 3]``."""
    totals = [
        weights.astype(float) @ sums
        for weights in bootstrap.draw(keys, repetitions, len(sums), seed=1)
    ]
    ours, constant, total = np.concatenate(totals).T
    with np.errstate(invalid="ignore", divide="ignore"):
        error = error_of((constant - ours) / total, groups)
    return {"error": error, "interval": interval_of(gain, error, groups)}
