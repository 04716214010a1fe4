"""A training that is killed and resumed, again and again: the same weights, to the bit?

    python -m benchmarks.kills [--job next_item] [--kills 5]

A job of ``benchmarks.same_results``, with its quick settings: its log is preprocessed once,
and trained on twice, by the command line.  The second training gets SIGKILL after each of
so many new checkpoints, and goes on with ``--resume``; a checkpoint is taken every 7 steps,
and each kill comes at another moment after one.

The last line is JSON: ``kills``, after which steps they came, how many ``checkpoints``
were compared (of each folder the newest), and ``equal``.  Exit status 1: a tensor differs.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.parts import ROOT
from benchmarks.same_results import DATA, JOBS, same_tensors

EVERY = "train.checkpoint_every=7"


def command(*words) -> list[str]:
    return [sys.executable, "-m", "steadyrank", *map(str, words)]


def steps_of(output: Path) -> int:
    """Steps that an interrupted run has logged."""
    log = output.with_name(output.name + ".partial") / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return sum('"loss"' in line for line in lines)


def checkpoints_of(output: Path) -> set:
    """The checkpoints of an interrupted run, and when they were taken."""
    partial = output.with_name(output.name + ".partial")
    found = set()
    folders = [partial / "checkpoints", *partial.glob("phases/*/checkpoints")]
    for path in (path for folder in folders for path in folder.glob("ckpt-*.index")):
        try:
            found.add((str(path), path.stat().st_mtime_ns))
        except FileNotFoundError:  # it was the oldest
            pass
    return found


def newest_of(trained: Path) -> dict[str, Path]:
    """Of each folder of weights, or checkpoints, the newest: kills shift their numbers."""
    found: dict[str, Path] = {}
    paths = trained.rglob("*.index")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        found[str(path.parent.relative_to(trained))] = path
    return dict(sorted(found.items()))


def kill_after_a_checkpoint(words: list[str], output: Path, wait: float) -> int | None:
    """Start a training and kill it; the steps it had logged, or None: it ended before."""
    before = checkpoints_of(output)
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not checkpoints_of(output) - before:
            time.sleep(0.01)
        time.sleep(wait)
        if process.poll() is not None:
            return None
        process.send_signal(signal.SIGKILL)
    return steps_of(output)


def main(arguments: list[str] | None = None) -> None:
    """Train, train with kills, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--job", choices=JOBS, default="next_item")
    parser.add_argument("--kills", type=int, default=5)
    options = parser.parse_args(arguments)
    job = JOBS[options.job]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        data = DATA / job.data
        if not job.data:
            data = folder / "log"
            words = ("synthesize", "--rows", job.rows[1], "--output", data)
            subprocess.run(command(*words), check=True)
        given = ["--config", ROOT / "configs" / job.config]
        given += [word for s in (*job.quick, EVERY) for word in ("--set", s)]
        made = folder / "examples"
        words = ("preprocess", *given, "--data", data, "--output", made)
        subprocess.run(command(*words), check=True)
        train = ("train", *given, "--examples", made, "--output")
        subprocess.run(command(*train, folder / "whole"), check=True)
        killed, output = [], folder / "killed"
        for number in range(options.kills):
            resumed = ("--resume",) * bool(number)
            at = kill_after_a_checkpoint(
                command(*train, output, *resumed), output, 0.05 * number
            )
            if at is None:
                break
            killed.append(at)
            print(f"killed after step {at}", flush=True)
        subprocess.run(command(*train, output, "--resume"), check=True)
        whole, again = newest_of(folder / "whole"), newest_of(output)
        if [*whole] != [*again]:
            raise SystemExit(f"Folders of one alone: {sorted({*whole} ^ {*again})}")
        unlike = [
            f"{name}: {tensor}"
            for name in whole
            for tensor in same_tensors(whole[name], again[name])
        ]
    result = {"job": options.job, "kills": len(killed), "after_steps": killed}
    result |= {"checkpoints": len(whole), "equal": not unlike, "different": unlike[:9]}
    print(json.dumps(result))
    sys.exit(bool(unlike))


if __name__ == "__main__":
    main()
