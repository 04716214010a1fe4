"""The report's metrics: how each task ranks, and how true its predictions are."""

import math
from collections.abc import Callable

from steadyrank.pipeline.metrics.uncertainty import CHANCE, not_told, straddles
from steadyrank.pipeline.report.elements import (
    CHANCE_NOTE,
    INTERVALS,
    Column,
    Markup,
    count,
    form_of,
    heading,
    is_number,
    join,
    number,
    paragraph,
    percent,
    table,
    with_interval,
)

Cells = dict[str, Callable[[str, dict], Markup]]  # heading to (name, metrics) to cell


def tasks(metrics: dict) -> Markup:
    """The metrics of every task, probabilities and values apart."""
    measured = metrics.get("tasks") or {}
    values = {n: t for n, t in measured.items() if t.get("kind") == "regression"}
    binary = {name: task for name, task in measured.items() if name not in values}
    baseline = (metrics.get("baseline") or {}).get("tasks") or {}
    parts = []
    if binary:
        parts += [ranking(binary, baseline), heading("Probabilities")]
        parts += [
            task_table(binary, PROBABILITIES),
            paragraph(PROBABILITY_NOTE + marks(binary), "note"),
        ]
        if any(is_number(task.get("score_gauc")) for task in binary.values()):
            parts += [heading("Under the served score"), under_score(binary, baseline)]
    if values:
        parts += [heading("Values"), task_table(values, VALUES)]
        parts += [paragraph(marks(values), "note")]
    return join(parts or [paragraph("No task was measured.")])


def task_table(by_name: dict, cells: Cells) -> Markup:
    """One row a task, one column a heading of ``cells``."""
    columns = [Column("Task", False), *map(Column, cells)]
    rows = [
        [name, *(cell(name, task) for cell in cells.values())]
        for name, task in by_name.items()
    ]
    return table(columns, rows)


def shown(key: str, form: Callable[[object], Markup] = number):
    """A cell that shows one metric."""
    return lambda name, task: form(task.get(key))


def figure(key: str):
    """A cell that shows one metric over its 95 % interval."""
    return lambda name, task: spread(task, key, form_of(key, task.get(key)))


PROBABILITIES: Cells = {
    "Base rate": lambda name, task: number(base_rate(task), ".2%"),
    "Log loss": figure("log_loss"),
    "Normalised entropy": figure("normalized_entropy"),
    "Calibration": figure("calibration"),
}
PROBABILITY_NOTE = (
    "Normalised entropy is the log loss over that of the base rate (less is better), "
    "calibration is predicted over observed (1 is right). "
)
VALUES: Cells = {
    "Rows": shown("rows", count),
    "MAE": figure("mae"),
    "RMSE": figure("rmse"),
    "MSE": figure("mse"),
    "Calibration": figure("calibration"),
}
SCORE: Cells = {
    "GAUC": figure("score_gauc"),
    "NDCG@10": figure("score_ndcg"),
    "of a random order": shown("score_ndcg_chance"),
    "NDCG@10 over it": lambda name, task: gain_of(task.get("over_chance")),
}
SCORE_NOTE = (
    "How the served score orders each user's rows, judged by each task's label, in its "
    "sample space. "
)


def ranking(binary: dict, baseline: dict) -> Markup:
    """How well each task ranks; beside truth and baseline where those are known."""
    cells: Cells = {
        "Rows": shown("rows", count),
        "Positives": shown("positives", count),
    }
    cells |= {"AUC": figure("auc"), "GAUC": figure("gauc"), "PR-AUC": figure("pr_auc")}
    note = "Every task is measured in its own sample space. GAUC is the mean AUC within "
    note += "a group. "
    if any(is_number(task.get("reachable_auc")) for task in binary.values()):
        cells |= {"Reachable": figure("reachable_auc"), "Share of lift": lift_cell}
        note += "Reachable is the AUC of the true probabilities, and the share of lift "
        note += "(AUC − ½) / (reachable − ½). "
    if baseline:
        cells |= baseline_cells(baseline)
        note += "Gain is AUC less the baseline's. "
    return join([task_table(binary, cells), paragraph(note + marks(binary), "note")])


def marks(by_task: dict) -> str:
    """What the intervals and the marks of some tasks mean, where there are any."""
    if not any(task.get("intervals") for task in by_task.values()):
        return ""
    names = (*CHANCE, "score_ndcg")
    marked = any(not_told(task, name) for task in by_task.values() for name in names)
    return INTERVALS + CHANCE_NOTE * marked


def under_score(binary: dict, baseline: dict) -> Markup:
    """How the served score orders the rows, by each task's label."""
    cells, note = dict(SCORE), SCORE_NOTE
    if baseline:
        for key, title in (("score_gauc", "GAUC"), ("score_ndcg", "NDCG@10")):
            cells[f"{title}, gain"] = lambda name, task, key=key: gain_of(
                (task.get("gain") or {}).get(key)
            )
    return join([task_table(binary, cells), paragraph(note + marks(binary), "note")])


def lift_cell(name: str, task: dict) -> Markup:
    value = percent(share_of_lift(task.get("auc"), task.get("reachable_auc")))
    interval = (task.get("intervals") or {}).get("share_of_lift")
    return with_interval(value, interval, form=".1%")


def baseline_cells(baseline: dict) -> Cells:
    def gain(name: str, task: dict) -> Markup:
        found = (task.get("gain") or {}).get("auc")
        value = difference(task.get("auc"), (baseline.get(name) or {}).get("auc"))
        return gain_of(found or {"difference": value})

    return {
        "Baseline": lambda name, task: spread(baseline.get(name) or {}, "auc"),
        "Gain": gain,
    }


def gain_of(found: dict | None) -> Markup:
    """A difference over its interval, marked where that holds 0."""
    found = found or {}
    interval = found.get("interval")
    value = number(found.get("difference"), "+.4f")
    return with_interval(value, interval, straddles(interval, 0.0), "+.4f")


def spread(result: dict, name: str, form: str = ".4f") -> Markup:
    """A metric over its 95 % interval, marked where it is not told from chance."""
    interval = (result.get("intervals") or {}).get(name)
    value = number(result.get(name), form)
    return with_interval(value, interval, not_told(result, name), form)


def share_of_lift(auc: object, reachable: object) -> float:
    """(AUC - 1/2) / (reachable AUC - 1/2): how much of what can be known is known."""
    if not is_number(auc) or not is_number(reachable) or reachable <= 0.5:
        return math.nan
    return (auc - 0.5) / (reachable - 0.5)


def difference(value: object, base: object) -> float:
    return value - base if is_number(value) and is_number(base) else math.nan


def base_rate(task: dict) -> float:
    """Of the whole log, where negatives were sampled or drawn."""
    if is_number(task.get("base_rate")):
        return task["base_rate"]
    rows, positives = task.get("rows"), task.get("positives")
    return positives / rows if is_number(positives) and rows else math.nan
