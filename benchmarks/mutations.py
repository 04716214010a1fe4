"""Would the tests notice?  One line is changed at a time, and the tests that guard it run.

    python -m benchmarks.mutations [--quick] [--only TEXT] [--jobs 2]

``benchmarks/mutated/`` holds the mutations, by file: what is then wrong, an old text that
stands in the file once, the new one, and the tests that should notice, below ``tests/``.
Each is made in a copy of the tracked files, never in the tree itself.  It is noticed
where a test fails, or crashes, or is not done after ``LIMIT`` seconds; to know that this
is the mutation's doing, all those tests must pass in the copy first.

``--quick`` leaves out ``pipeline/``; ``--only`` takes the mutations alone whose file or
words hold a text, and writes no results.

Results go to ``benchmarks/results/mutations.json``, in the form of ``benchmarks.keep`` and
with a line for each mutation.  The last line is a JSON object: ``mutations`` and
``noticed``, counted, ``score``, the share of these, and ``survivors``.  The status is 1
where the score is below ``LEAST``.
"""

import argparse
import datetime
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.keep import ROOT, git, machine
from steadyrank.pipeline.files.publish import write_json

TABLES = ROOT / "benchmarks" / "mutated"
LIMIT = 600  # seconds, of the tests of a mutation
LEAST = 0.95
SURVIVED, FAILED, CRASHED, ENDLESS = "survived", "failed", "crashed", "timed out"


@dataclass(frozen=True)
class Mutation:
    """One changed line.

    Attributes:
        file: The file it is in.
        what: What is then wrong.
        old: A text that stands in the file once.
        new: What takes its place.
        tests: Files or node ids of the tests that should notice, below ``tests/``.
    """

    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...]

    def text(self, tree: Path) -> str:
        """The changed file.

        Raises:
            ValueError: The old text does not stand there once: the code has moved.
        """
        text = (tree / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"{self.file}: {self.old!r} must stand there once. Received: "
                f"{text.count(self.old)} times. Mend benchmarks/mutated/."
            )
        return text.replace(self.old, self.new)


def read_mutations(tables: Path = TABLES) -> list[Mutation]:
    """All mutations, in the order of the tables."""
    found = []
    for path in sorted(tables.glob("*.yaml")):
        for file, entries in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            for entry in entries:
                found.append(Mutation(file, **{**entry, "tests": tuple(entry["tests"])}))
    return found


def copy_tracked(root: Path, to: Path) -> None:
    """Copy what git tracks, as it stands in the working tree; links stay links."""
    listed = ["git", "-C", str(root), "ls-files", "-z"]
    names = subprocess.run(listed, check=True, capture_output=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (root / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, to / name, follow_symlinks=False)


def run_tests(tree: Path, tests: Iterable[str], limit: float | None = None):
    """Run tests in a copy.

    Args:
        tree: The copy.
        tests: Files or node ids, below ``tests/``.
        limit: Seconds until they are ended, of a mutation's, of which the first failure
            is enough; None: all run, and leave compiled files for those that follow.

    Returns:
        ``SURVIVED`` where all pass, else ``FAILED``, ``CRASHED`` or ``ENDLESS``; and what
        they said.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["--hypothesis-seed=0", "--hypothesis-profile=any example"]
    command += ["-x"] * (limit is not None)
    # of one file together: what they share is made once
    command += [f"tests/{test}" for test in sorted({*tests})]
    # a mutation's compiled file would outlive it
    settings = {"PYTHONDONTWRITEBYTECODE": "" if limit is None else "1"}
    settings["PYTHONPATH"] = str(tree / "src")
    process = subprocess.Popen(
        command,
        cwd=tree,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return ENDLESS, process.communicate()[0]
    return {0: SURVIVED, 1: FAILED}.get(process.returncode, CRASHED), said


def try_one(mutation: Mutation, tree: Path) -> dict:
    """Make a mutation in a copy, run its tests, and take it back.

    Returns:
        ``file``, ``what``, ``result``, ``by``, the test that noticed, and ``seconds``.
    """
    path, began = tree / mutation.file, time.monotonic()
    before, changed = path.read_bytes(), mutation.text(tree)
    try:
        path.write_text(changed, encoding="utf-8")
        result, said = run_tests(tree, mutation.tests, LIMIT)
    finally:
        path.write_bytes(before)
        shutil.rmtree(tree / ".hypothesis", ignore_errors=True)  # what made it fail
    failed = [line.split()[1] for line in said.splitlines() if line.startswith("FAILED ")]
    return {
        "file": mutation.file,
        "what": mutation.what,
        "result": result,
        "by": failed[0] if failed else None,
        "seconds": round(time.monotonic() - began, 1),
    }


def try_all(mutations: Sequence[Mutation], root: Path, jobs: int) -> list[dict]:
    """Try mutations, some at once, each in a copy of its own.

    Raises:
        SystemExit: The tests do not pass without any.
    """
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        first = Path(folder) / "0"
        copy_tracked(root, first)
        for mutation in mutations:
            mutation.text(first)
        tests = [test for mutation in mutations for test in mutation.tests]
        result, said = run_tests(first, tests)
        if result != SURVIVED:
            raise SystemExit(f"{said}\nWithout a mutation, all tests must pass.")
        print(said.strip().splitlines()[-1], "without a mutation", flush=True)
        free = queue.Queue()
        for number in range(jobs):
            tree = Path(folder) / str(number)
            if number:
                shutil.copytree(first, tree, symlinks=True)
            free.put(tree)

        def attempt(mutation: Mutation) -> dict:
            tree = free.get()
            try:
                found = try_one(mutation, tree)
            finally:
                free.put(tree)
            seconds, words = f"{found['seconds']:6.1f} s", f"{found['result']:9}"
            print(words, seconds, f"{mutation.file}: {mutation.what}", flush=True)
            return found

        with ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(attempt, mutations))


def summary(found: Sequence[dict]) -> dict:
    """The last line."""
    survivors = [run for run in found if run["result"] == SURVIVED]
    noticed = len(found) - len(survivors)
    return {
        "mutations": len(found),
        "noticed": noticed,
        "score": round(noticed / len(found), 4),
        "survivors": [f"{run['file']}: {run['what']}" for run in survivors],
    }


def main(arguments: list[str] | None = None) -> int:
    """Try the mutations."""
    parser = argparse.ArgumentParser("benchmarks.mutations")
    parser.add_argument("--quick", action="store_true", help="without pipeline/")
    parser.add_argument("--only", default="", help="of the file, or of what is wrong")
    parser.add_argument("--jobs", type=int, default=1, help="mutations at once")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    mutations = [m for m in read_mutations() if options.only in f"{m.file}: {m.what}"]
    if options.quick:
        mutations = [m for m in mutations if not m.file.startswith("pipeline/")]
    if not mutations:
        parser.error(f"no mutation holds {options.only!r}.")
    began, load = time.monotonic(), os.getloadavg()[0]
    found = try_all(mutations, ROOT, options.jobs)
    result = summary(found)
    if not options.only:
        words = ["python -m benchmarks.mutations", *["--quick"] * options.quick]
        content = {
            "command": " ".join([*words, f"--jobs {options.jobs}"]),
            "revision": git("rev-parse", "--short", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "load": [round(load, 1), round(os.getloadavg()[0], 1)],
            "minutes": round((time.monotonic() - began) / 60, 1),
            "result": result,
            "runs": found,
        }
        name = "mutations_quick.json" if options.quick else "mutations.json"
        write_json(options.results / name, content)
    print(json.dumps(result))
    return 0 if result["score"] >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
