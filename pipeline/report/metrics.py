"""The report's metrics: how each task ranks, and how true its predictions are."""

import math
from collections.abc import Callable

from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    count,
    heading,
    is_number,
    join,
    number,
    paragraph,
    percent,
    table,
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
            paragraph(PROBABILITY_NOTE, "note"),
        ]
    if values:
        parts += [heading("Values"), task_table(values, VALUES)]
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


def large(value: object) -> Markup:
    """A value in its own unit: as many digits as one can use."""
    return number(value, ",.0f" if is_number(value) and abs(value) >= 1000 else ".4g")


PROBABILITIES: Cells = {
    "Base rate": lambda name, task: number(base_rate(task), ".2%"),
    "Log loss": shown("log_loss"),
    "Normalised entropy": shown("normalized_entropy"),
    "Calibration": shown("calibration"),
}
PROBABILITY_NOTE = (
    "Normalised entropy is the log loss over that of the base rate (less is better), "
    "calibration is predicted over observed (1 is right)."
)
VALUES: Cells = {
    "Rows": shown("rows", count),
    "MAE": shown("mae", large),
    "RMSE": shown("rmse", large),
    "MSE": shown("mse", large),
    "Calibration": shown("calibration"),
}


def ranking(binary: dict, baseline: dict) -> Markup:
    """How well each task ranks; beside truth and baseline where those are known."""
    cells: Cells = {
        "Rows": shown("rows", count),
        "Positives": shown("positives", count),
    }
    cells |= {name: spread_cell(name.lower()) for name in ("AUC", "GAUC")}
    cells |= {"PR-AUC": shown("pr_auc")}
    note = "Every task is measured in its own sample space. GAUC is the mean AUC within "
    note += "a group. "
    if any(is_number(task.get("reachable_auc")) for task in binary.values()):
        cells |= {"Reachable": shown("reachable_auc"), "Share of lift": lift_cell}
        note += "Reachable is the AUC of the true probabilities, and the share of lift "
        note += "(AUC − ½) / (reachable − ½). "
    if baseline:
        cells |= baseline_cells(baseline)
        note += "Gain is AUC less the baseline's. "
    if any(task.get("intervals") for task in binary.values()):
        note += "What stands after ± is how far drawn samples of the users scatter."
    return join([task_table(binary, cells), paragraph(note, "note")])


def lift_cell(name: str, task: dict) -> Markup:
    return percent(share_of_lift(task.get("auc"), task.get("reachable_auc")))


def baseline_cells(baseline: dict) -> Cells:
    def before(name: str) -> object:
        return baseline.get(name, {}).get("auc")

    def gain(name: str, task: dict) -> Markup:
        value = number(difference(task.get("auc"), before(name)), "+.4f")
        found = (task.get("gain") or {}).get("auc") or {}
        return with_error(value, found.get("interval"))

    return {"Baseline": lambda name, task: number(before(name)), "Gain": gain}


def spread_cell(name: str) -> Callable[[str, dict], Markup]:
    """A cell that shows a metric with the half width of its interval."""
    return lambda _, task: spread(task, name)


def spread(result: dict, name: str) -> Markup:
    """A metric, and after ± half the width of its interval where there is one."""
    interval = (result.get("intervals") or {}).get(name)
    return with_error(number(result.get(name)), interval)


def with_error(value: Markup, interval: list[float] | None) -> Markup:
    if not interval:
        return value
    half = number((interval[1] - interval[0]) / 2)
    return Markup(f'{value} <span class="soft">± {half}</span>')


def share_of_lift(auc: object, reachable: object) -> float:
    """(AUC - 1/2) / (reachable AUC - 1/2): how much of what can be known is known."""
    if not is_number(auc) or not is_number(reachable) or reachable <= 0.5:
        return math.nan
    return (auc - 0.5) / (reachable - 0.5)


def difference(value: object, base: object) -> float:
    return value - base if is_number(value) and is_number(base) else math.nan


def base_rate(task: dict) -> float:
    rows, positives = task.get("rows"), task.get("positives")
    return positives / rows if is_number(positives) and rows else math.nan
