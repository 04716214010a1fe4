"""Whole stages, killed and broken at every operation of ours on files, and at random.

    python -m benchmarks.faults.stages [--quick] [--minutes 60] [--ledger F] [--only TEXT]

Each stage is a command line, run by a fork of a process that has imported everything and
started nothing: a try costs what the stage does, not what Python's imports take.  It is
done once undisturbed, and its operations on files are counted (``disk``: what TensorFlow
and Arrow write in C++ is not seen, but the kills at random fall on it).  Then it is done
again with a fault at one of them: SIGKILL there, ENOSPC, EIO, a torn write and SIGKILL, a
short read; or with SIGKILL at a random moment.  The status must be one that says what to
do, what a reader finds what was there before or what should be there afterwards; and the
documented command must end well, lead to what an undisturbed run leads to, and leave
nothing else.

Of the cheap stages every operation fails in every way, of the others (``sample``) so many,
drawn by a seed; all come in a random order, and in time's end those left are counted as
not tried.  ``--ledger`` keeps what was tried, one JSON line each: the same command goes on.

The last line is a JSON object: ``planned``, ``tried``, ``kills`` (tries that ended in
SIGKILL), ``survived``, ``lost``, ``wrong_status``, ``leftovers``, ``operations`` by stage
and ``table``.  The status is 1 unless all that were tried survived.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.faults import disk as disks
from benchmarks.faults.disk import Disk
from benchmarks.long_runs import CONFIG, DAYS, ROWS
from steadyrank.pipeline.files.publish import hash_folder, read_json

SEED, PATIENCE = 1, 1800.0  # seconds after which a try hangs
KILLED = "killed at random"
OF_ARROW = "jemalloc_bg_thd"  # a thread whose work a fork can do without
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}  # or NumPy starts some when it is imported
PASSING, BAD_INPUT = 75, 2
KEPT = re.compile(r"(^|/)(lock|\..*\.lock)$|^tmp(/|$)|^said$|(^|/)events\.out\.|^HOME")
VOLATILE = {"seconds", "judged_at", "at", "by", "latency", "made", "date"}


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        name: In the table.
        given: What of the first run of all stages it is given.
        command: Its words.
        state: What a reader finds, in a folder.
        again: The documented command, by what the fault left; None: the same.
        before: Commands that make what else is there.
        half: Whether a state is allowed besides that before and that after.
        sample: How many faults are tried; None: all.
        kills: At random moments, besides.
    """

    name: str
    given: tuple[str, ...]
    command: str
    state: Callable[[Path], object]
    again: Callable[[Path], str | None] = lambda root: None
    before: tuple[str, ...] = ()
    half: Callable[[object], bool] = lambda found: False
    sample: int | None = None
    kills: int = 30


class Doomed(Disk):
    """It does not raise what ends a process, it ends it."""

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


# what a reader finds


def _lasting(content: object) -> object:
    """A JSON document without what is of one run alone."""
    if isinstance(content, dict):
        return {k: _lasting(v) for k, v in content.items() if k not in VOLATILE}
    return [_lasting(v) for v in content] if isinstance(content, list) else content


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _document(path: Path) -> str:
    return _digest(_lasting(read_json(path, "a stage's output")))


def _folder(root: Path) -> str | None:
    """An example set."""
    return hash_folder(root / "out")[:12] if (root / "out").exists() else None


def _version(root: Path) -> str | None:
    """The first export in its place."""
    return hash_folder(root / "out/1")[:12] if (root / "out/1").exists() else None


def _trained(root: Path) -> object:
    out = root / "out"
    if not out.exists():
        return None
    lines = (out / "log.jsonl").read_text(encoding="utf-8").splitlines()
    logged = _digest([_lasting(json.loads(line)) for line in lines])
    return hash_folder(out / "best")[:12], logged


def _evaluated(root: Path) -> object:
    out = root / "out"
    if not out.exists():
        return None
    tasks = read_json(out / "metrics.json", "an evaluation")["tasks"]
    return _digest(tasks), _document(out / "verdict.json"), (out / "report.html").exists()


def _scored(root: Path) -> object:
    out = root / "out"
    if not out.exists():
        return None
    parts = [hashlib.sha256(p.read_bytes()).hexdigest() for p in out.glob("part-*")]
    return sorted(parts), _document(out / "scores.json")


def _store(root: Path) -> object:
    """Days that were judged, what is released, which days the page shows."""
    store = root / "out"
    nights = {
        path.parent.name: _lasting(read_json(path, "a night"))["verdict"]
        for path in sorted(store.glob("nights/*/night.json"))
    }
    named = read_json(store / "served/blessed.json", "a release folder")["releases"]
    served = max(
        (p.name for p in (store / "served").iterdir() if p.name.isdigit()), key=int
    )
    page = (store / "index.html").read_text(encoding="utf-8")
    shown = [day for day in DAYS if day in page]
    return nights, [entry["version"] for entry in named], served, shown


def _night_without_its_end(found: object) -> bool:
    """The new night is judged; its release, or the page, is still to come."""
    nights, named, served, _ = found
    return [*nights] == [*DAYS] and served in {str(version) for version in named}


def _run(root: Path) -> object:
    """What is there of a run, and whether it was judged."""
    out = root / "out"
    if not (out / "evaluation").exists():
        return None
    return _document(out / "evaluation/verdict.json"), hash_folder(out / "train/best")[:12]


def _swept(root: Path) -> object:
    path = root / "out/leaderboard.json"
    return sorted(read_json(path, "a sweep")) if path.exists() else None


def _resume(command: str, mark: str = "") -> Callable[[Path], str | None]:
    """With ``--resume``, where something is left to go on with, by its mark."""

    def again(root: Path) -> str | None:
        begun = (root / "out.partial" / mark).exists() and not (root / "out").exists()
        return f"{command} --resume" if begun else None

    return again


PREPROCESS = "preprocess --config c.yaml --data log --output"
TRAIN = "train --config c.yaml --examples examples --set train.checkpoint_every=3"
EVALUATE = "evaluate --config c.yaml --examples examples --model model --output"
SCORE = "score --model model --input log/log.parquet --data log --output out"
NIGHT = "nightly --config c.yaml --data log --store out --day"
RUN = "run --config c.yaml --data log --output out"
BASE = (
    f"{PREPROCESS} examples",
    f"{TRAIN} --output trained",
    "export --config c.yaml --train trained --output model",
)
STAGES = [
    Stage("preprocess", ("log",), f"{PREPROCESS} out", _folder),
    Stage(
        "append",
        ("log",),
        f"{PREPROCESS} out --append",
        _folder,
        before=(f"{PREPROCESS} out --set data.split.test={DAYS[0]}",),
    ),
    Stage("score", ("log", "model"), SCORE, _scored, again=_resume(SCORE, "plan.json")),
    Stage(
        "train",
        ("examples",),
        f"{TRAIN} --output out",
        _trained,
        again=_resume(f"{TRAIN} --output out"),
    ),
    Stage(
        "export",
        ("trained",),
        "export --config c.yaml --train trained --output out",
        _version,
    ),
    Stage("evaluate", ("examples", "model"), f"{EVALUATE} out", _evaluated),
    Stage(
        "nightly",
        ("log",),
        f"{NIGHT} {DAYS[1]}",
        _store,
        before=(f"{NIGHT} {DAYS[0]}",),
        half=_night_without_its_end,
        sample=60,
    ),
    Stage("run", ("log",), RUN, _run, again=lambda _: f"{RUN} --resume", sample=40),
]


# doing it


def fork(
    root: Path, words: str, *, turn: int = -1, fault: str | None = None, after: float = 0
) -> tuple[int | None, list]:
    """Run a command line in a fork.

    Args:
        root: Where; all paths are relative to it.
        words: The command line.
        turn: Of the operation that fails.
        fault: How.
        after: Seconds after which it is killed; 0: it is not.

    Returns:
        Its exit status (None: it was killed, -1: it hung), and its operations.
    """
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _be(root, words, turn, fault)
    ended, limit = None, time.monotonic() + (after or PATIENCE)
    while ended is None and time.monotonic() < limit:
        pid, found = os.waitpid(child, os.WNOHANG)
        ended = found if pid else time.sleep(0.005)
    hung = ended is None and not after
    if ended is None:
        os.kill(child, signal.SIGKILL)
        _, ended = os.waitpid(child, 0)
    place = root / "tmp/done"
    done = json.loads(place.read_text()) if place.exists() else []
    place.unlink(missing_ok=True)
    status = None if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)
    return (-1 if hung else status), done


def _be(root: Path, words: str, turn: int, fault: str | None) -> None:
    """What a fork does: it never comes back."""
    from steadyrank.pipeline.cli.application import main as command_line

    status = 99
    try:
        os.chdir(root)
        said = os.open("tmp/said", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(said, 1), os.dup2(said, 2)
        os.environ["TMPDIR"] = tempfile.tempdir = str(root / "tmp")
        disk = Doomed()
        try:
            with disk.watching(root, turn, fault):
                command_line(words.split())
        except SystemExit as end:
            status = int(end.code or 0)
        (root / "tmp/done").write_text(json.dumps(disk.done))
    finally:
        os._exit(status)


class Bench:
    """Where stages are tried.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path):
        self.folder, self.number = folder, 0
        self.base = folder / "base"
        (self.base / "tmp").mkdir(parents=True)
        document = {**CONFIG, "train": {"batch_size": 256, "epochs": 2}}
        (self.base / "c.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
        for words in (f"synthesize --rows {ROWS} --output log", *BASE):
            self.must(self.base, words)

    def must(self, root: Path, words: str) -> list:
        """Its operations; it must end well."""
        status, operations = fork(root, words)
        if status != 0:
            print((root / "tmp/said").read_text(encoding="utf-8")[-3000:])
            raise SystemExit(f"{words}: status {status}, undisturbed.")
        return operations

    def prepared(self, stage: Stage) -> Path:
        """A folder as the stage wants it, to be copied."""
        root = self.folder / f"before-{stage.name}"
        if not root.exists():
            (root / "tmp").mkdir(parents=True)
            for name in ("c.yaml", *stage.given):
                place = self.base / name
                copy = shutil.copytree if place.is_dir() else shutil.copy
                copy(place, root / name)
            for words in stage.before:
                self.must(root, words)
        return root

    def fresh(self, stage: Stage) -> Path:
        self.number += 1
        root = self.folder / str(self.number)
        shutil.copytree(self.prepared(stage), root)
        return root

    def listed(self, root: Path) -> set[str]:
        names = (path.relative_to(root).as_posix() for path in root.rglob("*"))
        return {name for name in names if not KEPT.search(name)}

    def undisturbed(self, stage: Stage) -> dict:
        """Its operations, seconds, states and names."""
        root = self.fresh(stage)
        before, began = stage.state(root), time.monotonic()
        done = self.must(root, stage.command)
        found = {"done": done, "before": before, "seconds": time.monotonic() - began}
        found |= {"after": stage.state(root), "names": self.listed(root)}
        shutil.rmtree(root)
        return found

    def attempt(self, stage: Stage, found: dict, turn: int, fault: str) -> dict:
        """One fault, and what came of it, as the ledger keeps it."""
        root = self.fresh(stage)
        if fault == KILLED:
            after = random.Random(turn).uniform(0, 1.1 * found["seconds"])
            status, _ = fork(root, stage.command, after=after)
        else:
            status, _ = fork(root, stage.command, turn=turn, fault=fault)
        allowed = {None, 0, PASSING} | ({BAD_INPUT} if fault == disks.SHORT else set())
        state, lost = stage.state(root), ""
        if status == 0 and state != found["after"]:
            lost = f"success, and the state is {state}"
        elif state not in (found["before"], found["after"]) and not stage.half(state):
            lost = f"neither before nor after: {state}"
        if state != found["after"]:
            again = stage.again(root) or stage.command
            ended, _ = fork(root, again)
            state = stage.state(root)
            if not lost and (ended != 0 or state != found["after"]):
                lost = f"{again}: status {ended}, the state is {state}"
        else:
            fork(root, stage.command)  # the next one sweeps, if it does nothing else
        left = sorted(self.listed(root) - found["names"])
        wrong = status not in allowed
        said = (root / "tmp/said").read_text(encoding="utf-8") if lost or wrong else ""
        shutil.rmtree(root)
        kind = KILLED if fault == KILLED else " ".join(found["done"][turn])
        told = {"stage": stage.name, "turn": turn, "fault": fault, "operation": kind}
        told |= {"status": status, "wrong_status": wrong, "lost": lost, "left": left}
        return {**told, "said": said[-1500:]}


def planned(stage: Stage, found: dict, quick: bool) -> list[tuple[int, str]]:
    """Turns and faults, in a random order; at the end the kills at random."""
    draw = random.Random(f"{SEED} {stage.name}")
    tries = [
        (turn, fault)
        for turn, (kind, _) in enumerate(found["done"])
        for fault in disks.FAULTS[kind]
    ]
    draw.shuffle(tries)
    kills = [(draw.randrange(1 << 30), KILLED) for _ in range(stage.kills)]
    return [*tries[: 3 if quick else stage.sample], *kills[: 2 if quick else None]]


def survived(one: dict) -> bool:
    return not (one["wrong_status"] or one["lost"] or one["left"])


def table(tried: Sequence[dict]) -> list[dict]:
    """A row for each stage and fault."""
    rows: dict[tuple, dict] = {}
    for one in tried:
        key = one["stage"], one["fault"]
        row = rows.setdefault(key, {"stage": key[0], "fault": key[1]})
        row["tried"] = row.get("tried", 0) + 1
        row["survived"] = row.get("survived", 0) + survived(one)
    return [rows[key] for key in sorted(rows)]


def read_ledger(path: Path | None) -> dict[tuple, dict]:
    """What was tried before."""
    if path is None or not path.exists():
        return {}
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {(one["stage"], one["turn"], one["fault"]): one for one in lines}


def try_all(bench: Bench, options: argparse.Namespace) -> dict:
    """Everything that was not tried before, as long as there is time."""
    until = time.monotonic() + 60 * options.minutes
    before, tried, count, operations = read_ledger(options.ledger), [], 0, {}
    for stage in (s for s in STAGES if options.only in s.name):
        found = bench.undisturbed(stage)
        operations[stage.name] = len(found["done"])
        tries = planned(stage, found, options.quick)
        count += len(tries)
        own = []
        for turn, fault in tries:
            one = before.get((stage.name, turn, fault))
            if one is None and time.monotonic() > until:
                continue
            if one is None:
                one = bench.attempt(stage, found, turn, fault)
                _keep(options.ledger, one)
            own.append(one)
        bad = sum(not survived(one) for one in own)
        print(
            f"{stage.name:10} {operations[stage.name]:4} operations, "
            f"{found['seconds']:.1f} s, {len(own):5} of {len(tries):5} tried, "
            f"{bad} not survived",
            flush=True,
        )
        tried += own
    return {"planned": count, "operations": operations, "tried": tried}


def _keep(ledger: Path | None, one: dict) -> None:
    if not survived(one):
        print(json.dumps(one), flush=True)
    if ledger is not None:
        with ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps(one) + "\n")


def warm() -> None:
    """Import what stages need, and start nothing: no thread would live on in a fork."""
    import steadyrank.pipeline.cli.application
    import steadyrank.pipeline.evaluate.stage
    import steadyrank.pipeline.export.stage
    import steadyrank.pipeline.kinds.ranking.kind
    import steadyrank.pipeline.nightly
    import steadyrank.pipeline.preprocess.stage
    import steadyrank.pipeline.score.stage
    import steadyrank.pipeline.train.stage  # noqa: F401

    places = Path("/proc/self/task").glob("*/comm")
    names = [place.read_text(encoding="ascii").strip() for place in places]
    if strange := [name for name in names[1:] if name != OF_ARROW]:
        raise SystemExit(f"{strange} run: a fork would lack these threads.")


def main(arguments: list[str] | None = None) -> int:
    """Break every stage."""
    parser = argparse.ArgumentParser("benchmarks.faults.stages")
    parser.add_argument("--quick", action="store_true", help="3 faults and 2 kills a stage")
    parser.add_argument("--minutes", type=float, default=600.0, help="then it ends")
    parser.add_argument("--ledger", type=Path, help="what was tried, and goes on from")
    parser.add_argument("--only", default="", help="stages whose name holds it")
    options = parser.parse_args(arguments)
    if not ONE_THREAD.items() <= os.environ.items():
        words = ["-m", "benchmarks.faults.stages", *(arguments or sys.argv[1:])]
        os.execve(sys.executable, [sys.executable, *words], {**os.environ, **ONE_THREAD})
    warm()
    with tempfile.TemporaryDirectory(prefix="stages-") as folder:
        found = try_all(Bench(Path(folder).resolve()), options)
    tried = found["tried"]
    result = {
        "planned": found["planned"],
        "tried": len(tried),
        "kills": sum(one["status"] is None for one in tried),
        "survived": sum(map(survived, tried)),
        "lost": sum(bool(one["lost"]) for one in tried),
        "wrong_status": sum(one["wrong_status"] for one in tried),
        "leftovers": sum(bool(one["left"]) for one in tried),
        "operations": found["operations"],
        "table": table(tried),
    }
    print(json.dumps(result))
    return int(result["survived"] < result["tried"])


if __name__ == "__main__":
    sys.exit(main())
