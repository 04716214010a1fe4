"""The first screen of a report: what was judged, what came of it, and four numbers."""

from collections.abc import Mapping
from pathlib import PurePosixPath

from steadyrank.pipeline.metrics.uncertainty import not_told, straddles
from steadyrank.pipeline.report.elements import (
    Column,
    Markup,
    code,
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

STYLES = {"PASS": " passed", "HOLD": " on-hold", "REFUSE": ""}
REASONS = 8  # at the top of the page; all of them are in the table
MAIN = ("auc", "ndcg@10", "rmse")  # what a task is known by, the first that it has


def word_of(verdict: Mapping) -> str:
    """The verdict; one that is none refuses."""
    found = verdict.get("verdict")
    return found if found in STYLES else "REFUSE"


def run_of(metrics: Mapping) -> str:
    """What a run is called: the folder that its export stands in."""
    parts = [p for p in PurePosixPath(str(metrics.get("model") or "")).parts if p != "/"]
    while parts and (parts[-1].isdigit() or parts[-1] == "export"):
        parts.pop()
    named = parts[-1] if parts else "a model"
    return f"night {named}" if parts[-2:-1] == ["nights"] else named


def title_of(metrics: Mapping, verdict: Mapping) -> str:
    """Of the page: differs from run to run."""
    return f"{word_of(verdict)}: {run_of(metrics)}, {_where(metrics)}"


def _where(metrics: Mapping) -> str:
    """The split that was judged on, with its days."""
    return str(metrics.get("where") or metrics.get("split"))


def header(metrics: Mapping, verdict: Mapping) -> Markup:
    """All of the first screen."""
    word = word_of(verdict)
    asked = verdict.get("gates") or []
    failed = [gate for gate in asked if not gate.get("passed")]
    failed.sort(key=is_held)
    reasons = "".join(f"<li>{reason(gate)}</li>" for gate in failed[:REASONS])
    if len(failed) > REASONS:
        reasons += f"<li>and {len(failed) - REASONS} more, see below</li>"
    said = text(_sentence(word, asked, failed))
    return Markup(
        f"<h1>{text(run_of(metrics))}</h1>\n{_subject(metrics)}\n"
        f'<div class="verdict{STYLES[word]}"><strong>{word}</strong>{said}'
        f"{_forced(verdict.get('forced') or {})}</div>\n{tiles(metrics)}\n"
        f"{f'<h3>What did not pass</h3><ul>{reasons}</ul>' if reasons else ''}"
    )


def _subject(metrics: Mapping) -> Markup:
    """On which rows, against what."""
    baseline = metrics.get("baseline") or {}
    against = "compared with nothing that was released"
    if baseline:
        named = run_of(baseline) if baseline.get("model") else "the baseline"
        against = f"compared with {named} on the same rows"
    rows = count(metrics.get("rows"))
    return paragraph(
        Markup(f"{rows} rows of {text(_where(metrics))}, {text(against)}."), "note"
    )


def _sentence(word: str, asked: list, failed: list) -> str:
    """What the verdict means."""
    of_all = f"{len(asked) - len(failed)} of {len(asked)} gates passed"
    if word == "PASS":
        return f"It may be released: {of_all}."
    if word == "HOLD":
        return f"It is not released: the data cannot tell yet. {of_all}."
    return f"It must not be released. {of_all}."


def is_held(gate: Mapping) -> bool:
    """Whether a gate only lacks rows."""
    return gate.get("verdict") == "HOLD"


def reason(gate: Mapping) -> Markup:
    """A gate that did not pass, and why; those that refuse stand before those on hold."""
    held = "on hold, " if is_held(gate) else ""
    named = " ".join(str(gate[key]) for key in ("gate", "task") if gate.get(key))
    return text(f"{held}{named}: {gate.get('reason')}")


def _forced(record: Mapping) -> Markup:
    """Why a model may be released whatever the verdict."""
    if not record:
        return Markup()
    return paragraph(f"Forced at {record.get('time')}: {record.get('reason')}")


def tiles(metrics: Mapping) -> Markup:
    """Two tasks as they were measured, the gain of one, and its calibration."""
    tasks = metrics.get("tasks") or {}
    known = [(task, metric) for task, found in tasks.items() if (metric := _main(found))]
    shown = [_figure(tasks[t], t, metric) for t, metric in known[:2]]
    gained = [(t, m, g) for t, m in known if (g := (tasks[t].get("gain") or {}).get(m))]
    for task, metric, gain in gained[:1]:
        value, bounds = number(gain.get("difference"), "+.4f"), gain.get("interval")
        told = with_interval(value, bounds, straddles(bounds, 0.0), "+.4f")
        shown.append(_tile(f"{name_of(metric)} of {task}, gain", told))
    if known and not gained:
        shown.append(_tile("Gain over what is released", text(None)))
    for task, found in tasks.items():
        if is_number(found.get("calibration")):
            shown.append(_figure(found, task, "calibration"))
            break
    return Markup(f'<div class="tiles">{join(shown, "")}</div>') if shown else Markup()


def _main(found: Mapping) -> str | None:
    return next((metric for metric in MAIN if is_number(found.get(metric))), None)


def _figure(found: Mapping, task: str, metric: str) -> Markup:
    form = form_of(metric, found.get(metric))
    interval = (found.get("intervals") or {}).get(metric)
    value = number(found.get(metric), form)
    shown = with_interval(value, interval, not_told(found, metric), form)
    return _tile(f"{name_of(metric)} of {task}", shown)


def _tile(label: str, content: Markup) -> Markup:
    return Markup(f'<div class="tile"><span>{text(label)}</span>{content}</div>')


def identity(metrics: Mapping) -> Markup:
    """By what model and examples are known, at the end of the page."""
    names = {
        "model": "Export",
        "fingerprint": "Examples",
        "content": "Content of the export",
    }
    rows = [[said, code(metrics[n])] for n, said in names.items() if metrics.get(n)]
    return table([Column("Identity", False), Column("", False)], rows)
