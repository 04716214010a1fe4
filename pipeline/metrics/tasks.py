"""Every metric of a task, from its predictions: the same code in training and judging."""

from collections.abc import Iterable, Mapping

import numpy as np

from steadyrank.components.metrics import grouped
from steadyrank.models.features import Task
from steadyrank.pipeline.metrics.negative_sampling import (
    row_weights,
    whole_log_curve,
    whole_log_metrics,
)


def measure(
    tasks: Iterable[Task],
    labels: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    *,
    groups: np.ndarray | None = None,
    truths: Mapping[str, np.ndarray] | None = None,
    curves: bool = False,
    score: np.ndarray | None = None,
) -> dict[str, dict]:
    """Measure each task over its own sample space.

    Args:
        tasks: The tasks.
        labels: Task name -> ``[rows]``.
        masks: Task name -> ``[rows]``, not 0 inside of the sample space.
        outputs: Task name -> predicted probabilities or values, ``[rows]``.
        groups: ``[rows]``, for GAUC.
        truths: Task name -> true probabilities ``[rows]``, where they are known.
        curves: Whether to give ROC and calibration curves, too.
        score: What is served, ``[rows]``: how it orders each binary task's rows within a
            group; None: that is not measured.

    Returns:
        Task name -> metrics; NaN where one is not defined.
    """
    results = {}
    for task in tasks:
        inside = masks[task.name] > 0
        label, output = labels[task.name][inside], outputs[task.name][inside]
        if task.kind == "regression":
            results[task.name] = _regression(label, output)
            continue
        group = None if groups is None else groups[inside]
        result = _binary(label, output, group)
        if truths and task.name in truths:
            result["reachable_auc"] = grouped.auc(label, truths[task.name][inside])
        if score is not None and group is not None:
            result |= _under_score(label, score[inside], group, task.negative_rate)
        if curves:
            result["roc"] = grouped.roc_curve(label, output)
            result["calibration_curve"] = grouped.calibration_curve(label, output)
        if task.negative_rate < 1:
            result |= whole_log_metrics(label, output, task.negative_rate, group)
            if curves:
                curve = whole_log_curve(label, output, task.negative_rate)
                result["calibration_curve"] = curve
        results[task.name] = result
    return results


def _binary(label: np.ndarray, output: np.ndarray, group: np.ndarray | None) -> dict:
    return {
        "kind": "binary",
        "rows": len(label),
        "positives": int(label.sum()),
        "auc": grouped.auc(label, output),
        "pr_auc": grouped.pr_auc(label, output),
        "gauc": None if group is None else grouped.gauc(label, output, group),
        "log_loss": grouped.log_loss(label, output),
        "normalized_entropy": grouped.normalized_entropy(label, output),
        "calibration": grouped.calibration(label, output),
    }


def _under_score(label, score, group, rate: float) -> dict:
    """GAUC and NDCG@10 of the whole log's rows, and the NDCG@10 of a random order."""
    stands = row_weights(label, rate)
    return {
        "score_gauc": grouped.gauc(label, score, group, stands),
        "score_ndcg": grouped.ndcg(label, score, group, stands),
        "score_ndcg_chance": grouped.ndcg(label, np.zeros(len(label)), group, stands),
    }


def _regression(label: np.ndarray, output: np.ndarray) -> dict:
    return {
        "kind": "regression",
        "rows": len(label),
        "mse": grouped.mse(label, output),
        "rmse": grouped.rmse(label, output),
        "mae": grouped.mae(label, output),
        "calibration": grouped.calibration(label, output),
    }


def monitored(results: Mapping[str, dict], monitor: str) -> float:
    """The number that early stopping watches: higher is better.

    Args:
        results: From ``measure``.
        monitor: ``"mean_auc"`` over the binary tasks whose AUC is defined, or a task's
            name: its AUC, or the negative RMSE of a regression task.
    """
    if monitor != "mean_auc":
        result = results[monitor]
        return result["auc"] if result["kind"] == "binary" else -result["rmse"]
    areas = [r["auc"] for r in results.values() if r["kind"] == "binary"]
    known = [area for area in areas if area == area]
    return float(np.mean(known)) if known else float("nan")
