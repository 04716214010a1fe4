"""Writes the report: one HTML page about a run, which needs no network to be read.

Input: what the stages wrote (metrics.json, verdict.json, log.jsonl, manifest.json).
Output: ``report.html``, self-contained, and some hundred KB: a script of
its own draws the figures, ``report.js``.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from steadyrank.pipeline.files.publish import write_text
from steadyrank.pipeline.report.contract import contract
from steadyrank.pipeline.report.data import data
from steadyrank.pipeline.report.elements import Markup, join, text
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
from steadyrank.pipeline.report.summary import header, identity, title_of

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
        "Configuration": join([configuration(config, versions), identity(metrics)]),
    }
    page = document(header(metrics, verdict), whole, title_of(metrics, verdict))
    write_page(path, page)


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
        "Training and serving skew": skew(
            metrics.get("skew") or {}, list(metrics.get("tasks") or {})
        ),
        "Data": data(manifest, metrics.get("data") or {}),
    }
    if manifest.get("contract"):
        sections["Data contract"] = contract(manifest["contract"])
    optional = {"Against the baseline": "drift", "Importance": "importance"}
    absent = {name for name, found in optional.items() if not metrics.get(found)}
    return {n: content for n, content in sections.items() if content and n not in absent}


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
    return [f"<script>{resource('report.js')}</script>"]


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
