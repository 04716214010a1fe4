"""Writes the report: one HTML page about a run, which needs no network to be read.

Input: what the stages wrote (metrics.json, verdict.json, log.jsonl, manifest.json).
Output: ``report.html``, self-contained, with Plotly inside.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from plotly.offline import get_plotlyjs

from steadyrank.pipeline.files.publish import write_text
from steadyrank.pipeline.report.data import data
from steadyrank.pipeline.report.elements import Markup, code, count, paragraph, text
from steadyrank.pipeline.report.experts import experts
from steadyrank.pipeline.report.metrics import tasks
from steadyrank.pipeline.report.sections import (
    clipping,
    configuration,
    curves,
    gates,
    skew,
    training,
)
from steadyrank.pipeline.report.slices import drift, importance, slices

# Nothing may be fetched, whatever a name in the data holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
POLICY += "img-src data: blob:"
REASONS = 8  # at the top of the page; all of them are in the table
STYLES = {"PASS": " passed", "HOLD": " on-hold", "REFUSE": ""}


def write_report(
    path: Path,
    *,
    metrics: dict,
    verdict: dict,
    log: list[dict],
    config: dict,
    manifest: dict,
    versions: dict,
    sections: Callable | None = None,
) -> None:
    """Write the page; any part that was not recorded is left out or said to be absent.

    Args:
        path: The file to write.
        metrics: As in ``metrics.json``.
        verdict: As in ``verdict.json``.
        log: The lines of ``log.jsonl``: one a step, one after each epoch.
        config: The configuration of the run.
        manifest: As in the ``manifest.json`` of the examples.
        versions: {package: version}.
        sections: Metrics, log and manifest -> the sections of a kind of model, between
            the gates and the configuration; None: those of a ranking model.
    """
    whole = {
        "Gates": gates(verdict),
        **(sections or ranking_sections)(metrics, log, manifest),
        "Configuration": configuration(config, versions),
    }
    write_page(path, document(header(metrics, verdict), whole))


def ranking_sections(metrics: dict, log: list[dict], manifest: dict) -> dict[str, Markup]:
    """What is shown of a ranking model."""
    sections = {
        "Metrics": tasks(metrics),
        "Training": training(log, metrics.get("divergence") or {}),
        "Clipping": clipping(log),
        "Experts": experts(log),
        "Ranking and calibration": curves(metrics.get("tasks") or {}),
        "Slices": slices(
            metrics.get("slices") or [],
            metrics.get("standard_slices") or [],
            metrics.get("tasks") or {},
        ),
        "Importance": importance(metrics.get("importance") or {}),
        "Against the baseline": drift(metrics.get("drift") or {}),
        "Training and serving skew": skew(metrics.get("skew") or {}),
        "Data": data(manifest, metrics.get("data") or {}),
    }
    optional = {"Against the baseline": "drift", "Importance": "importance"}
    for name, found in optional.items():
        if not metrics.get(found):
            del sections[name]
    if not sections["Slices"]:
        del sections["Slices"]
    if not sections["Experts"]:
        del sections["Experts"]
    return sections


def write_page(path: Path, page: str) -> None:
    """Write a page through a temporary name."""
    write_text(Path(path), page)


def document(
    top: Markup, sections: dict[str, Markup], title: str = "steadyrank report"
) -> str:
    """The whole page: style, contents, sections, and the scripts last."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{text(title)}</title>",
            f"<style>{resource('report.css')}</style>\n</head>\n<body>",
            top,
            contents(list(sections)),
            *(section(title, content) for title, content in sections.items()),
            *_scripts(sections),
            "</body>\n</html>\n",
        ]
    )


def _scripts(sections: dict[str, Markup]) -> list[str]:
    """What draws plots, where there are some."""
    if not any('class="plot' in content for content in sections.values()):
        return []
    return [f"<script>{code}</script>" for code in (get_plotlyjs(), resource("report.js"))]


def resource(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


def anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def contents(titles: list[str]) -> Markup:
    items = "".join(f'<li><a href="#{anchor(t)}">{text(t)}</a></li>' for t in titles)
    return Markup(f'<nav aria-label="Contents"><ol>{items}</ol></nav>')


def section(title: str, content: Markup) -> Markup:
    name = anchor(title)
    return Markup(f'<section id="{name}"><h2>{text(title)}</h2>\n{content}</section>')


def header(metrics: dict, verdict: dict) -> Markup:
    """The verdict, what stands against a release, and what it is about."""
    found, word = verdict.get("verdict"), "REFUSE"
    if found in STYLES:
        word = found
    all_gates = verdict.get("gates") or []
    failed = [gate for gate in all_gates if not gate.get("passed")]
    failed.sort(key=is_held)
    said = f"{len(all_gates) - len(failed)} of {len(all_gates)} gates passed."
    reasons = "".join(f"<li>{reason(gate)}</li>" for gate in failed[:REASONS])
    if len(failed) > REASONS:
        reasons += f"<li>and {len(failed) - REASONS} more, see below</li>"
    return Markup(
        f"<h1>steadyrank report</h1>\n{subject(metrics)}\n"
        f'<div class="verdict{STYLES[word]}">'
        f"<strong>{word}</strong>{text(said)}{forced(verdict.get('forced') or {})}"
        f"{f'<ul>{reasons}</ul>' if reasons else ''}</div>"
    )


def is_held(gate: dict) -> bool:
    return gate.get("verdict") == "HOLD"


def reason(gate: dict) -> Markup:
    """A gate that did not pass, and why; those that refuse stand before those on hold."""
    held = "on hold, " if is_held(gate) else ""
    return text(f"{held}{gate_name(gate)}: {gate.get('reason')}")


def forced(record: dict) -> Markup:
    """Why a model may be released whatever the verdict."""
    if not record:
        return Markup()
    said = f"Forced at {record.get('time')}: {record.get('reason')}"
    return paragraph(said)


def subject(metrics: dict) -> Markup:
    """One sentence: which model was scored on what."""
    split, rows = text(metrics.get("split")), count(metrics.get("rows"))
    model, fingerprint = code(metrics.get("model")), code(metrics.get("fingerprint"))
    sentence = f"{rows} rows of the {split} split, scored by the exported model {model}"
    return paragraph(Markup(f"{sentence}, fingerprint {fingerprint}."), "note")


def gate_name(gate: dict) -> str:
    return " ".join(str(gate[key]) for key in ("gate", "task") if gate.get(key))
