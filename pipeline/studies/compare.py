"""Several runs to one page that shows them side by side.

In: folders as ``run`` writes them, with ``evaluation/`` and ``train/``.  Out: an HTML page
that needs no network.

    steadyrank compare RUN RUN ... --output compare.html
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from steadyrank.pipeline.config import read_document
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import make_room, read_json
from steadyrank.pipeline.files.shapes import Metrics, Verdict
from steadyrank.pipeline.metrics.samples import (
    decided,
    differences,
    read_samples,
    sentence_of,
)
from steadyrank.pipeline.report.comparison import write_comparison
from steadyrank.pipeline.report.judged import apart, comparable
from steadyrank.pipeline.train.log import LOG_FILE, read_lines

EVALUATED_RUN = "an evaluated run"


def compare(paths: Sequence[Path], output: Path) -> list[dict]:
    """Write the page.

    Args:
        paths: At least two runs.
        output: The file to write.

    Returns:
        What was read of each run; of all but the first, ``against`` is how its metrics
        differ from the first one's (``metrics.samples.differences``), ``said`` a sentence.

    Raises:
        InputError: There are fewer than two, two are one, one is not whole, or the page
            has no place.
    """
    if len(paths) < 2:
        raise InputError(f"compare needs at least two runs. Received: {len(paths)}.")
    seen = {path: os.path.realpath(path) for path in paths}
    if len({*seen.values()}) < len(paths):
        raise InputError(
            f"compare needs runs that differ. Received: {', '.join(map(str, paths))}, of "
            "which two are the same folder."
        )
    runs = [read_run(Path(path)) for path in paths]
    for run, name in zip(runs, names_of([Path(p) for p in paths]), strict=True):
        run["name"] = name
    for run in runs[1:]:
        run["against"] = list(_against(runs[0], run))
        tasks = (run["metrics"].get("tasks") or {}).items()
        found = decided(run["against"], {task: each.get("kind") for task, each in tasks})
        said = sentence_of(run["name"], runs[0]["name"], found)
        run["said"] = " ".join([said, *_left_out(runs[0], run)])
    write_comparison(make_room(Path(output)), runs)
    return runs


def _against(first: dict, run: dict) -> Iterator[dict]:
    """How a run's metrics differ from the first one's, of tasks that compare."""
    ours, theirs = first["metrics"], run["metrics"]
    pairs = (ours.get("tasks") or {}, first["samples"], theirs.get("tasks") or {})
    for found in differences(*pairs, run["samples"]):
        if comparable(ours, theirs, found["task"]) is not False:
            yield found


def _left_out(first: dict, run: dict) -> list[str]:
    """Why some task of two runs does not compare, or none does."""
    names = [sorted(each["metrics"].get("tasks") or {}) for each in (first, run)]
    if not {*names[0]} & {*names[1]}:
        return [f"They have {' and '.join(', '.join(n) or 'no task' for n in names)}."]
    return apart([first, run])


def read_run(path: Path) -> dict:
    """``metrics``, ``samples``, ``verdict``, ``log`` and ``config`` of a run.

    Raises:
        InputError: A part of it is missing; it is named.
    """
    metrics = read_json(path / "evaluation" / "metrics.json", EVALUATED_RUN, Metrics)
    verdict = read_json(path / "evaluation" / "verdict.json", EVALUATED_RUN, Verdict)
    log = list(read_lines(path / "train" / LOG_FILE))
    config = read_document(path / "train" / "config.yaml")
    found = {"metrics": metrics, "verdict": verdict, "log": log, "config": config}
    return {**found, "samples": read_samples(path / "evaluation")}


def names_of(paths: list[Path]) -> list[str]:
    """The shortest endings that tell paths apart, which differ."""
    parts = [path.absolute().parts for path in paths]
    endings = (
        ["/".join(part[-length:]) for part in parts]
        for length in range(1, max(map(len, parts)) + 1)
    )
    return next(names for names in endings if len(set(names)) == len(names))
