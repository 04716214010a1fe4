"""An export, its examples and its gates to a verdict.

In: an example set and a SavedModel.  Out: ``metrics.json``, ``verdict.json`` and
``report.html``.  What is scored is the export itself: all rows through its encoded
signature, and the raw rows that preprocessing kept through the others.

    steadyrank evaluate --config C --examples DIR --model DIR --output DIR
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.evaluate.baseline import (
    ENCODED,
    RAW,
    require_baseline,
    score_baseline,
)
from steadyrank.pipeline.evaluate.margin import read_margin
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.card import EXTRA
from steadyrank.pipeline.export.latency import measure_latency
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.skew import measure_skew
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import (
    hash_folder,
    publish,
    refuse_existing,
    write_json,
)
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.files.versions import versions
from steadyrank.pipeline.gates.judge import judge
from steadyrank.pipeline.metrics.drift import measure_drift
from steadyrank.pipeline.metrics.scored import (
    compare,
    measure_slices,
    score_split,
    sliced_features,
)
from steadyrank.pipeline.metrics.soundness import count_nonfinite, measure_learned
from steadyrank.pipeline.raw_log.split import SPLITS
from steadyrank.pipeline.report import write_report
from steadyrank.pipeline.train.log import LOG_FILE, divergence_of, read_lines

VALIDATION = "validation"


def evaluate(
    config: Config,
    examples_path: Path,
    model_path: Path,
    output: Path,
    *,
    baseline_path: Path | None = None,
    stability_path: Path | None = None,
    split: str = "test",
    force: str | None = None,
    overwrite: bool = False,
    new_tasks: Sequence[str] = (),
) -> dict:
    """Measure an export and judge it.

    Args:
        config: The run's config, of which the gates judge.
        examples_path: The example set.
        model_path: An export, or a folder of versions, of which the latest is taken.
        output: Where the evaluation shall stand.
        baseline_path: Another export, which gains and drift are measured from.
        stability_path: What ``stability`` found for this config and these examples.
        split: The split to measure on.
        force: Why the model may be released whatever the verdict; it is recorded, the
            verdict stays what it is.
        overwrite: Whether an evaluation that is there may be replaced.
        new_tasks: Those that the baseline does not have and need not, which the drift
            gate passes over.

    Returns:
        What ``verdict.json`` holds, and ``metrics``.

    Raises:
        InputError: Model and examples do not belong together, or one is not whole.
    """
    refuse_existing(Path(output), overwrite)
    if split not in SPLITS:
        raise InputError(f"split must be one of {SPLITS}. Received: split={split!r}.")
    if force is not None and not force.strip():
        raise InputError("--force must say why. Received: an empty reason.")
    examples = ExampleSet.open(examples_path)
    export = Export(model_path)
    export.require(examples, "model")
    baseline = None if baseline_path is None else Export(baseline_path)
    if baseline is not None:
        require_baseline(baseline.path, examples, split)
        baseline.follow(examples)
    margin = stability_path and read_margin(
        stability_path, config, examples.schema.fingerprint
    )
    lines = list(read_lines(export.path / EXTRA / LOG_FILE))
    gates = config.gates.model_dump()
    metrics = {
        "split": split,
        "where": examples.span(split),
        "trained_on": examples.span("train"),
        "new_tasks": list(new_tasks),
        "rows": examples.rows(split),
        "model": original(export.path),
        "content": hash_folder(export.path, EXTRA),
        "fingerprint": examples.schema.fingerprint,
        "identity": examples.manifest["identity"].get(split),
        "size_mb": size_mb(export.path),
        **_measure_rows(config, examples, export, baseline, split),
        "skew": measure_skew(export, examples, split),
        "latency": measure_latency(export, examples, split, gates["latency"]),
        "divergence": divergence_of(lines, export.card["training"]["steps"]),
        "stability": margin,
        "data": _data_counts(examples.manifest["rows"]),
    }
    verdict = {**judge(metrics, gates), "forced": forced_record(force)}
    with publish(output, overwrite) as partial:
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
        )
    return {**verdict, "metrics": metrics}


def _measure_rows(config: Config, examples, export, baseline, split: str) -> dict:
    """All that is measured on the rows of the split, of the model and the baseline."""
    tasks, wanted = export.schema.tasks, sliced_features(config.gates)
    ours = score_split(export.encoded, examples, split, wanted)
    validation = ours
    if split != VALIDATION:
        validation = score_split(export.encoded, examples, VALIDATION)
    theirs = baseline and score_baseline(baseline, examples, split, ours)
    results, base = compare(ours, theirs, tasks, config.gates)
    found = {"tasks": results, "baseline": None}
    scored = {examples.span(split): ours, examples.span(VALIDATION): validation}
    found["finite"] = {
        "rows": {place: rows.rows for place, rows in scored.items()},
        "nonfinite": {
            place: count_nonfinite(rows.outputs) for place, rows in scored.items()
        },
    }
    means, repetitions = examples.label_means(), config.gates.repetitions
    learned = measure_learned(tasks, vars(validation), means, repetitions)
    found["learned"] = {"where": examples.span(VALIDATION), "tasks": learned}
    found["slices"] = measure_slices(ours, theirs, examples, config.gates)
    if theirs is not None:
        found["baseline"] = {
            "model": original(baseline.path),
            "tasks": base,
            "scored_on": ENCODED if examples.has_ids_of(baseline.schema) else RAW,
        }
        names = [*(task.name for task in tasks), "score"]
        outputs = {name: ours.outputs[name] for name in names}
        stands = {
            task.name: ours.stands_for(task) for task in tasks if task.negative_rate < 1
        }
        found["drift"] = measure_drift(outputs, theirs.outputs, stands)
    return found


def forced_record(reason: str | None) -> dict | None:
    """Why, and when, a model was let through whatever the verdict."""
    if reason is None:
        return None
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"reason": reason.strip(), "time": now.isoformat(timespec="seconds")}


def size_mb(path: Path) -> float:
    """Megabytes of all files below a folder."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 1e6


def _data_counts(rows: dict) -> dict:
    return {
        "rows_in": rows["read"],
        "rows_out": rows["written"],
        "rejected": sum(rows["rejected"].values()),
        "duplicates": rows["duplicates"],
    }
