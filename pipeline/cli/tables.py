"""What commands show as tables."""

import textwrap
from collections.abc import Mapping, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from steadyrank.components.metrics.bootstrap import FEWEST
from steadyrank.pipeline.api import ImportanceResult, ServeCheckResult
from steadyrank.pipeline.metrics.uncertainty import HIGHER, LOWER, not_told, straddles
from steadyrank.pipeline.store.records import figures_of

COLOURS = {"PASS": "green", "HOLD": "yellow", "REFUSE": "red", "DIVERGED": "red"}


def metrics_table(metrics: Mapping) -> Table:
    """Of ``evaluate``: a task a row, below each figure its interval."""
    names = ("rows", "auc", "reachable_auc", "gauc", "rmse", "calibration")
    names += ("hr@5", "ndcg@5", "hr@10", "ndcg@10", "hr@20")
    by_counts = ("popularity", "transitions")
    references = {name: metrics[name] for name in by_counts if name in metrics}
    results = {**metrics["tasks"], **references}
    shown = [n for n in names if any(n in r for r in results.values())]
    titles = {"reachable_auc": "reachable"}
    title = f"{metrics['split']}: {metrics['rows']:,} rows"
    return _figures(title, results, {name: titles.get(name, name) for name in shown})


WIDTH = 80  # that a table fits into
NARROWEST = 12  # of a column of names
SCORE = {
    "score_gauc": "gauc",
    "score_ndcg": "ndcg@10",
    "score_ndcg_chance": "of a random order",
}


def score_table(metrics: Mapping) -> Table | None:
    """Of ``evaluate``: how the served score orders each user's rows; None: no users."""
    found = {t: r for t, r in metrics["tasks"].items() if r.get("score_gauc") is not None}
    return _figures("under the served score", found, SCORE) if found else None


def _figures(title: str, results: Mapping, names: Mapping[str, str]) -> Table:
    """A task a row, a metric a column."""
    table = _framed(title)
    rows = [[_with_interval(r, name) for name in names] for r in results.values()]
    heads = list(names.values())
    widths = [
        max(map(len, [head, *"\n".join(column).split("\n")]), default=0)
        for head, column in zip(heads, zip(*rows, strict=True), strict=True)
    ]
    room = WIDTH - sum(widths) - len(widths)
    longest = max(map(len, results), default=0)
    if room < min(longest, NARROWEST):  # a number is never broken, an interval between two
        rows = [[cell.replace("–", "–\n") for cell in row] for row in rows]
    table.add_column("task", overflow="fold", no_wrap=room >= longest)
    for said in heads:
        table.add_column(said, justify="right", no_wrap=True)
    for task, row in zip(results, rows, strict=True):
        table.add_row(escape(task), *row)
    intervals = any(r.get("intervals") for r in results.values())
    marked = any(not_told(r, name) for r in results.values() for name in names)
    alone = any(_lacks_interval(r, name) for r in results.values() for name in names)
    notes = [INTERVALS] * intervals + [ALONE] * alone + [CHANCE] * marked
    table.caption = "; ".join(notes) or None
    return table


def _lacks_interval(result: Mapping, name: str) -> bool:
    """Whether a figure that has one elsewhere stands alone."""
    drawn = name in (*HIGHER, *LOWER, "calibration")
    found = (result.get("intervals") or {}).get(name)
    return drawn and result.get(name) is not None and found is None


INTERVALS = "below each figure its 95 % interval"
ALONE = f"none where fewer than {FEWEST} users, or rows, tell"
CHANCE = "* not told from chance"


def _with_interval(result: Mapping, name: str) -> str:
    """A figure, its mark, and on the next line its interval."""
    value = cell(result.get(name)) + "*" * not_told(result, name)
    bounds = (result.get("intervals") or {}).get(name)
    return f"{value}\n{interval(bounds)}" if bounds else value


def interval(bounds: Sequence[float], sign: str = "") -> str:
    """The bounds of an interval, as short as tells them apart."""
    digits = 3 if bounds[1] - bounds[0] >= 0.01 else 5
    form = f"{sign},.0f" if max(map(abs, bounds)) >= 100 else f"{sign}.{digits}f"
    if sign:
        return " to ".join(format(bound, form) for bound in bounds)
    return "–".join(format(bound, form).removeprefix("0") for bound in bounds)


def gates_table(gates: list[dict]) -> Table:
    """Of ``evaluate``: a gate a row, but for those on slices that passed.

    Task, rows and limit stand in the reason: at 80 columns there is room for it alone.
    """
    table = Table(title="gates")
    for name in ("gate", "verdict", "reason"):
        table.add_column(name)
    quiet = [gate for gate in gates if gate.get("slice") and gate["passed"]]
    if quiet:
        table.caption = f"and {len(quiet)} gates on slices, which passed"
    for gate in (gate for gate in gates if gate not in quiet):
        mark = f"[{COLOURS[gate['verdict']]}]{gate['verdict']}[/]"
        table.add_row(escape(gate["gate"]), mark, escape(gate["reason"]))
    return table


def night_table(night: Mapping) -> Table:
    """Of one night: a metric a task, of the blessed model and the new one, and its gain."""
    table = _table(f"on {night['day']}", "task", "metric", "blessed", "new", "gain")
    figures = figures_of(dict(night))
    for task, found in figures.items():
        metric = found["metric"]
        both = [(found[a], found[b]) for a, b in OF_BOTH]
        results = [{metric: value, "intervals": {metric: i}} for value, i in both]
        cells = [_with_interval(result, metric) for result in results]
        gain = difference(found["gain"] or {})
        table.add_row(escape(task), metric.upper(), *cells, gain)
    if any(found["interval"] for found in figures.values()):
        table.caption = f"{INTERVALS}; * not told from chance, or from no gain"
    return table


OF_BOTH = (("base", "base_interval"), ("value", "interval"))  # of a night: old and new


WHY = 90  # characters of the reasons of a night


def nights_table(rows: Sequence[Mapping]) -> Table:
    """Of a store: a night a row."""
    table = _framed(f"{len(rows)} nights")
    table.padding = (0, 1, 0, 0)
    for name in ("day", "verdict", "figures"):
        table.add_column(name, no_wrap=True)
    table.add_column("of it", justify="right", no_wrap=True)
    table.add_column("why")
    for row in rows:
        mark = f"[{COLOURS[row['verdict']]}]{row['verdict']}[/]"
        if row["version"] is not None:
            mark += f"\nversion {row['version']}\n{row['state']}"
        figures = [_figure(task, found) for task, found in row["figures"].items()]
        count = [] if row["rows"] is None else [f"{row['rows']:,} rows"]
        size = [f"{row['seconds']:,.0f} s", f"{row['bytes'] / 1e6:,.1f} MB"]
        of_it = [*count, *size, *["pruned"] * row["pruned"]]
        why = "; ".join(row["why"]) or f"from {row['base'] or 'fresh weights'}"
        why = textwrap.shorten(why, WHY, placeholder=" …")  # night.json has all of it
        cells = ("\n".join(each) for each in (figures, of_it))
        table.add_row(row["day"], mark, *map(escape, cells), escape(why))
    return table


def _figure(task: str, found: Mapping) -> str:
    """A task, and on the next line its figure with its interval."""
    value = f"{found['metric'].upper()} {cell(found['value'])}"
    if found["interval"]:
        value += f" ({interval(found['interval'])})"
    named = task if len(task) <= LONGEST else f"{task[: LONGEST - 1]}…"
    return f"{named}\n{value}"


LONGEST = 27  # name of a task in the table of nights: as long as a figure


def difference(found: Mapping, digits: int = 4) -> str:
    """A difference, marked where it is not told from 0, over its interval."""
    value, bounds = found.get("difference"), found.get("interval")
    if value is None or value != value:
        return ""
    said = format(value, "+,.0f" if abs(value) >= 100 else f"+.{digits}f")
    if not bounds:
        return said
    return f"{said}{'*' * straddles(bounds, 0.0)}\n{interval(bounds, '+')}"


TOLD = ("auc", "gauc", "rmse", "score_ndcg", "ndcg@10", "hr@20")  # the rest is on the page


def differences_table(first: str, name: str, found: list[dict]) -> Table:
    """Of ``compare``: how a run's figures differ from the first one's."""
    table = _framed(f"{name} against {first}")
    table.add_column("task", no_wrap=True)
    table.add_column("metric")
    for said in (first, name, "difference"):
        table.add_column(escape(said), justify="right", overflow="fold")
    table.add_column("verdict")
    for each in (each for each in found if each["metric"] in TOLD):
        cells = [cell(each["first"]), cell(each["other"]), difference(each)]
        metric = each["metric"].replace("_", " ")
        table.add_row(escape(each["task"]), metric, *cells, each["verdict"])
    table.caption = f"{INTERVALS}, paired; * not told from none"
    return table


def _framed(title: str) -> Table:
    """A table of many columns: without lines between them."""
    frame = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False}
    return Table(title=escape(title), padding=0, **frame)


MATTERING = 12  # of the features of a task, in the terminal; JSON and report have all


def importance_table(result: ImportanceResult, task: str) -> Table:
    """Of ``importance``: what one task loses without each feature."""
    base, shown = result.tasks[task], f"{task}: {cell(result.tasks[task]['value'])}"
    title = f"{shown} {base['metric'].upper()}"
    lost = "AUC lost" if base["metric"] == "auc" else "RMSE gained"
    table = _table(title, "exchanged", lost, "95 % interval")
    units = [(unit["features"], unit["tasks"][task]) for unit in result.units]
    units.sort(key=lambda pair: -pair[1]["difference"])
    for names, found in units[:MATTERING]:
        value, _, bounds = difference(found).partition("\n")
        table.add_row(escape(" + ".join(names)), value, bounds)
    notes = [f"{len(units) - MATTERING} more are in the report"] * (len(units) > MATTERING)
    table.caption = "; ".join([*notes, "* not told from none"])
    return table


def latency_table(result: ServeCheckResult) -> Table:
    """Of ``serve-check``: how far each signature's scores are off, and its times."""
    title = f"{result.rows:,} raw rows, from NumPy to NumPy"
    names = ("signature", "difference", "rows", "p50 ms", "p99 ms", "rows/s")
    table = _table(title, *names)
    for row in result.latency:
        gap = result.differences.get(row["signature"])
        cells = ["" if gap is None else f"{gap:.1e}", str(row["rows"])]
        for key in ("p50_ms", "p99_ms"):
            bounds = (row.get("intervals") or {}).get(key)
            said = f"\n{bounds[0]:.2f} to {bounds[1]:.2f}" if bounds else ""
            cells.append(f"{row[key]:.2f}{said}")
        table.add_row(row["signature"], *cells, f"{row['rows_per_second']:,.0f}")
    table.caption = INTERVALS
    return table


def methods_table(rate: float, rows: list[tuple]) -> Table:
    """Of ``stability``: a clipping method a row."""
    names = ("method", "largest stable", "margin", "best AUC", "at rate", "diverged")
    table = _table(f"dense learning rate in use: {rate:g}", *names)
    for row in rows:
        table.add_row(*[escape(str(each)) for each in row])
    return table


def part_table(title: str, rows: list[tuple[str, object]]) -> Table:
    """Of ``inspect``: what one folder holds, a name and its value a row."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    for name, value in rows:
        table.add_row(escape(str(name)), escape(str(value)))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    """Words on the left, numbers on the right."""
    table = Table(title=title)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def trials_table(rows: list[dict]) -> Table:
    """Of ``sweep``: a trial a row."""
    keys = list(dict.fromkeys(key for row in rows for key in row["values"]))
    table = Table(title=f"{len(rows)} trials")
    for name in ("trial", "outcome", "objective", "over the first", "seconds"):
        table.add_column(name, no_wrap=True)
    for name in _short_names(keys):
        table.add_column(name, overflow="fold")
    for row in rows:
        step = f", step {row['step']}" if row["step"] else ""
        value, bounds = cell(row["value"]), row.get("interval")
        value += f"\n{interval(bounds)}" if bounds else ""
        over = {"difference": row.get("difference"), "interval": row.get("over_first")}
        cells = [row["trial"], row["status"] + step, value, difference(over)]
        took = row["seconds"]
        cells.append("" if took is None else f"{took:,.1f}")
        cells += [_setting(row["values"].get(key)) for key in keys]
        table.add_row(*[escape(each) for each in cells])
    if any(row.get("interval") for row in rows):
        table.caption = f"{INTERVALS}; * not told from the first"
    return table


def cell(value) -> str:
    """A number, or nothing; as many places as its neighbours in a column have."""
    if value is None:
        return ""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:#.4g}"
    return f"{value:.4f}" if abs(value) >= 1e-3 or not value else f"{value:.2g}"


def _short_names(keys: list[str]) -> list[str]:
    """The ends of the keys that tell them apart."""
    ends = [key.rpartition(".")[2] for key in keys]
    longer = [".".join(key.split(".")[-2:]) for key in keys]
    return [b if ends.count(a) > 1 else a for a, b in zip(ends, longer, strict=True)]


def _setting(value) -> str:
    number = isinstance(value, float)
    return "" if value is None else f"{value:.4g}" if number else str(value)
