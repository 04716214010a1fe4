"""The report's metrics: a table of the tasks with probabilities, one with values."""

import math

from pipeline.report_elements import (
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


def tasks(metrics: dict) -> Markup:
    """The metrics of every task, probabilities and values apart."""
    by_kind = {"binary": {}, "regression": {}}
    for name, task in (metrics.get("tasks") or {}).items():
        by_kind["regression" if task.get("kind") == "regression" else "binary"][
            name
        ] = task
    baseline = (metrics.get("baseline") or {}).get("tasks") or {}
    parts = []
    if by_kind["binary"]:
        parts.append(binary_table(by_kind["binary"], baseline))
    if by_kind["regression"]:
        parts += [heading("Values"), regression_table(by_kind["regression"])]
    return join(parts or [paragraph("No task was measured.")])


def binary_table(binary: dict, baseline: dict) -> Markup:
    """Metrics of probabilities; columns for truth and baseline where there are any."""
    truth = any(is_number(task.get("reachable_auc")) for task in binary.values())
    headings = ["Rows", "Positives", "AUC"]
    headings += ["Reachable", "Share of lift"] if truth else []
    headings += ["Baseline AUC", "Gain"] if baseline else []
    headings += ["GAUC", "Log loss", "NE", "Calibration"]
    columns = [Column("Task", False), *map(Column, headings)]
    rows = [
        [name, *binary_row(task, baseline.get(name), truth, bool(baseline))]
        for name, task in binary.items()
    ]
    return join(
        [table(columns, rows), paragraph(explain(truth, bool(baseline)), "note")]
    )


def binary_row(task: dict, base: dict | None, truth: bool, against: bool) -> list:
    """The cells of one task, in the order of ``binary_table``'s headings."""
    auc, reachable = task.get("auc"), task.get("reachable_auc")
    cells = [count(task.get("rows")), count(task.get("positives")), number(auc)]
    if truth:
        cells += [number(reachable), percent(share_of_lift(auc, reachable))]
    if against:
        before = (base or {}).get("auc")
        cells += [number(before), number(difference(auc, before), "+.4f")]
    keys = ("gauc", "log_loss", "normalized_entropy", "calibration")
    return cells + [number(task.get(key)) for key in keys]


def share_of_lift(auc: object, reachable: object) -> float:
    """(AUC - 1/2) / (reachable AUC - 1/2): how much of what can be known is known."""
    if not is_number(auc) or not is_number(reachable) or reachable <= 0.5:
        return math.nan
    return (auc - 0.5) / (reachable - 0.5)


def difference(value: object, base: object) -> float:
    both = is_number(value) and is_number(base)
    return value - base if both else math.nan


def explain(truth: bool, against: bool) -> str:
    """What the columns of ``binary_table`` mean."""
    said = "Every task is measured in its own sample space. "
    if truth:
        said += "Reachable is the AUC of the true probabilities, and the share of lift "
        said += "(AUC − ½) / (reachable − ½). "
    if against:
        said += "Gain is AUC less the baseline's. "
    said += (
        "GAUC is the mean AUC within a group, NE the log loss over that of the base "
    )
    return said + "rate, calibration predicted over observed (1 is right)."


def regression_table(regression: dict) -> Markup:
    keys = {"mae": "MAE", "rmse": "RMSE", "mse": "MSE", "calibration": "Calibration"}
    columns = [Column("Task", False), Column("Rows"), *map(Column, keys.values())]
    rows = [
        [
            name,
            count(task.get("rows")),
            *(number(task.get(key), ",.4g") for key in keys),
        ]
        for name, task in regression.items()
    ]
    return table(columns, rows)
