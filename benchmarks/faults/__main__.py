"""Every operation of ours fails once, in each way: what is left, and what goes on?

    python -m benchmarks.faults [--quick] [--only TEXT] [--kills 20]

Each case of ``benchmarks.faults.cases`` is done once undisturbed, and its operations are
counted: on files (``disk``) and on a store that speaks S3 (``store``).  Then each operation
fails in turn, in each way that it can: the process dies there, the disk is full (ENOSPC) or
broken (EIO), a write is torn, a read is short; the power is cut (``power``; with
``--quick`` before every fourth); the store answers 500 or 503, once or from
then on, not at all, by half, with nothing, or what it did is done and its answer is lost.
After each the state must be that before or that after, or one that is refused; the status
one that says what to do; and the documented command must lead to the state of a run that
nothing disturbed, and leave nothing else behind.

Then processes are killed for good, at random, from a seed.

The last line is a JSON object: ``operations``, ``tried``, ``survived``, ``lost``,
``wrong_status``, ``leftovers``, ``kills``, ``minutes`` and ``table``.  The status is 1
unless all survived.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from benchmarks.faults import disk as disks
from benchmarks.faults import power
from benchmarks.faults import store as stores
from benchmarks.faults.cases import LOCAL, LOCKS, NUMBER, Case, on_the_store
from benchmarks.faults.disk import Disk, Killed
from benchmarks.faults.killed import kill_all
from benchmarks.faults.power import Platter
from benchmarks.faults.store import Store
from steadyrank.pipeline.files.errors import InputError, PassingError, foreseen

PASSING, BAD_INPUT, BROKEN = 75, 2, 70
MAY_BE_BAD_INPUT = {disks.SHORT, stores.EMPTY}  # what is short looks damaged


@dataclass
class Try:
    """One fault and what came of it."""

    case: Case
    operation: str
    fault: str
    status: int | None
    wrong_status: bool
    lost: str
    leftovers: list[str]

    @property
    def survived(self) -> bool:
        return not (self.wrong_status or self.lost or self.leftovers)


class Bench:
    """Where cases are tried.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path):
        self.folder, self.disk, self.store, self.count = folder, Disk(), Store(), 0
        self._prepared: dict[Case, tuple[Path, dict]] = {}

    def fresh(self, case: Case) -> Path:
        """A new place, as the case wants it."""
        if case not in self._prepared:
            self._prepared[case] = self._prepare(case)
        template, objects = self._prepared[case]
        root = self._folder()
        shutil.copytree(template, root, dirs_exist_ok=True)
        self.store.objects = dict(objects)
        return root

    def _folder(self) -> Path:
        self.count += 1
        root = self.folder / str(self.count)
        (root / "tmp").mkdir(parents=True)
        tempfile.tempdir = str(root / "tmp")
        return root

    def _prepare(self, case: Case) -> tuple[Path, dict]:
        template = self._folder()
        self.store.objects = {}
        case.prepare(template)
        shutil.rmtree(template / "tmp")
        return template, dict(self.store.objects)

    def listed(self, root: Path) -> set[str]:
        """All names, versions without their numbers; locks stay, and so do claims."""
        files = (path.relative_to(root).as_posix() for path in root.rglob("*"))
        names = {NUMBER.sub("N", name) for name in files if not LOCKS.search(name)}
        held = {NUMBER.sub("N", f"s3/{key}") for key in self.store.objects}
        return {n for n in names | held if "withdrawn" not in n and "claims" not in n}

    def act(self, case: Case, root: Path, on_disk: dict, on_store: dict) -> int | None:
        """Do it with a fault; gives the exit status, None where the process died."""
        try:
            with self.disk.watching(root, **on_disk), self.store.watching(**on_store):
                case.act(root)
                if self.store.dead:  # in a thread of boto3, which catches that
                    raise Killed
        except Killed:
            _let_go(root, self.disk.platter)
            return None
        except InputError:
            return BAD_INPUT
        except PassingError:
            return PASSING
        except Exception as error:  # as the command line does
            told = foreseen(error)
            if told is None:
                traceback.print_exc()
                return BROKEN
            return PASSING if isinstance(told, PassingError) else BAD_INPUT
        return 0

    def undisturbed(self, case: Case) -> tuple:
        """Operations on the disk and the store; the states; the names that are left."""
        root = self.fresh(case)
        before = case.state(root)
        status = self.act(case, root, {}, {})
        if status != 0:
            raise SystemExit(f"{case.stage}: {case.name} ends with {status} undisturbed.")
        done = list(self.disk.done), list(self.store.done)
        after, names = case.state(root), self.listed(root)
        shutil.rmtree(root)
        return done, before, after, names

    def cut(self, case: Case, found: tuple, turn: int, how: str) -> Try:
        """The power is cut before an operation, or after the last one."""
        done, before, after, names = found
        root = self.fresh(case)
        self.disk.platter = Platter(root)
        status = self.act(case, root, {"turn": turn, "fault": disks.DIES}, {})
        self.disk.platter.cut(how)
        self.disk.platter.close()
        self.disk.platter, lost, state = None, "", self._state(case, root)
        if status == 0 and state != after:
            lost = f"what was done did not last: {state}"
        elif state not in (before, after) and not case.half(state):
            lost = f"neither before nor after: {state}"
        lost = lost or self._recovered(case, root, None if state == after else after)
        left = sorted(self.listed(root) - names)
        shutil.rmtree(root)
        kind = " ".join(done[0][turn]) if turn < len(done[0]) else "the end"
        return Try(case, kind, how, status, status not in {None, 0}, lost, left)

    def attempt(self, case: Case, found: tuple, turn: int, fault: str, there: bool) -> Try:
        """One fault."""
        done, before, after, names = found
        root = self.fresh(case)
        told = {"turn": turn, "fault": fault}
        status = self.act(case, root, {} if there else told, told if there else {})
        allowed = {None, 0, PASSING} | ({BAD_INPUT} if fault in MAY_BE_BAD_INPUT else set())
        lost, state = "", self._state(case, root)
        if status == 0 and state != after:
            lost = f"success, and the state is {state}"
        elif state not in (before, after) and not case.half(state):
            lost = f"neither before nor after: {state}"
        if state != after and not lost:
            lost = self._recovered(case, root, after)
        elif not lost:
            self._recovered(case, root, None)  # the next one sweeps
        left = sorted(self.listed(root) - names)
        shutil.rmtree(root)
        kind = " ".join(done[there][turn])
        return Try(case, kind, fault, status, status not in allowed, lost, left)

    def _state(self, case: Case, root: Path) -> object:
        try:
            return case.state(root)
        except (InputError, PassingError) as error:
            return f"cannot be read: {error}"

    def _recovered(self, case: Case, root: Path, wanted: object) -> str:
        """Do the documented command; what is wrong with what it leads to."""
        try:
            (case.recover or case.act)(root)
        except (InputError, PassingError) as error:
            return "" if wanted is None else f"the command again: {error}"
        state = self._state(case, root)
        return "" if wanted in (None, state) else f"after the command again: {state}"

    def all_of(self, case: Case, every: int = 1) -> tuple[int, list[Try]]:
        """Every fault of a case; gives the number of its operations, too.

        Args:
            case: It.
            every: Of the cuts of the power, each how manieth is tried.
        """
        found = self.undisturbed(case)
        tried = []
        for turn, (kind, _) in enumerate(found[0][0]):
            for fault in disks.FAULTS[kind]:
                tried.append(self.attempt(case, found, turn, fault, False))
        for turn, (method, _) in enumerate(found[0][1]):
            for fault in stores.FAULTS[method]:
                tried.append(self.attempt(case, found, turn, fault, True))
        kinds = [kind for kind, _ in found[0][0]]
        changes = [n for n, kind in enumerate(kinds) if kind in disks.CHANGES]
        cuts = list(itertools.product([*changes, len(kinds)], power.CUTS))
        for turn, how in () if case.uses_store else [*cuts[::-every]][::-1]:
            tried.append(self.cut(case, found, turn, how))
        return sum(map(len, found[0])), tried


def _let_go(root: Path, platter: Platter | None) -> None:
    """What the kernel does where a process died: its files and locks are closed."""
    ours = platter.descriptors if platter else frozenset()
    for name in {int(name) for name in os.listdir("/proc/self/fd")} - ours:
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith(f"{root}/"):
                os.close(name)


def table(tried: list[Try]) -> list[dict]:
    """A row for each stage and fault."""
    rows: dict[tuple, Counter] = {}
    for one in tried:
        row = rows.setdefault((one.case.stage, one.fault), Counter())
        row["tried"] += 1
        row["survived"] += one.survived
        row[f"status {one.status}"] += 1
    return [{"stage": s, "fault": f, **counts} for (s, f), counts in sorted(rows.items())]


def main(arguments: list[str] | None = None) -> int:
    """Break everything."""
    parser = argparse.ArgumentParser("benchmarks.faults")
    parser.add_argument("--quick", action="store_true", help="20 kills, not 1,000")
    parser.add_argument("--only", default="", help="cases whose stage or name hold it")
    parser.add_argument("--kills", type=int, help="processes that are killed for good")
    options = parser.parse_args(arguments)
    kills = options.kills if options.kills is not None else 20 if options.quick else 1000
    began, operations, tried = time.monotonic(), 0, []
    temporary = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(Path(folder).resolve())
        with bench.store.served(), mock.patch("os.fsync"):
            for case in [*LOCAL, *on_the_store(bench.store)]:
                if options.only in f"{case.stage}: {case.name}":
                    count, found = bench.all_of(case, 4 if options.quick else 1)
                    operations, tried = operations + count, [*tried, *found]
                    bad = sum(not one.survived for one in found)
                    print(
                        f"{case.stage:9} {case.name:32} {count:4} operations, "
                        f"{len(found):5} faults, {bad} not survived",
                        flush=True,
                    )
        tempfile.tempdir = temporary
        killed = kill_all(Path(folder).resolve() / "kills", kills)
    for one in [one for one in tried if not one.survived][:60]:
        print(
            f"{one.case.stage}: {one.case.name}: {one.fault} at {one.operation}: status "
            f"{one.status}; {one.lost}; {one.leftovers[:4]}"
        )
    for line in killed["wrong"]:
        print(f"killed: {line}")
    rows = table(tried)
    for row in rows:
        print(f"{row['stage']:9} {row['fault']:18} {row['survived']:5} of {row['tried']:5}")
    result = {
        "operations": operations,
        "tried": len(tried) + kills,
        "survived": sum(one.survived for one in tried) + kills - len(killed["wrong"]),
        "lost": sum(bool(one.lost) for one in tried) + killed["lost"],
        "wrong_status": sum(one.wrong_status for one in tried),
        "leftovers": sum(bool(one.leftovers) for one in tried) + killed["leftovers"],
        "kills": kills,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "table": rows,
    }
    print(json.dumps(result))
    return 0 if result["survived"] == result["tried"] else 1


if __name__ == "__main__":
    sys.exit(main())
