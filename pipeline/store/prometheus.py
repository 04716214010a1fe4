"""``metrics.prom``: the last night for Prometheus' textfile collector."""

import datetime
from collections.abc import Iterator, Sequence

from steadyrank.pipeline.gates.verdicts import HOLD, PASS, REFUSE
from steadyrank.pipeline.store.table import Row

VERDICTS = (PASS, HOLD, REFUSE, "DIVERGED")


def exposition(rows: Sequence[Row]) -> str:
    """Prometheus' text format, of the last night and of all.

    Args:
        rows: The nights, in order; one at least.
    """
    families: dict[str, list[str]] = {}
    for name, labels, value in _samples(rows):
        said = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        line = (
            f"steadyrank_{name}{{{said}}} {value}" if said else f"steadyrank_{name} {value}"
        )
        families.setdefault(name, []).append(line)
    lines = []
    for name, samples in families.items():
        lines += [
            f"# HELP steadyrank_{name} {HELP[name]}",
            f"# TYPE steadyrank_{name} gauge",
        ]
        lines += samples
    return "\n".join(lines) + "\n"


HELP = {
    "night_verdict": "1 for the verdict of the last night, 0 for the others.",
    "night_day_timestamp_seconds": "The day of the last night, at 00:00 UTC.",
    "night_judged_timestamp_seconds": "When the last night was judged.",
    "night_rows": "Rows of the day that were judged on.",
    "night_duration_seconds": "That the stages of the last night took.",
    "night_bytes": "Of the last night's own files.",
    "night_metric": "A metric of a task on the day.",
    "night_metric_low": "Lower bound of its 95 % interval.",
    "night_metric_high": "Upper bound of its 95 % interval.",
    "nights": "Nights of the store, by verdict.",
    "nights_since_release": "Nights since the last one that passed.",
    "served_version": "The version that is served.",
}


def _samples(rows: Sequence[Row]) -> Iterator[tuple[str, dict[str, str], float]]:
    last = rows[-1]
    for verdict in VERDICTS:
        yield "night_verdict", {"verdict": verdict}, int(verdict == last.verdict)
    yield "night_day_timestamp_seconds", {}, _seconds(last.day)
    if last.judged_at:
        yield "night_judged_timestamp_seconds", {}, _seconds(last.judged_at)
    if last.rows is not None:
        yield "night_rows", {}, last.rows
    yield "night_duration_seconds", {}, last.seconds
    yield "night_bytes", {}, last.bytes
    for task, found in last.figures.items():
        labels = {"task": task, "metric": found["metric"]}
        if found["value"] is not None:
            yield "night_metric", labels, found["value"]
        if found["interval"]:
            yield "night_metric_low", labels, found["interval"][0]
            yield "night_metric_high", labels, found["interval"][1]
    for verdict in VERDICTS:
        count = sum(row.verdict == verdict for row in rows)
        yield "nights", {"verdict": verdict}, count
    passed = [number for number, row in enumerate(rows) if row.verdict == PASS]
    yield "nights_since_release", {}, len(rows) - 1 - max(passed, default=-1)
    for row in rows:
        if row.state == "served":
            yield "served_version", {}, row.version or 0


def _seconds(moment: str) -> float:
    found = datetime.datetime.fromisoformat(moment)
    return found.replace(tzinfo=found.tzinfo or datetime.timezone.utc).timestamp()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
