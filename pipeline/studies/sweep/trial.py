"""One trial: a training in a process of its own, and what came of it.

A trial's folder holds ``config.yaml``, ``train/`` (or ``train.partial/``), ``train.log``
(what the process said) and, at its end, ``outcome.json``.
"""

import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from steadyrank.pipeline.config import Config, SequenceConfig
from steadyrank.pipeline.config.sweep import Constraint, Objective
from steadyrank.pipeline.files import lifeline
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.files.shapes import Margin, Trained, TrialOutcome
from steadyrank.pipeline.kinds import kind_of
from steadyrank.pipeline.metrics.samples import read_samples
from steadyrank.pipeline.tracking.tracked import FILE as TRACKED
from steadyrank.pipeline.train.log import LOG_FILE, read_lines

OUTCOME = "outcome.json"
POLL_SECONDS = 0.5
BAD_INPUT, DIVERGED, PASSING = 2, 3, 75  # exit statuses of ``steadyrank train``
COMPLETED = "completed"
AnyConfig = Config | SequenceConfig
Beat = Callable[[], None]  # called while a trial runs


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        status: completed, diverged, refused (by the constraint) or crashed.
        value: The objective; None where it was not measured.
        message: Why it is not completed.
        metrics: Task -> metrics on the validation split, of the weights that were kept.
        seconds: From start to end.
        drawn: The objective in drawn samples of the validation rows ``[repetitions]``.
        drawn_from: What these are samples of, see ``metrics.samples``.
        groups: How many groups tell.
    """

    status: str
    value: float | None = None
    message: str = ""
    metrics: Mapping = field(default_factory=dict)
    seconds: float = 0.0
    drawn: Sequence[float] = ()
    drawn_from: str = ""
    groups: int = 0

    def write(self, folder: Path) -> None:
        """Leave it in the trial's folder."""
        write_json(folder / OUTCOME, asdict(self))


def read_outcome(folder: Path) -> Outcome | None:
    """What ``Outcome.write`` left; None: the trial has not ended."""
    if not (folder / OUTCOME).exists():
        return None
    return Outcome(**read_json(folder / OUTCOME, "a trial that ended", TrialOutcome))


def run_trial(
    folder: Path,
    document: dict,
    config: AnyConfig,
    examples: Path,
    *,
    source: Path | None = None,
    beat: Beat = lambda: None,
) -> Outcome:
    """Train with a trial's settings, in a process of its own.

    A trial that was interrupted goes on where it stopped.

    Args:
        folder: The trial's.
        document: Its config.
        config: The same, checked; with the sweep's objective and constraint.
        examples: The example set.
        source: The folder of the trial that this one continues with more epochs.
        beat: Called again and again until the process ends.

    Raises:
        InputError: ``train`` refused its config or its input.
        PassingError: It could not go on for now: another is at it, a disk is full.
    """
    started, sweep = time.monotonic(), config.sweep
    settings = {**document, "train": {**document.get("train", {}), "on_divergence": "stop"}}
    path = write_config(folder / "config.yaml", settings)
    if source is not None and not (folder / "train.partial").exists():
        shutil.rmtree(folder / "train", ignore_errors=True)
        other = shutil.ignore_patterns(TRACKED)  # that run is the other trial's
        shutil.copytree(source / "train", folder / "train", ignore=other)
    goes_on = source is not None or (folder / "train.partial" / "config.yaml").exists()
    arguments = ["train", "--config", path, "--examples", examples]
    arguments += ["--output", folder / "train", "--resume" if goes_on else "--overwrite"]
    status, said = run_stage(arguments, folder / "train.log", beat)
    seconds = round(time.monotonic() - started, 1)
    if status == BAD_INPUT:
        raise InputError(f"trial {folder.name}: {said}")
    if status == PASSING:
        raise PassingError(f"trial {folder.name}: {said} What is done is kept: --resume.")
    if status == DIVERGED:
        return Outcome("diverged", message=said, seconds=seconds)
    if status != 0:
        said = f"train ended with status {status}: {said or 'see train.log'}"
        return Outcome("crashed", message=said, seconds=seconds)
    if said := lost(folder / "train"):
        return Outcome("diverged", message=said, seconds=seconds)
    metrics = validated(folder / "train", config)
    value = objective_value(metrics, sweep.objective)
    if not math.isfinite(value):
        without = [t for t, m in metrics.items() if not _has(m, sweep.objective.metric)]
        said = f"{sweep.objective.metric} is not defined on the validation split"
        if without:
            said += f": {', '.join(without)} has none, whose labels there are all alike"
        return Outcome("refused", None, said, metrics, seconds)
    why = broken(folder, path, examples, config, beat=beat)
    seconds = round(time.monotonic() - started, 1)
    status = "refused" if why else COMPLETED
    drawn = drawn_objective(folder / "train", sweep.objective)
    return Outcome(status, value, why, metrics, seconds, **drawn)


def _has(metrics: Mapping, name: str) -> bool:
    """Whether a task has a metric, or is none that could."""
    return metrics.get("kind") == "regression" or metrics.get(name) is not None


def drawn_objective(train: Path, objective: Objective) -> dict:
    """What an outcome holds of the samples that training drew of its metrics."""
    found = (
        read_json(train / "train.json", "a trained model", Trained).get("validation") or {}
    )
    samples, metric = read_samples(train), objective.metric
    if not found or not samples.values:
        return {}
    weights = weights_of(objective, {task: each["kind"] for task, each in found.items()})
    if any(metric not in samples.values.get(task, ()) for task in weights):
        return {}
    parts = [weight * samples.values[task][metric] for task, weight in weights.items()]
    return {
        "drawn": (np.sum(parts, axis=0) / sum(weights.values())).tolist(),
        "drawn_from": " ".join(samples.drawn_from[task] for task in weights),
        "groups": min(found[task]["groups"] for task in weights),
    }


def write_config(path: Path, document: dict) -> Path:
    """Write a config's document as YAML."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    return path


def run_stage(arguments: list, log: Path, beat: Beat) -> tuple[int, str]:
    """Run a stage in a process of its own.

    Args:
        arguments: Of the command line.
        log: The file for what it says.
        beat: Called until it ends.

    Returns:
        Its exit status, and the error that it named.
    """
    outer = {k: v for k, v in os.environ.items() if not k.startswith("KERASTUNER_")}
    command = [sys.executable, "-m", "steadyrank", *map(str, arguments)]
    with log.open("w", encoding="utf-8") as file:
        streams = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
        process = lifeline.start(command, outer, **streams)
        try:
            while process.poll() is None:
                beat()
                _wait(process, POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    said = log.read_text(encoding="utf-8", errors="replace")
    return process.returncode, said.rpartition("\nerror ")[2].strip()[-2000:]


def _wait(process: subprocess.Popen, seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def lost(train: Path) -> str:
    """How a training that went to its end had diverged all the same; "": it had not."""
    found = read_json(train / "train.json", "a trained model", Trained)["divergence"]
    if not found["diverged"]:
        return ""
    dead = ", ".join(found["dead_tasks"])
    how = f"AUC of {dead} at 0.5" if dead else "the loss did not come back"
    return f"training diverged at step {found['diverged_at']}: {how}"


def validated(train: Path, config: AnyConfig) -> dict:
    """Validation metrics by task, of the evaluation whose weights were kept."""
    kind = kind_of(config)
    lines = [line for line in read_lines(train / LOG_FILE) if "validation" in line]
    own = [line for line in lines if line.get("phase") == lines[-1].get("phase")]
    found = [_with_nan(line["validation"]) for line in own]
    value = partial(kind.monitored, monitor=kind.monitor(config))
    return max(found, key=lambda metrics: _or_lowest(value(metrics)))


def _with_nan(metrics: dict) -> dict:
    """JSON has null for what is not defined."""
    return {
        task: {k: math.nan if v is None else v for k, v in result.items()}
        for task, result in metrics.items()
    }


def _or_lowest(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


def weights_of(objective: Objective, kinds: Mapping[str, str]) -> dict[str, float]:
    """Weight by task; where the objective names none, 1 for each that has the metric.

    Args:
        objective: The sweep's.
        kinds: Task -> binary, regression or next_item.

    Raises:
        InputError: A task does not exist, or does not have the metric.
    """
    kind = objective.of_kind
    able = [task for task, found in kinds.items() if found == kind]
    unable = [task for task in objective.tasks if task not in able]
    if unable or not able:
        raise InputError(
            f"sweep.objective: {objective.metric} is of {kind} tasks: "
            f"{', '.join(able) or 'none here'}. Received: {', '.join(unable) or 'none'}. "
            "Name tasks of that kind, or another metric."
        )
    return dict(objective.tasks) or dict.fromkeys(able, 1.0)


def objective_value(metrics: Mapping[str, Mapping], objective: Objective) -> float:
    """Weighted mean of the objective's metric over its tasks; NaN where one has none."""
    kinds = {task: result["kind"] for task, result in metrics.items()}
    weights = weights_of(objective, kinds)
    values = {task: metrics[task].get(objective.metric) for task in weights}
    known = {task: math.nan if v is None else v for task, v in values.items()}
    total = sum(weight * known[task] for task, weight in weights.items())
    return total / sum(weights.values())


def broken(
    folder: Path, config_path: Path, examples, config: AnyConfig, *, beat: Beat
) -> str:
    """Which part of the constraint a trained trial does not keep; "": it keeps all."""
    limits: Constraint = config.sweep.constraint
    found = read_json(folder / "train" / "train.json", "a trained model", Trained)
    jumps = len(found["divergence"]["micro"])
    if limits.max_micro is not None and jumps > limits.max_micro:
        return f"the loss jumped {jumps} times; constraint.max_micro is {limits.max_micro}"
    if limits.min_margin is None:
        return ""
    arguments = ["stability", "--config", config_path, "--examples", examples]
    dense = config.train.dense
    own = dense.clip if dense.threshold is None else f"{dense.clip}={dense.threshold}"
    arguments += ["--output", folder / "stability", "--methods", own, "--overwrite"]
    arguments += ["--windows", limits.windows, "--steps", limits.steps]
    status, said = run_stage(arguments, folder / "stability.log", beat)
    if status:
        return f"stability ended with status {status}: {said or 'see stability.log'}"
    found = read_json(folder / "stability" / "stability.json", "stability", Margin)
    margin = found["margin"]
    if margin is None or margin >= limits.min_margin:
        return ""
    return f"margin {margin:g} is below constraint.min_margin {limits.min_margin:g}"
