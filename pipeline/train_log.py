"""``log.jsonl``: one line a step, a line after each epoch; written and read back."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.divergence import DivergenceDetector
from pipeline.errors import InputError
from pipeline.storage import finite

FILE = "log.jsonl"


def append_lines(path: Path, lines: Iterable[dict]) -> None:
    """Append lines; NaN and infinity become null."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(finite(line)) + "\n" for line in lines)


def read_lines(path: Path) -> Iterator[dict]:
    """The lines of a log.

    Raises:
        InputError: The file is missing or corrupt.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise InputError(f"{path}: line {number} is corrupt.") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None


def cut_after(path: Path, step: int) -> None:
    """Drop what was logged after ``step``: an interrupted run goes on from there."""
    if not path.exists():
        return
    kept = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            try:
                if json.loads(line)["step"] > step:
                    break
            except ValueError:  # the line that was being written when the run died
                break
            kept.append(line)
    path.write_text("".join(kept), encoding="utf-8")


def watch(detector: DivergenceDetector, line: dict) -> dict | None:
    """Show one line of the log to a detector.

    The small remainder at the end of an epoch is not judged: the loss of a handful of
    rows jumps by chance.

    Returns:
        The detector's event, if any.
    """
    if "loss" not in line or 2 * line["examples"] < line["batch_size"]:
        return None
    loss = float("nan") if line["loss"] is None else line["loss"]
    losses = {
        task: float("nan") if value is None else value
        for task, value in line["losses"].items()
    }
    return detector.update(line["step"], loss, losses)


def divergence_of(lines: Iterable[dict]) -> dict:
    """What the detector makes of a whole log: its summary."""
    detector = DivergenceDetector()
    for line in lines:
        watch(detector, line)
    return detector.summary()
