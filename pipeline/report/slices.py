"""The report's slices, and how far predictions moved from the baseline's."""

from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.elements import (
    INTERVALS,
    Column,
    Markup,
    count,
    details,
    figure,
    heading,
    join,
    number,
    paragraph,
    table,
    with_interval,
)
from steadyrank.pipeline.report.metrics import spread

SHOWN = 16  # slices drawn, the largest ones; the rest stands in the table
NAMED = 8  # of the slices that are too small


def slices(found: list[dict]) -> Markup:
    """Every rule's slices: AUC drawn, all of them in a table, the small ones named."""
    return join([part for rule in found for part in of_rule(rule)])


def of_rule(rule: dict) -> list[Markup]:
    judged, small = rule.get("judged") or [], rule.get("small") or {}
    title = "By " + " × ".join(map(str, rule.get("by") or []))
    tasks = list(dict.fromkeys(task for part in judged for task in part["tasks"]))
    note = "AUC of the largest slices, each with its 95 % interval."
    drawn = draw.slices_figure(judged[:SHOWN], tasks, slice_name)
    parts = [figure(title, drawn, note, "tall")] if drawn else [heading(title)]
    parts.append(paragraph(sizes(rule, judged, small), "note"))
    if judged:
        parts.append(details("All slices that were judged", slice_table(judged, tasks)))
    return parts


def sizes(rule: dict, judged: list, small: dict) -> str:
    said = f"{count(len(judged))} slices of at least {count(rule.get('min_rows'))} rows"
    if not small.get("slices"):
        return f"{said}; none is smaller."
    names = "; ".join(map(slice_name, (small.get("names") or [])[:NAMED]))
    more = small["slices"] - NAMED
    names += f" and {count(more)} more" if more > 0 else ""
    return (
        f"{said}. Too small to judge: {count(small['slices'])}, with "
        f"{count(small['rows'])} rows in all: {names}."
    )


def slice_name(part: dict) -> str:
    """A slice in words: its values, in the order of the features in the heading."""
    return " · ".join(map(str, part.get("slice", part).values()))


def slice_table(judged: list[dict], tasks: list[str]) -> Markup:
    columns = [Column("Slice", False), Column("Rows")]
    columns += [Column(f"{task}: {name}") for task in tasks for name in ("AUC", "calibr.")]
    rows = []
    for part in judged:
        cells: list = [slice_name(part), count(part.get("rows"))]
        for task in tasks:
            result = part["tasks"].get(task) or {}
            cells += [spread(result, "auc"), spread(result, "calibration", ".3f")]
        rows.append(cells)
    return table(columns, rows)


def drift(found: dict) -> Markup:
    """Every output's predictions beside the baseline's."""
    columns = [Column("Output", False), Column("Population stability index")]
    rows = [[name, number(output.get("psi"))] for name, output in found.items()]
    note = "Both models on the same rows. By custom, an index below 0.1 is stable, and "
    note += "above 0.25 the predictions are of another kind."
    parts = [table(columns, rows), paragraph(note, "note")]
    for name, output in found.items():
        drawn = draw.distribution_figure(output.get("histogram") or {})
        if drawn:
            parts.append(figure(f"Predictions of {name}", drawn))
    return join(parts)


def deciles(by_task: dict) -> Markup:
    """Predicted over observed in each tenth of the predictions, from low to high."""
    found = {n: t["deciles"] for n, t in by_task.items() if t.get("deciles")}
    if not found:
        return Markup()
    columns = [Column("Task", False), *(Column(str(i + 1)) for i in range(10))]
    rows = [
        [name, *(tenth(tenths, place) for place in range(10))]
        for name, tenths in found.items()
    ]
    note = "Predicted over observed in tenths of the predictions, the lowest first; a dash "
    note += "where nothing was observed. " + INTERVALS
    return join([heading("Calibration by tenth"), table(columns, rows),
                 paragraph(note, "note")])  # fmt: skip


def tenth(tenths: dict, place: int) -> Markup:
    ratios, intervals = tenths.get("ratio") or [], tenths.get("intervals") or []
    value = number(ratios[place] if place < len(ratios) else None, ".2f")
    return with_interval(value, intervals[place] if intervals else None, form=".2f")
