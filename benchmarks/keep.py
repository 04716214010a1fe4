"""Runs a benchmark and keeps its last line, with how it was taken.

    python -m benchmarks.keep serving --quick     # -> benchmarks/results/serving_quick.json

The file holds ``command``, ``revision`` (and whether the tree differed from it), ``date``,
``machine``, ``load`` (of the machine in the minutes before the run and at its end: at first
about 0 on idle cores) and ``result``, the benchmark's last line.  Folders of this machine
(``--packages /absolute``) are of no use to others: ``PACKAGES`` stands for them.
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from steadyrank.pipeline.files.publish import write_json

ROOT = Path(__file__).resolve().parents[1]


def name_of(benchmark: str, arguments: list[str]) -> str:
    """What the results of a command are called: ``serving_quick``, ``log_rows_3000``."""
    words = [benchmark]
    for word in arguments:
        if Path(word).is_absolute():  # nor the option that it is the value of
            words.pop()
        else:
            words.append(word)
    return "_".join(re.sub(r"\W+", "-", word.lstrip("-")).strip("-") for word in words)


def elsewhere(arguments: list[str]) -> list[str]:
    """The arguments as they are said to others: folders by their option's name."""
    pairs = itertools.pairwise(["", *arguments])
    return [
        option.lstrip("-").upper() if Path(word).is_absolute() else word
        for option, word in pairs
    ]


def run(benchmark: str, arguments: list[str]) -> dict:
    """Run a benchmark, its output shown as it comes.

    Args:
        benchmark: Its name below ``benchmarks``.
        arguments: Its own.

    Raises:
        SystemExit: It failed, with its status, or ended without a result.
    """
    before, lines = os.getloadavg()[0], []
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(process.returncode)
    if not lines or not lines[-1].startswith("{"):
        raise SystemExit(f"benchmarks.{benchmark} ended without a JSON object: not kept.")
    return {
        "command": " ".join(
            ["python -m", f"benchmarks.{benchmark}", *elsewhere(arguments)]
        ),
        "revision": git("rev-parse", "--short", "HEAD"),
        "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
        "result": json.loads(lines[-1]),
    }


def git(*arguments: str) -> str:
    """What git says, in one line; nothing where there is no repository."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def machine() -> dict:
    """Processor, cores that may be used, and versions."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", text)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run, and keep."""
    parser = argparse.ArgumentParser("benchmarks.keep", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("benchmark")
    options, rest = parser.parse_known_args(arguments)
    path = options.results / f"{name_of(options.benchmark, rest)}.json"
    if git("check-ignore", "--no-index", str(path.resolve())):
        raise SystemExit(f"git ignores {path}: nobody else would see it. Not run.")
    write_json(path, run(options.benchmark, rest))
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
