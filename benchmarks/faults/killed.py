"""Processes that are killed for good while they publish, log, release and roll back.

Each is a fork of this one, which has imported everything: what is tried is not how Python
starts.
"""

import itertools
import os
import random
import shutil
import signal
import time
from pathlib import Path

from benchmarks.faults.cases import (
    LOCKS,
    _content,
    _log_of,
    _make,
    _models,
    _release,
    _resume_log,
    _roll_back,
    _served,
)
from steadyrank.pipeline.files.publish import publish
from steadyrank.pipeline.train.log import append_lines

LONGEST = 0.6  # seconds that a process lives after it has begun


def work(root: Path, times: int | None = None) -> None:
    """Publish, log, release and roll back, again and again."""
    for turn in itertools.count() if times is None else range(times):
        with publish(root / "out", overwrite=True) as partial:
            _make(partial / "below", str(turn % 2))
            _make(partial, str(turn % 2))
        _resume_log(root)
        _release("abc"[turn % 3])(root)
        if turn % 2:
            _roll_back(root)


def prepare(root: Path) -> None:
    """What is there before."""
    root.mkdir(parents=True)
    _models(root)
    _make(root / "out", "0")
    _release("a")(root)
    lines = [{"step": n, "w": "first"} for n in range(1, 6)]
    append_lines(root / "log.jsonl", lines)


def wrong(root: Path) -> str:
    """What is not whole of what a reader finds; ``""``: nothing."""
    if _content(root / "out") is None:
        return "nothing stands where something did"
    steps = [step for step, _ in _log_of(root)]
    if steps[:3] != [1, 2, 3] or steps != sorted(set(steps)):
        return f"the log holds {steps}"
    named, served = _served(root)
    if not named or served not in {"weights a", "weights b", "weights c"}:
        return f"{served} is served, {named} are named"
    return ""


def kill_once(root: Path, random_: random.Random) -> tuple[str, list[str]]:
    """Kill a process at random; what is wrong afterwards, and what is left over."""
    prepare(root)
    child = os.fork()
    if not child:
        try:
            work(root)
        finally:
            os._exit(1)  # it works until it is killed
    time.sleep(random_.uniform(0, LONGEST))
    os.kill(child, signal.SIGKILL)
    _, ended = os.waitpid(child, 0)
    said = wrong(root) if os.WIFSIGNALED(ended) else "it ended before it was killed"
    work(root, 1)  # the same commands again
    said = said or wrong(root)
    left = [p.name for p in (*root.glob(".*"), *(root / "served").glob(".*"))]
    left += [p.name for p in root.rglob("*.partial")]
    return said, [name for name in left if not LOCKS.search(name)]


def kill_all(folder: Path, count: int) -> dict:
    """Kill processes, each from its own seed."""
    found, lost, leftovers = [], 0, 0
    for seed in range(count):
        root = folder / str(seed)
        said, left = kill_once(root, random.Random(seed))
        shutil.rmtree(root)
        lost, leftovers = lost + bool(said), leftovers + bool(left)
        if said or left:
            found.append(f"seed {seed}: {said} {left}")
    return {"wrong": found, "lost": lost, "leftovers": leftovers}
