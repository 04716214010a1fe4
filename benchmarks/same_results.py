"""Two revisions on one machine: are the results the same, to the bit?

    python -m benchmarks.same_results --before REVISION [--after REVISION] [--quick]
        [--only JOB] [--keep DIR]

Without ``--after`` it is this tree, as it lies there.

Each job goes from a log to a verdict in both, with the same seeds, in processes that see
one of the trees.  Compared are record files and vocabularies byte by byte, the tensors of
every checkpoint and of the export (those of the optimizers, too) bit by bit, metrics,
verdicts and the log of the steps value by value, but for clocks and what hangs on them.
Where something differs the earlier one runs once more: what it does not do twice in the
same way is no fault of the later one.  Other files that differ are named.  A job whose data
is not at hand is left out, and said to be.

The last line is JSON: by job ``record_files_equal``, ``weights_equal``, ``metrics_equal``
and more.  Exit status 1: not all is equal.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)
from benchmarks.parts import ROOT

# isort: split
import tensorflow as tf

DATA = Path(os.environ.get("STEADYRANK_DATA", ROOT.parent / "shared" / "data"))
# clocks, and the bytes of an export, which holds the log with its clocks
UNLIKE = {"seconds", "size_mb", "git_revision"}
GATES_SPOKE = (0, 1)  # both are results


@dataclass(frozen=True)
class Job:
    """One config, from log to verdict.

    Args:
        config: Its file in ``configs/``.
        data: A folder of ``--data``; "": the synthetic log, made first.
        rows: Of the synthetic log; the second is for ``--quick``.
        quick: Settings with ``--quick``.
    """

    config: str
    data: str = ""
    rows: tuple[int, int] = (200_000, 20_000)
    quick: tuple[str, ...] = ()


JOBS = {
    "demo": Job("demo.yaml"),
    "kuairand": Job("kuairand.yaml", "kuairand", quick=("train.epochs=1",)),
    "next_item": Job(
        "sequence_cl.yaml",
        "movielens_small",
        quick=(
            "train.phases=[{blocks: 1, steps: 40}, "
            "{blocks: 2, grow: unchanged, steps: 40}]",
        ),
    ),
}


def unpack(revision: str, folder: Path) -> Path:
    """Write the tree of a revision."""
    command = ["git", "archive", "--format=tar", revision]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tree:
        tree.extractall(folder, filter="data")
    return folder


def command_of(tree: Path) -> tuple[list[str], dict[str, str]]:
    """The command line of a tree, and the environment that lets it see no other."""
    installed = (tree / "src" / "steadyrank").exists()
    module, root = ("steadyrank", tree / "src") if installed else ("pipeline", tree)
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return [sys.executable, "-m", module], environment


def make(tree: Path, job: Job, folder: Path, quick: bool) -> dict:
    """Run a job with a tree, in a folder; its exit status and seconds."""
    command, environment = command_of(tree)
    folder.mkdir(parents=True)

    def run(*arguments, allowed=(0,), makes="log") -> int:
        with (folder / "said.log").open("a", encoding="utf-8") as said:
            words = [*command, *map(str, arguments)]
            files = {"stdout": said, "stderr": said, "stdin": subprocess.DEVNULL}
            status = subprocess.run(words, cwd=folder, env=environment, **files).returncode
        if status not in allowed or not (folder / makes).exists():
            end = (folder / "said.log").read_text(encoding="utf-8")[-3000:]
            raise SystemExit(f"{' '.join(words)}\nended with status {status}:\n{end}")
        return status

    start, data = time.perf_counter(), "log"
    if job.data:
        data = DATA / job.data
    else:
        run("synthesize", "--rows", job.rows[quick], "--seed", 1, "--output", "log")
    settings = [word for s in job.quick if quick for word in ("--set", s)]
    config, verdict = tree / "configs" / job.config, "run/evaluation/verdict.json"
    words = ("run", "--config", config, "--data", data, "--output", "run", *settings)
    status = run(*words, allowed=GATES_SPOKE, makes=verdict)
    return {"status": status, "seconds": round(time.perf_counter() - start, 1)}


def same_bytes(first: Path, second: Path) -> list[str]:
    """[""] where two files differ."""
    return [] if first.read_bytes() == second.read_bytes() else [""]


def same_tensors(first: Path, second: Path) -> list[str]:
    """Names of the tensors in which two checkpoints differ, one bit being enough."""
    both = [tf.train.load_checkpoint(str(path.with_suffix(""))) for path in (first, second)]
    names, others = (reader.get_variable_to_shape_map() for reader in both)
    return sorted({*names} ^ {*others}) + [
        name for name in sorted({*names} & {*others}) if _differ(name, *both)
    ]


def _differ(name: str, *readers) -> bool:
    first, second = (reader.get_tensor(name) for reader in readers)
    if isinstance(first, bytes):
        return first != second
    kinds = [(value.dtype, value.shape) for value in (first, second)]
    return kinds[0] != kinds[1] or first.tobytes() != second.tobytes()


def same_values(first: Path, second: Path) -> list[str]:
    """[""] where two files of JSON, or of a line each, differ in more than clocks."""
    texts = (path.read_text(encoding="utf-8") for path in (first, second))
    if first.suffix == ".jsonl":
        told = [[_timeless(json.loads(t)) for t in text.splitlines()] for text in texts]
    else:
        told = [_timeless(json.loads(text)) for text in texts]
    return [] if repr(told[0]) == repr(told[1]) else [""]  # as text NaN is NaN


def _timeless(value):
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in UNLIKE}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


# What is compared, of a folder of `run`.
KINDS: dict[str, tuple[str, Callable[[Path, Path], list[str]]]] = {
    "record_files": ("examples/**/*.tfrecord", same_bytes),
    "vocabularies": ("examples/vocab/*", same_bytes),
    "weights": ("**/*.index", same_tensors),
    "log": ("train/log.jsonl", same_values),
    "metrics": ("evaluation/metrics.json", same_values),
    "verdict": ("evaluation/verdict.json", same_values),
}


def files_of(folder: Path, pattern: str) -> set[Path]:
    return {p.relative_to(folder) for p in folder.glob(pattern) if p.is_file()}


def compare(first: Path, second: Path) -> dict[str, dict]:
    """Kind -> how many files there are of it, and in what they differ.

    A kind without any file is not equal: nothing was compared.
    """
    found = {}
    for kind, (pattern, differences) in KINDS.items():
        before, after = files_of(first, pattern), files_of(second, pattern)
        different = [f"{path}: in one alone" for path in sorted(before ^ after)]
        for path in sorted(before & after):
            said = differences(first / path, second / path)
            different += [f"{path}: {what}".removesuffix(": ") for what in said]
        equal = bool(before) and not different
        found[kind] = {"files": len(before), "equal": equal, "different": different[:9]}
    return found


def others(first: Path, second: Path) -> list[str]:
    """Names of all other files that differ, for whoever wonders."""
    both, patterns = (first, second), [pattern for pattern, _ in KINDS.values()]
    compared = {p for side in both for pattern in patterns for p in files_of(side, pattern)}
    before, after = files_of(first, "**/*"), files_of(second, "**/*")
    unlike = [p for p in before & after if same_bytes(first / p, second / p)]
    return sorted(str(p) for p in {*unlike, *(before ^ after)} - compared)


def run_job(trees: dict[str, Path], name: str, folder: Path, quick: bool) -> dict:
    """Run a job with both trees and compare."""
    job, sides = JOBS[name], {}
    for side, tree in trees.items():
        sides[side] = make(tree, job, folder / side / name, quick)
    before, after = (folder / side / name / "run" for side in trees)
    found = compare(before, after)
    result = {f"{kind}_equal": what["equal"] for kind, what in found.items()}
    result["status_equal"] = len({made["status"] for made in sides.values()}) == 1
    result |= {"kinds": found, "sides": sides, "other_files": others(before, after)}
    if not all(what["equal"] for what in found.values()):
        make(trees["before"], job, folder / "again" / name, quick)
        again = compare(before, folder / "again" / name / "run")
        result["before_equals_itself"] = {k: what["equal"] for k, what in again.items()}
    return result


def equal(result: dict) -> bool:
    return all(value for key, value in result.items() if key.endswith("_equal"))


def show(results: dict[str, dict]) -> None:
    """A line a job, a column a kind: how many files, and whether they are equal."""
    print(f"{'':12}" + "".join(f"{kind:>19}" for kind in KINDS) + f"{'seconds':>16}")
    for name, result in results.items():
        cells = [
            f"{what['files']} {'equal' if what['equal'] else 'DIFFERENT'}"
            for what in result["kinds"].values()
        ]
        seconds = " | ".join(f"{side['seconds']:.0f}" for side in result["sides"].values())
        print(f"{name:12}" + "".join(f"{cell:>19}" for cell in cells) + f"{seconds:>16}")
        for kind, what in result["kinds"].items():
            for line in what["different"]:
                print(f"  {kind}: {line}")
        if "before_equals_itself" in result:
            print(f"  before, run twice: {result['before_equals_itself']}")


def revision_of(tree: Path) -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    return done.stdout.strip() or "no git"


def main(arguments: list[str] | None = None) -> None:
    """Run the jobs, print a table and a line of JSON; exit with 1 where results differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", required=True, help="a revision")
    parser.add_argument("--after", help="a revision; without: this tree")
    parser.add_argument("--quick", action="store_true", help="fewer rows, fewer steps")
    parser.add_argument("--only", choices=JOBS, action="append", help="these jobs alone")
    parser.add_argument("--keep", type=Path, help="a new folder for all that is made")
    options = parser.parse_args(arguments)
    after = options.after or revision_of(ROOT)
    result = {"before": options.before, "after": after, "quick": options.quick}
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        trees = {"before": unpack(options.before, folder / "trees" / "before")}
        later = options.after and unpack(options.after, folder / "trees" / "after")
        trees["after"] = later or ROOT
        jobs = {}
        for name in options.only or JOBS:
            data = JOBS[name].data
            if data and not (DATA / data).is_dir():
                print(f"{name} is left out: no {DATA / data}")
                continue
            jobs[name] = run_job(trees, name, folder, options.quick)
            show({name: jobs[name]})
    if not jobs:
        raise SystemExit("Nothing was compared: STEADYRANK_DATA names the folder of data.")
    result |= {"equal": all(map(equal, jobs.values())), **jobs}
    print(json.dumps(result))
    sys.exit(not result["equal"])


if __name__ == "__main__":
    main()
