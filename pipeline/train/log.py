"""``log.jsonl``: one line a step, a line after each epoch; written and read back."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from steadyrank.components.metrics.divergence import DEAD_AUC, DivergenceDetector
from steadyrank.components.metrics.early_warning import EarlyWarning
from steadyrank.pipeline.files.documents import parse, require
from steadyrank.pipeline.files.durable import sync
from steadyrank.pipeline.files.errors import DivergenceError, InputError, fault
from steadyrank.pipeline.files.publish import finite
from steadyrank.pipeline.files.shapes import LogLine, StepLine

LOG_FILE = "log.jsonl"
CERTAIN_ROWS = 200  # of either class, before an AUC is taken for a sign of life or death


def append_lines(path: Path, lines: Iterable[dict]) -> None:
    """Append lines; NaN and infinity become null.

    A layer that was not clipped, whose factor is 1, is left out of ``clipping``: that
    is most layers in most steps.  So is one without ``dead_units``, and the
    ``spike_factor`` of a step that passed whole.
    """
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(finite(_compact(line))) + "\n" for line in lines)


def _compact(line: dict) -> dict:
    if "clipping" not in line:
        return line
    clipped = {name: f for name, f in line["clipping"].items() if f != 1.0}
    dead = {name: share for name, share in line.get("dead_units", {}).items() if share}
    line = {**line, "clipping": clipped, "dead_units": dead}
    if not dead:
        del line["dead_units"]
    if line.get("spike_factor") == 1.0:
        del line["spike_factor"]
    return line


def read_lines(path: Path) -> Iterator[dict]:
    """The lines of a log.

    Raises:
        InputError: The file is missing or corrupt.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _parsed(line, f"{path}: line {number}")
    except OSError as error:
        raise fault(f"cannot read {path}: {error.strerror}.", error) from None


def _parsed(line: bytes, place: str) -> dict:
    content = parse(line, LogLine, place)
    return require(content, StepLine, place) if "loss" in content else content


def cut_from(path: Path, is_beyond: Callable[[dict], bool]) -> list[dict]:
    """Drop a log's lines from the first that is beyond a place: a run that was interrupted,
    or went back to a checkpoint, goes on from there.

    Args:
        path: The log.
        is_beyond: Whether a line is.

    Returns:
        The lines that were dropped.

    Raises:
        InputError: A line before the place is damaged; the log is left as it is.
    """
    if not path.exists():
        return []
    kept, dropped, damage = [], [], 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                content = parse(line, LogLine, path)
            except InputError:  # the last one was being written when the run died
                damage = damage or number
                continue
            if dropped or is_beyond(content):
                dropped.append(content)
            elif damage:
                raise InputError(
                    f"{path}: line {damage} is damaged, and steps that are needed follow "
                    "it. Put the log back, or start again with --overwrite."
                )
            else:
                kept.append(line)
    whole = path.with_name(path.name + ".partial")
    whole.write_bytes(b"".join(kept))
    sync(whole)
    whole.replace(path)
    sync(path.parent)  # or the lines that were dropped may come back
    return dropped


def steps_in(lines: Iterable[dict]) -> list[int]:
    """The numbers of the steps that a log has a line of, in its order."""
    return [line["step"] for line in lines if "loss" in line]


def require_steps(path: Path, lines: Iterable[dict], steps: int) -> None:
    """Raise where a log lacks the line of a step: nobody could say that it was healthy.

    Args:
        path: The log, for the message.
        lines: Its lines.
        steps: How many there must be.

    Raises:
        InputError: It does.
    """
    found = steps_in(lines)
    if found != list(range(1, steps + 1)):
        first = next((n for n, s in enumerate(found, 1) if s != n), len(found) + 1)
        raise InputError(
            f"{path} must have a line of each of {steps} steps, in their order. Received: "
            f"{len(found)} lines, wrong from step {first}. It was cut or changed: start "
            "again with --overwrite."
        )


def watch(detector: DivergenceDetector, line: dict) -> dict | None:
    """Show one line of the log to a detector.

    The small remainder at the end of an epoch is not judged: the loss of a handful of
    rows jumps by chance.

    Returns:
        The detector's event, if any.
    """
    for measured in ("validation", "progressive"):
        results = line.get(measured, {}).items()
        areas = {task: result["auc"] for task, result in results if _is_certain(result)}
        detector.observe_auc(line["step"], areas)
    if "loss" not in line or not _is_judged(line):
        return None
    loss = float("nan") if line["loss"] is None else line["loss"]
    losses = {
        task: float("nan") if value is None else value
        for task, value in line["losses"].items()
    }
    return detector.update(line["step"], loss, losses)


def foretell(early: EarlyWarning, line: dict) -> dict | None:
    """Show one line of the log to a detector of dying units.

    Args:
        early: The detector.
        line: Of the log; neither the small remainder at the end of an epoch is judged, nor
            a batch without a label, whose loss is 0 and which moves no unit.

    Returns:
        What is to be logged after it; None: nothing.
    """
    if not line.get("loss") or not _is_judged(line):
        return None
    warning = early.update(line["step"], line.get("dead_units", {}))
    place = {key: line[key] for key in ("step", "phase", "epoch") if key in line}
    return warning and {**place, "warning": warning}


def _is_judged(line: Mapping) -> bool:
    """Whether a step was of half a batch at least."""
    return 2 * line.get("examples", 0) >= line.get("batch_size", 0)


def _is_certain(result: dict) -> bool:
    """Whether an AUC of 0.5 could not be told from one of 0.55 by chance alone."""
    if result["kind"] != "binary":
        return False
    positives = result["positives"]
    return min(positives, result["rows"] - positives) >= CERTAIN_ROWS


def require_finite_steps(lines: Iterable[dict], place: str) -> None:
    """Raise where most of a training never had a loss, however short it was.

    Args:
        lines: Of the log.
        place: Where the log is, for the message.

    Raises:
        DivergenceError: Fewer than half of the steps had a finite loss.
    """
    losses = [line["loss"] for line in lines if "loss" in line]
    finite_steps = sum(loss is not None for loss in losses)
    if 2 * finite_steps < len(losses):
        raise DivergenceError(
            f"Training diverged: only {finite_steps} of {len(losses)} steps had a finite "
            "loss. The numbers or weights of the examples may be too large, or the rates "
            f"too high: lower train.dense.learning_rate. {place} has the losses."
        )


def divergence_of(lines: Sequence[dict], trained: int) -> dict:
    """What the detector makes of a whole log.

    Where a phase begins the loss may jump: each has a detector of its own.

    Args:
        lines: Of the log.
        trained: Steps that the training took, of which each must have its line.

    Returns:
        The detector's summary, ``rollbacks``, ``spikes`` (steps that the guard held
        back; of such remainders those without a number), ``warnings`` (of units that
        died), and the steps ``logged`` and ``trained``.
    """
    phases: dict[int, DivergenceDetector] = {}
    rollbacks, spikes, measured, logged = 0, 0, {}, len(set(steps_in(lines)))
    for line in lines:
        rollbacks += "rollback" in line
        factor = line.get("spike_factor", 1.0)
        spikes += factor == 0 or (factor < 1 and _is_judged(line))
        watch(phases.setdefault(line.get("phase", 0), DivergenceDetector()), line)
        measured |= _last_aucs(line, measured)
    detectors = [*phases.values()] or [DivergenceDetector()]
    found = merged([detector.summary() for detector in detectors])
    lost = [detector.loss_diverged_at for detector in detectors]
    at = min((place for place in lost if place is not None), default=None)
    dead = {task: measured[task] for task in found["dead_tasks"] if task in measured}
    warnings = [line["warning"] for line in lines if line.get("warning")]
    counts = {"rollbacks": rollbacks, "spikes": spikes, "warnings": warnings}
    counts |= {"logged": logged, "trained": trained}
    return {**found, "loss_diverged_at": at, "dead": dead, **counts}


def _last_aucs(line: dict, before: Mapping) -> dict:
    """Task -> its ``auc``, the rows ``on`` which, and the step ``since`` it is dead."""
    found = {}
    for kind in ("validation", "progressive"):
        on = "validation" if kind == "validation" else f"window {line.get('window')}"
        for task, result in line.get(kind, {}).items():
            if _is_certain(result):
                dead = result["auc"] is not None and result["auc"] <= DEAD_AUC
                since = before.get(task, {}).get("since")
                since = (line["step"] if since is None else since) if dead else None
                found[task] = {"auc": result["auc"], "on": on, "since": since}
    return found


def merged(summaries: Sequence[Mapping]) -> dict:
    """What the detectors of all phases say together; the last has the last word."""
    at = [found["diverged_at"] for found in summaries if found["diverged"]]
    return {
        **summaries[-1],
        "steps": sum(found["steps"] for found in summaries),
        "nonfinite_steps": sum(found["nonfinite_steps"] for found in summaries),
        "micro": [event for found in summaries for event in found["micro"]],
        "diverged": bool(at),
        "diverged_at": min(at, default=None),
    }
