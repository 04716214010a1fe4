"""``index.html`` of a store: its nights, the newest first, with curves and links."""

from collections.abc import Sequence
from pathlib import Path

from steadyrank.pipeline.files.publish import write_text
from steadyrank.pipeline.files.release_mirror import BLESSED
from steadyrank.pipeline.report import document, write_page
from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    count,
    form_of,
    is_number,
    join,
    name_of,
    number,
    paragraph,
    table,
    text,
    with_interval,
)
from steadyrank.pipeline.store.prometheus import exposition
from steadyrank.pipeline.store.records import NIGHTS, RECORD, SERVED, rollbacks_of
from steadyrank.pipeline.store.table import Row, rows_of

INDEX, PROMETHEUS = "index.html", "metrics.prom"
STYLES = {"PASS": "good", "HOLD": "held"}
WIDTH, HEIGHT = 150, 32  # of a curve


def write_index(store: Path) -> None:
    """Write ``index.html`` and ``metrics.prom`` of a store that has nights."""
    rows = rows_of(store)
    if not rows:
        return
    title = f"{store.absolute().name}: {len(rows)} nights to {rows[-1].day}"
    sections = {"Tasks": _curves(rows), "Nights": _table(rows, store)}
    if went_back := rollbacks_of(store / SERVED):
        sections["Rollbacks"] = _rollbacks(went_back)
    top = Markup(f"<h1>{text(title)}</h1>\n{paragraph(_sentence(rows))}")
    write_page(store / INDEX, document(top, sections, title))
    write_text(store / PROMETHEUS, exposition(rows))


def is_shown(store: Path, day: str) -> bool:
    """Whether what is written of a store is as young as a night, and as its releases."""
    made = (store / NIGHTS / day / RECORD, store / SERVED / BLESSED)
    written = (store / INDEX, store / PROMETHEUS)
    if not all(path.exists() for path in written):
        return False
    latest = max(path.stat().st_mtime_ns for path in made if path.exists())
    return min(path.stat().st_mtime_ns for path in written) >= latest


def _sentence(rows: Sequence[Row]) -> str:
    """What the last night came to, and what is served."""
    last, served = rows[-1], [row for row in rows if row.state == "served"]
    said = f"{last.day}: {last.verdict}."
    if not served:
        return f"{said} Nothing is served yet."
    ago = len(rows) - 1 - rows.index(served[-1])
    since = f", {ago} night{'s' * (ago != 1)} ago" if ago else ""
    return f"{said} Version {served[-1].version} is served, of {served[-1].day}{since}."


def _curves(rows: Sequence[Row]) -> Markup:
    """Each task's metric, night by night."""
    tasks = list(dict.fromkeys(task for row in rows for task in row.figures))
    columns = [Column(name, False) for name in ("Task", "Metric", "Night by night")]
    columns += [Column(name) for name in ("Last", "Lowest", "Highest")]
    cells = []
    for task in tasks:
        values = [row.figures.get(task, {}).get("value") for row in rows]
        known = [value for value in values if is_number(value)]
        if known:
            ends = (known[-1], min(known), max(known))
            metric = _metric(rows, task)
            shown = [number(end, form_of(metric, end)) for end in ends]
            cells.append([task, name_of(metric), sparkline(values), *shown])
    return table(columns, cells) if cells else paragraph("No night was judged yet.", "note")


def _metric(rows: Sequence[Row], task: str) -> str:
    """The one that the newest night told of a task."""
    return next(
        row.figures[task]["metric"] for row in reversed(rows) if task in row.figures
    )


def sparkline(values: Sequence[object]) -> Markup:
    """A curve without axes, in the colour of the text; a gap where there is no number."""
    known = [value for value in values if is_number(value)]
    low, high = min(known), max(known)
    step = WIDTH / max(len(values) - 1, 1)
    parts, pen = [], "M"
    for place, value in enumerate(values):
        if not is_number(value):
            pen = "M"
            continue
        y = HEIGHT / 2 if high == low else HEIGHT * (high - value) / (high - low)
        parts.append(f"{pen}{place * step + 2:.1f} {y + 2:.1f}")
        if pen == "M":  # a night between two gaps is a point
            parts.append("h.01")
        pen = "L"
    return Markup(
        f'<svg class="sparkline" width="{WIDTH + 4}" height="{HEIGHT + 4}" role="img">'
        f"<title>{number(known[0])} to {number(known[-1])}</title>"
        f'<path d="{"".join(parts)}"/></svg>'
    )


def _table(rows: Sequence[Row], store: Path) -> Markup:
    names = ("Day", "Verdict", "Why", "Base", "Version")
    columns = [Column(name, False) for name in names]
    tasks = list(dict.fromkeys(task for row in rows for task in row.figures))
    columns += [Column(f"{task}, {name_of(_metric(rows, task))}") for task in tasks]
    columns += [Column(name) for name in ("Rows", "Took", "Size")]
    return table(columns, [_cells(row, tasks, store) for row in reversed(rows)])


def _cells(row: Row, tasks: Sequence[str], store: Path) -> list:
    report = Path(NIGHTS) / row.day / "evaluation" / "report.html"
    link = _day(row.day)
    if (store / report).exists():
        link = Markup(f'<a href="{text(report.as_posix())}">{link}</a>')
    verdict = Markup(f'<span class="{STYLES.get(row.verdict, "bad")}">{row.verdict}</span>')
    why = "; ".join(row.why[:2]) + (f"; and {len(row.why) - 2} more" * (len(row.why) > 2))
    if row.left_out:
        why += f" ({row.left_out} is left out since)"
    version = "" if row.version is None else f"{row.version} {row.state}".strip()
    figures = [row.figures.get(task, {}) for task in tasks]
    return [
        link,
        verdict,
        why,
        _day(row.base or ""),
        version,
        *map(_figure, figures),
        count(row.rows),
        took(row.seconds),
        f"{megabytes(row.bytes)}{', pruned' if row.pruned else ''}",
    ]


def _figure(found: dict) -> Markup:
    """A task's metric over its interval."""
    value = found.get("value")
    form = form_of(found.get("metric", ""), value)
    return with_interval(number(value, form), found.get("interval"), form=form)


def _day(day: str) -> Markup:
    """A date, on one line."""
    return Markup(f'<span class="whole">{text(day)}</span>')


def _rollbacks(found: Sequence[dict]) -> Markup:
    columns = [Column(n, False) for n in ("When", "From", "To", "By", "Reason")]
    names = ("time", "from", "to", "by", "reason")
    return join([table(columns, [[each.get(n) for n in names] for each in found])])


def took(seconds: float) -> str:
    """A length of time: ``4 s``, ``12 min``, ``1 h 05``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02}"


def megabytes(size: int) -> str:
    """A size: ``12.3 MB``."""
    return f"{size / 1e6:,.1f} MB"
