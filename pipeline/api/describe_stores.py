"""What a store of nights, one night, or a release folder holds, in words."""

from pathlib import Path

from steadyrank.pipeline.evaluate.release import BLESSED, WITHDRAWN
from steadyrank.pipeline.export.card import versions_of
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import Night
from steadyrank.pipeline.store.page import took
from steadyrank.pipeline.store.records import (
    RECORD,
    SERVED,
    figures_of,
    rollbacks_of,
    served_now,
)

Rows = list[tuple[str, object]]


def night(path: Path) -> dict[str, Rows]:
    """A night's record; its stages have their own titles."""
    found = read_json(path / RECORD, "a night", Night)
    rows: Rows = [("verdict", found["verdict"])]
    rows += [("why", reason) for reason in found["reasons"]]
    for name in ("judged_at", "rows", "base", "fresh", "left_out", "left_out_because"):
        if found.get(name) is not None:
            rows.append((name.replace("_", " "), found[name]))
    for task, told in figures_of(found).items():
        bounds = told["interval"] or []
        said = " to ".join(f"{each:,.4g}" for each in bounds)
        value = f"{told['value']:,.4g}" if told["value"] is not None else "not defined"
        rows.append((f"{task}, {told['metric']}", f"{value} ({said})" if said else value))
    days = found.get("trained_on") or []
    if days:
        rows.append(("trained on", f"{len(days)} windows, {days[0]} to {days[-1]}"))
    rows += [(f"{s} took", took(n)) for s, n in (found.get("seconds") or {}).items()]
    return {f"night {path}": rows}


def served(path: Path) -> dict[str, Rows]:
    """What is served, was before, and was taken back."""
    if not (path / BLESSED).exists():
        return {f"release folder {path}": [("serves", "nothing yet")]}
    found = served_now(path)
    rows: Rows = [("serves version", found["current"])]
    for entry in found["releases"]:
        said = [entry.get(name) for name in ("time", "by", "verdict", "model")]
        rows.append(
            (f"version {entry['version']}", ", ".join(map(str, filter(None, said))))
        )
    if gone := versions_of(path / WITHDRAWN):
        rows.append(("withdrawn", ", ".join(map(str, gone))))
    for back in rollbacks_of(path):
        why = f": {back['reason']}" if back.get("reason") else ""
        said = f"from {back['from']} to {back['to']}, {back.get('by')}{why}"
        rows.append((f"rollback {back.get('time')}", said))
    return {f"release folder {path}": rows}


def store(path: Path) -> dict[str, Rows]:
    """What a store serves; its nights are a table of their own."""
    return served(path / SERVED)
