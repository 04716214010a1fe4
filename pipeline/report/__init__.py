"""Writes the report: one HTML page about a run, which needs no network to be read.

Input: what the stages wrote (metrics.json, verdict.json, log.jsonl, manifest.json).
Output: ``report.html``, self-contained, with Plotly inside.
"""

from importlib import resources
from pathlib import Path

from plotly.offline import get_plotlyjs

from pipeline.report.data import data
from pipeline.report.elements import (
    Markup,
    code,
    count,
    paragraph,
    text,
)
from pipeline.report.metrics import tasks
from pipeline.report.sections import (
    clipping,
    configuration,
    curves,
    gates,
    skew,
    training,
)

# Nothing may be fetched, whatever a name in the data holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
POLICY += "img-src data: blob:"


def write_report(
    path: Path,
    *,
    metrics: dict,
    verdict: dict,
    log: list[dict],
    config: dict,
    manifest: dict,
    versions: dict,
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
    """
    sections = {
        "Gates": gates(verdict),
        "Metrics": tasks(metrics),
        "Training": training(log, metrics.get("divergence") or {}),
        "Clipping": clipping(log),
        "Ranking and calibration": curves(metrics.get("tasks") or {}),
        "Training and serving skew": skew(metrics.get("skew") or {}),
        "Data": data(manifest, metrics.get("data") or {}),
        "Configuration": configuration(config, versions),
    }
    page = document(header(metrics, verdict), sections)
    partial = Path(path).with_name(Path(path).name + ".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)


def document(top: Markup, sections: dict[str, Markup]) -> str:
    """The whole page: style, contents, sections, and the scripts last."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="color-scheme" content="light dark">',
            "<title>steadyrank report</title>",
            f"<style>{resource('report.css')}</style>\n</head>\n<body>",
            top,
            contents(list(sections)),
            *(section(title, content) for title, content in sections.items()),
            f"<script>{get_plotlyjs()}</script>",
            f"<script>{resource('report.js')}</script>\n</body>\n</html>\n",
        ]
    )


def resource(name: str) -> str:
    return (resources.files("pipeline.report") / name).read_text(encoding="utf-8")


def anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def contents(titles: list[str]) -> Markup:
    items = "".join(f'<li><a href="#{anchor(t)}">{text(t)}</a></li>' for t in titles)
    return Markup(f'<nav aria-label="Contents"><ol>{items}</ol></nav>')


def section(title: str, content: Markup) -> Markup:
    name = anchor(title)
    return Markup(f'<section id="{name}"><h2>{text(title)}</h2>\n{content}</section>')


def header(metrics: dict, verdict: dict) -> Markup:
    """The verdict, the reasons of a refusal, and what it is about."""
    passed = verdict.get("verdict") == "PASS"
    all_gates = verdict.get("gates") or []
    refused = [gate for gate in all_gates if not gate.get("passed")]
    said = f"{len(all_gates) - len(refused)} of {len(all_gates)} gates passed."
    reasons = "".join(
        f"<li>{text(gate_name(gate))}: {text(gate.get('reason'))}</li>" for gate in refused
    )
    return Markup(
        f"<h1>steadyrank report</h1>\n{subject(metrics)}\n"
        f'<div class="verdict{" passed" if passed else ""}">'
        f"<strong>{'PASS' if passed else 'REFUSE'}</strong>{text(said)}"
        f"{f'<ul>{reasons}</ul>' if reasons else ''}</div>"
    )


def subject(metrics: dict) -> Markup:
    """One sentence: which model was scored on what."""
    split, rows = text(metrics.get("split")), count(metrics.get("rows"))
    model, fingerprint = code(metrics.get("model")), code(metrics.get("fingerprint"))
    sentence = f"{rows} rows of the {split} split, scored by the exported model {model}"
    return paragraph(Markup(f"{sentence}, fingerprint {fingerprint}."), "note")


def gate_name(gate: dict) -> str:
    return " ".join(str(gate[key]) for key in ("gate", "task") if gate.get(key))
