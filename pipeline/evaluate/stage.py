"""An export, its examples and its gates to a verdict.

In: examples and a SavedModel of any kind.  Out: ``metrics.json``, ``verdict.json`` and
``report.html``, and ``samples.npz`` for ``compare``.  What is scored is the export itself:
all rows through its encoded signature, and the raw rows that preprocessing kept through the
others.

    steadyrank evaluate --config C --examples DIR --model DIR --output DIR
"""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path

from steadyrank.pipeline.evaluate.margin import read_margin
from steadyrank.pipeline.evaluate.predictions import write_predictions
from steadyrank.pipeline.evaluate.tracked import tell_verdict
from steadyrank.pipeline.export.card import EXTRA, require_unchanged
from steadyrank.pipeline.export.latency import measure_latency, require_answers
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import publish, refuse_existing, write_json
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.files.versions import versions
from steadyrank.pipeline.kinds.protocol import Kind, require
from steadyrank.pipeline.metrics.samples import Samples
from steadyrank.pipeline.metrics.uncertainty import SCORE, not_told
from steadyrank.pipeline.raw_log.split import SPLITS
from steadyrank.pipeline.report import write_report
from steadyrank.pipeline.tracking.tracked import require_tracking
from steadyrank.pipeline.train.log import LOG_FILE, divergence_of, read_lines
from steadyrank.pipeline.train.reporter import Progress


def evaluate(
    config,
    examples_path: Path,
    model_path: Path,
    output: Path,
    *,
    kind: Kind,
    baseline_path: Path | None = None,
    stability_path: Path | None = None,
    split: str = "test",
    force: str | None = None,
    overwrite: bool = False,
    new_tasks: Sequence[str] = (),
    predictions: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Measure an export and judge it.

    Args:
        config: The run's config, of which the gates judge.
        examples_path: The examples.
        model_path: An export, or a folder of versions, of which the latest is taken.
        output: Where the evaluation shall stand.
        kind: Of the model.
        baseline_path: Another export, which gains and drift are measured from.
        stability_path: What ``stability`` found for this config and these examples.
        split: The split to measure on.
        force: Why the model may be released whatever the verdict; it is recorded, the
            verdict stays what it is.
        overwrite: Whether an evaluation that is there may be replaced.
        new_tasks: Those that the baseline does not have and need not, which the drift
            gate passes over.
        predictions: Whether the scored rows are to be written, too.
        progress: As ``train`` calls it, with a warning where MLflow does not answer.

    Returns:
        What ``verdict.json`` holds, and ``metrics``.

    Raises:
        InputError: Model and examples do not belong together, or one is not whole.
    """
    refuse_existing(Path(output), overwrite)
    require_tracking(config)
    if split not in SPLITS:
        raise InputError(
            f"split must be one of {SPLITS}. Received: split={split!r}. Take 'test'."
        )
    if force is not None and not force.strip():
        raise InputError(f"--force must say why. Received: {force!r}. Give the reason.")
    if stability_path is not None:
        require(kind.name, "stability")
    if predictions:
        require(kind.name, "predictions")
    examples = kind.open_examples(examples_path)
    margin = stability_path and read_margin(
        stability_path, config, examples.schema.fingerprint
    )
    export = kind.open_model(model_path, examples)
    content = require_unchanged(export.path, export.card, "model")
    baseline = baseline_path and kind.open_baseline(baseline_path, examples, split)
    if baseline:
        require_unchanged(baseline.path, baseline.card, "baseline")
    gates = config.gates.model_dump()
    if force is None:
        require_answers(export.card, gates["latency"], export.path)
    lines = list(read_lines(export.path / EXTRA / LOG_FILE))

    def requests(rows: int) -> dict[str, dict]:
        return kind.requests(export, examples, split)(rows)

    metrics = {
        "split": split,
        "new_tasks": list(new_tasks),
        "model": original(export.path),
        "content": content,
        "fingerprint": examples.schema.fingerprint,
        "size_mb": size_mb(export.path),
        **kind.measure(config, examples, export, baseline=baseline, split=split),
        "skew": kind.skew(export, examples, split),
        "latency": measure_latency(export.path, gates["latency"], requests),
        "divergence": divergence_of(lines, export.card["training"]["steps"]),
        "steps_before": export.card["training"].get("steps_before", 0),
        "stability": margin,
    }
    samples, scored = metrics.pop("samples", Samples()), metrics.pop("scored", None)
    verdict = {**kind.judge(metrics, gates), "forced": forced_record(force)}
    if found := under_score(metrics["tasks"]):
        verdict["under_score"] = found
    with publish(output, overwrite) as partial:
        samples.write(partial)
        if predictions:
            write_predictions(partial, scored, examples, split)
        write_json(partial / "metrics.json", metrics)
        write_json(partial / "verdict.json", verdict)
        write_report(
            partial / "report.html",
            metrics=metrics,
            verdict=verdict,
            log=lines,
            config=config.model_dump(mode="json"),
            manifest=examples.manifest,
            versions=versions(),
            sections=kind.sections,
        )
    lost = tell_verdict(config, export.card["training"], metrics, verdict)
    if lost and progress is not None:
        progress(0, 0, lost)
    return {**verdict, "metrics": metrics}


def under_score(tasks: Mapping[str, Mapping]) -> dict:
    """What is served orders the rows so: task -> metric -> its value and 95 % interval."""
    said: dict = {}
    for task, found in tasks.items():
        if found.get("score_gauc") is None:
            continue
        said[task] = {}
        for name in SCORE:
            interval = (found.get("intervals") or {}).get(name)
            told = interval is not None and not not_told(found, name)
            figure = {"value": found[name], "interval": interval, "told_from_chance": told}
            said[task][name.removeprefix("score_")] = figure
    return said


def forced_record(reason: str | None) -> dict | None:
    """Why, and when, a model was let through whatever the verdict."""
    if reason is None:
        return None
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"reason": reason.strip(), "time": now.isoformat(timespec="seconds")}


def size_mb(path: Path) -> float:
    """Megabytes of all files below a folder."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6
