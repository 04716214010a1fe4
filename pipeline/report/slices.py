"""The report's slices, and how far predictions moved from the baseline's."""

from collections.abc import Mapping, Sequence

from steadyrank.pipeline.report import figures as draw
from steadyrank.pipeline.report.elements import (
    CHANCE_NOTE,
    INTERVALS,
    NOT_TOLD,
    Column,
    Markup,
    count,
    details,
    figure,
    form_of,
    heading,
    join,
    number,
    paragraph,
    table,
    text,
    with_interval,
)
from steadyrank.pipeline.report.metrics import gain_of, spread

SHOWN = 16  # slices drawn, the largest ones; the rest stands in the table
NAMED = 8  # of the slices that are too small


def slices(
    found: list[dict], standard: Sequence[dict] = (), whole: Mapping | None = None
) -> Markup:
    """The standard slices; then each rule's: AUC drawn, a table, the small ones named.

    Args:
        found: Of the config's rules.
        standard: New users, new items, weekdays.
        whole: Task -> metrics of all rows, beside which these stand.
    """
    parts = standard_table(standard, whole or {}) if standard else []
    return join([*parts, *(part for rule in found for part in of_rule(rule))])


def standard_table(standard: Sequence[dict], whole: Mapping) -> list[Markup]:
    """A row a slice, below all rows; what is too small is said to be."""
    tasks = [task for part in standard for task in part.get("tasks") or {}]
    tasks = list(dict.fromkeys(tasks)) or list(whole)
    columns = [Column("Rows of", False), Column("Rows")]
    columns += [
        Column(f"{task}: {name}")
        for task in tasks
        for name in (LEADING.get((whole.get(task) or {}).get("kind"), "AUC"), "calibr.")
    ]
    every = [*whole.values()] or [{}]
    rows = [
        ["all rows", count(max((t.get("rows") or 0) for t in every)), *of(whole, tasks)]
    ]
    for part in standard:
        row = [part["name"], count(part["rows"])]
        if "why" in part:
            row += [Markup(f'<span class="soft">{text(part["why"])}</span>')]
            row += [""] * (2 * len(tasks) - 1)
        else:
            row += of(part["tasks"], tasks)
        rows.append(row)
    note = "New is an id that training did not see, or fewer times than min_count. "
    note += f"{INTERVALS}{CHANCE_NOTE}"
    title = heading("New users and items, weekdays")
    return [title, table(columns, rows), paragraph(note, "note")]


LEADING = {"regression": "RMSE"}  # else AUC


def of(by_task: Mapping, tasks: list[str]) -> list[Markup]:
    cells = []
    for task in tasks:
        result = by_task.get(task) or {}
        leading = "rmse" if result.get("kind") == "regression" else "auc"
        form = form_of(leading, result.get(leading))
        cells += [spread(result, leading, form), spread(result, "calibration", ".3f")]
    return cells


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
    rows = []
    for name, output in found.items():
        told = {**output, "intervals": {"psi": output.get("interval")}}
        rows.append([name, spread(told, "psi")])
    note = "Both models on the same rows. By custom, an index below 0.1 is stable, and "
    note += "above 0.25 the predictions are of another kind. " + INTERVALS
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


def importance(found: dict) -> Markup:
    """What each task loses where the values of a feature are exchanged."""
    tasks, units = found.get("tasks") or {}, found.get("units") or []
    columns = [Column("Exchanged", False)]
    columns += [Column(f"{task}, {LOST[of['metric']]}") for task, of in tasks.items()]
    rows = [
        [unit_name(unit), *(gain_of(unit["tasks"].get(task)) for task in tasks)]
        for unit in units
    ]
    said = f"On {count(found.get('rows'))} of {count(found.get('of'))} rows, the values of "
    said += "a feature change places and the rows are scored again. Features that say the "
    said += (
        f"same change together. {INTERVALS}{NOT_TOLD} Not told from nothing. It says what "
    )
    said += "this model uses, not what another one could do without. First stands what "
    said += "some task loses most surely: the largest loss in standard errors."
    ranked = [task for task, of in tasks.items() if of["metric"] == "auc"]
    drawn = draw.importance_figure(units[:SHOWN], ranked, unit_name)
    parts = [paragraph(said, "note"), table(columns, rows)]
    if drawn:
        note = "The most important features, each with its 95 % interval."
        parts.insert(1, figure("AUC lost", drawn, note, "tall"))
    return join(parts)


LOST = {"auc": "AUC lost", "rmse": "RMSE gained"}


def unit_name(unit: dict) -> str:
    return " + ".join(map(str, unit.get("features") or []))
