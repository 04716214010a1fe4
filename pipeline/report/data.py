"""The report's account of the data: every row, split, window and label."""

import math

from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    count,
    figure,
    heading,
    is_number,
    join,
    number,
    paragraph,
    table,
)


def data(manifest: dict, evaluated: dict) -> Markup:
    """What went in, what came out, and what became of the rest."""
    splits = manifest.get("splits") or {}
    return join(
        [
            row_table(manifest.get("rows") or {}, manifest.get("unmatched") or {}),
            evaluated_sentence(evaluated),
            heading("Splits"),
            split_table(splits),
            figure("Rows by window", draw.windows_figure(splits)),
            heading("Labels"),
            label_table(manifest.get("tasks") or {}),
        ]
    )


def row_table(rows: dict, unmatched: dict[str, int]) -> Markup:
    """Every row read, accounted for, and how many each side table did not know."""
    cells = [["Read", count(rows.get("read"))]]
    if rows.get("drawn"):
        cells += [["Drawn as negatives", count(rows["drawn"])]]
    cells += [["Written to a split", count(rows.get("written"))]]
    cells += [["Dropped as exact duplicates", count(rows.get("duplicates"))]]
    rejected = rows.get("rejected") or {}
    cells += [[f"Rejected: {reason}", count(n)] for reason, n in rejected.items()]
    cells += [[f"Not found by {name}", count(n)] for name, n in unmatched.items()]
    return table([Column("Rows", False), Column("Count")], cells)


def evaluated_sentence(evaluated: dict) -> Markup:
    if not evaluated:
        return Markup()
    return paragraph(
        f"Evaluation counted {count(evaluated.get('rows_in'))} rows in and "
        f"{count(evaluated.get('rows_out'))} out.",
        "note",
    )


def split_table(splits: dict) -> Markup:
    columns = [Column("Split", False), Column("Rows"), Column("Windows")]
    columns += [Column("From", False), Column("To", False)]
    rows = []
    for name, split in splits.items():
        windows = sorted(split.get("windows") or {})
        ends = [windows[0], windows[-1]] if windows else [None, None]
        rows.append([name, count(split.get("rows")), count(len(windows)), *ends])
    return table(columns, rows)


def label_table(labels: dict) -> Markup:
    columns = [Column("Task", False)]
    columns += map(Column, ("Rows", "Positives", "Rate", "Outside of given"))
    rows = [
        [name, count(task.get("rows")), count(task.get("positives"))]
        + [number(rate(task), ".2%"), count(task.get("given_violations"))]
        for name, task in labels.items()
    ]
    return table(columns, rows)


def rate(task: dict) -> float:
    rows, positives = task.get("rows"), task.get("positives")
    return positives / rows if is_number(positives) and rows else math.nan
