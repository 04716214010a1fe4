"""What commands show as tables."""

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from steadyrank.pipeline.api import ServeCheckResult

COLOURS = {"PASS": "green", "HOLD": "yellow", "REFUSE": "red"}


def metrics_table(metrics: Mapping) -> Table:
    """Of ``evaluate``: a task a row."""
    table = Table(title=f"{metrics['split']}: {metrics['rows']:,} rows")
    names = ("rows", "auc", "reachable_auc", "gauc", "rmse", "calibration")
    names += ("mrr@5", "hr@5", "ndcg@5", "hr@20")
    popular = {name: metrics[name] for name in ("popularity",) if name in metrics}
    results = {**metrics["tasks"], **popular}
    shown = [n for n in names if any(n in r for r in results.values())]
    table.add_column("task", no_wrap=True)
    for name in shown:
        title = "reachable" if name == "reachable_auc" else name
        table.add_column(title, justify="right", no_wrap=True)
    for task, result in results.items():
        table.add_row(task, *[cell(result.get(name)) for name in shown])
    return table


def gates_table(gates: list[dict]) -> Table:
    """Of ``evaluate``: a gate a row, but for those on slices that passed."""
    table = Table(title="gates")
    for name in ("gate", "task", "rule", "verdict", "reason"):
        table.add_column(name)
    quiet = [gate for gate in gates if gate.get("slice") and gate["passed"]]
    if quiet:
        table.caption = f"and {len(quiet)} gates on slices, which passed"
    for gate in (gate for gate in gates if gate not in quiet):
        mark = f"[{COLOURS[gate['verdict']]}]{gate['verdict']}[/]"
        cells = [escape(str(gate[name] or "")) for name in ("gate", "task", "rule")]
        table.add_row(*cells, mark, escape(gate["reason"]))
    return table


def night_table(night: Mapping) -> Table:
    """Of one night: the blessed model's AUC and the new one's."""
    table = _table(f"AUC on {night['day']}", "task", "blessed", "new")
    for task, auc in night["auc"].items():
        before = (night["base_auc"] or {}).get(task)
        table.add_row(escape(task), cell(before), cell(auc))
    return table


def latency_table(result: ServeCheckResult) -> Table:
    """Of ``serve-check``: how far each signature's scores are off, and its times."""
    title = f"{result.rows:,} raw rows, from NumPy to NumPy"
    names = ("signature", "difference", "rows", "p50 ms", "p99 ms", "rows/s")
    table = _table(title, *names)
    for row in result.latency:
        gap = result.differences.get(row["signature"])
        cells = ["" if gap is None else f"{gap:.1e}", str(row["rows"])]
        cells += [f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms")]
        table.add_row(row["signature"], *cells, f"{row['rows_per_second']:,.0f}")
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
    for name in ("trial", "outcome", "objective", "seconds"):
        table.add_column(name, no_wrap=True)
    for name in _short_names(keys):
        table.add_column(name, overflow="fold")
    for row in rows:
        step = f", step {row['step']}" if row["step"] else ""
        cells = [row["trial"], row["status"] + step, cell(row["value"])]
        cells += [cell(row["seconds"]), *(_setting(row["values"].get(k)) for k in keys)]
        table.add_row(*[escape(each) for each in cells])
    return table


def cell(value) -> str:
    """A number, or nothing."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _short_names(keys: list[str]) -> list[str]:
    """The ends of the keys that tell them apart."""
    ends = [key.rpartition(".")[2] for key in keys]
    longer = [".".join(key.split(".")[-2:]) for key in keys]
    return [b if ends.count(a) > 1 else a for a, b in zip(ends, longer, strict=True)]


def _setting(value) -> str:
    number = isinstance(value, float)
    return "" if value is None else f"{value:.4g}" if number else str(value)
