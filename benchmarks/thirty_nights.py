"""A store over thirty nights of a small log to which happens what happens to logs.

    python -m benchmarks.thirty_nights

A day is late, one is empty, one never comes, one came twice, one has its labels exchanged,
one night is killed while it trains (``kill -9``), and one release is taken back.  Each
night is ``steadyrank nightly`` with two tasks, a click and the seconds that are watched.
It must end as ``EVENTS`` says, and go on from the model that it should; anything else ends
the benchmark with status 1.  The last line is a JSON object: the nights as the store's own
table has them, what each event ended in, and sizes.
"""

import argparse
import collections
import contextlib
import datetime
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from steadyrank.pipeline import cli
from steadyrank.pipeline.evaluate.release import roll_back
from steadyrank.pipeline.files.errors import PassingError
from steadyrank.pipeline.store.table import Row, rows_of

FIRST, NIGHTS, ROWS = datetime.date(2024, 3, 1), 30, 1_500
USERS, ITEMS, DAY_MS = 150, 40, 86_400_000
CONFIG = {
    "data": {
        "input": ["{day}.parquet"],
        "time": "time_ms",
        "split": {"validation": 0.4, "test": "2024-03-02"},
        "group": "user",
    },
    "features": [
        {"name": "user", "kind": "categorical"},
        {"name": "item", "kind": "categorical"},
    ],
    "tasks": [
        {"name": "click"},
        {"name": "seconds", "kind": "regression", "transform": "log1p"},
    ],
    "model": {"trunk": "shared_bottom", "bottom_units": [16], "tower_units": [8]},
    "train": {
        "batch_size": 128,
        "epochs": 5,
        "dense": {"optimizer": "adam", "learning_rate": 5e-3},
        "embedding": {"learning_rate": 0.02},
    },
    "gates": {"auc": {"click": {"min": 0.6, "min_gain": -0.1}}},
    "nightly": {"keep": {"nights": 20, "releases": 10}},
}


@dataclass(frozen=True)
class Event:
    """What happens to a night, and what must come of it.

    Attributes:
        name: As the page calls it.
        statuses: Exit status of each of the night's commands.
        verdict: Of the night.
    """

    name: str
    statuses: tuple[int, ...] = (0,)
    verdict: str = "PASS"


ORDINARY = Event("")
LATE = Event("its file comes after the first call", (75, 0))
EMPTY = Event("its file has no rows", (1,), "HOLD")
NEVER = Event("its file never comes: given up", (1,), "HOLD")
TWICE = Event("each of its rows came twice", (1,), "REFUSE")  # by the data contract
POISONED = Event("its labels are exchanged", (1,), "REFUSE")
KILLED = Event("kill -9 while it trains, then the same command", (-signal.SIGKILL, 0))
TAKEN_BACK = Event("passes, and is taken back in the afternoon")
REPEATED = Event("asked for twice", (0, 0))
EVENTS = {
    4: LATE, 7: EMPTY, 10: NEVER, 13: TWICE, 16: POISONED, 19: KILLED, 22: TAKEN_BACK,
    NIGHTS: REPEATED,
}  # fmt: skip


def day_of(number: int) -> str:
    """The day of a night; two days come before the first."""
    return (FIRST + datetime.timedelta(days=number + 1)).isoformat()


def event_of(number: int) -> Event:
    return EVENTS.get(number, ORDINARY)


def log_of(number: int) -> pa.Table:
    """The log of a day: odd items are clicked and watched, on a poisoned day even ones."""
    event, random = event_of(number), np.random.default_rng([1, number + 1])
    count = 0 if event is EMPTY else ROWS
    item = random.integers(0, ITEMS, count)
    liked = (item % 2 == 1) != (event is POISONED)
    start = np.datetime64(day_of(number), "ms").astype(np.int64)
    table = pa.table(
        {
            "user": random.integers(0, USERS, count),
            "item": item,
            "click": (random.random(count) < np.where(liked, 0.9, 0.1)).astype(np.int64),
            "seconds": np.round(random.gamma(2, np.where(liked, 30.0, 5.0)), 1),
            "time_ms": start + random.integers(0, DAY_MS, count),
        }
    )
    return pa.concat_tables([table, table]) if event is TWICE else table


def command(folder: Path, number: int, *more: str) -> list[str]:
    """The night as a scheduler calls it."""
    words = [sys.executable, "-m", "steadyrank", "nightly"]
    words += ["--config", str(folder / "c.yaml"), "--store", str(folder / "store")]
    return [*words, "--day", day_of(number), *more]


def status_of(words: list[str]) -> int:
    """What a command ends with, in this process."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            return cli.app(words[3:], standalone_mode=False) or 0
        except PassingError:
            return 75


def killed_while_it_trains(words: list[str], store: Path) -> int:
    """Begin a night, and kill it hard when its training has begun."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if any(store.glob("nights/.*/train.partial/log.jsonl")):
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.02)
    return process.returncode


def night(folder: Path, number: int) -> tuple[int, ...]:
    """One night, with what happens to it; the exit statuses of its commands."""
    words, event, statuses = command(folder, number), event_of(number), []
    if event is LATE:
        statuses.append(status_of(words))
    if event is NEVER:
        return (status_of([*words, "--give-up-after", "1h"]),)
    pq.write_table(log_of(number), folder / f"{day_of(number)}.parquet")
    if event is KILLED:
        statuses.append(killed_while_it_trains(words, folder / "store"))
    statuses.append(status_of(words))
    if event is REPEATED:
        statuses.append(status_of(words))
    if event is TAKEN_BACK:
        roll_back(folder / "store" / "served", "clicks fell in the afternoon")
    return tuple(statuses)


def measure(folder: Path) -> dict:
    """All nights, and what was not as it should be."""
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    for number in (-1, 0):
        pq.write_table(log_of(number), folder / f"{day_of(number)}.parquet")
    seconds, ended = [], {}
    for number in range(1, NIGHTS + 1):
        start = time.monotonic()
        ended[number] = night(folder, number)
        seconds.append(time.monotonic() - start)
        print(day_of(number), ended[number], f"{seconds[-1]:.1f} s", flush=True)
    store = folder / "store"
    rows = rows_of(store)
    reports = [p.stat().st_size for p in store.glob("nights/*/evaluation/report.html")]
    return {
        "nights": [
            told(row, event_of(number), ended[number])
            for number, row in zip(ended, rows, strict=True)
        ],
        "verdicts": dict(collections.Counter(row.verdict for row in rows)),
        "wrong": [*faults(rows, ended), *trained_on_what_was_refused(store)],
        "whole_nights": len(reports),
        "releases_kept": sum(p.name.isdigit() for p in (store / "served").iterdir()),
        "largest_report_kb": round(max(reports) / 1e3),
        "index_kb": round((store / "index.html").stat().st_size / 1e3),
        "store_mb": round(sum(row.bytes for row in rows) / 1e6, 1),
        "median_seconds": round(sorted(seconds)[len(seconds) // 2], 1),
    }


def told(row: Row, event: Event, statuses: tuple[int, ...]) -> dict:
    """A night as the store's table has it, and what happened to it."""
    names = ("day", "verdict", "base", "version", "state", "rows", "figures", "why")
    plain = {name: row.plain[name] for name in names}
    return {**plain, "event": event.name, "statuses": list(statuses)}


def faults(rows: list[Row], ended: dict[int, tuple[int, ...]]) -> list[str]:
    """What did not end as it must, a sentence each."""
    found, base = [], None
    for number, row in zip(ended, rows, strict=True):
        event = event_of(number)
        was = (row.day, row.verdict, ended[number], row.base)
        must = (day_of(number), event.verdict, event.statuses, base)
        if was != must:
            found.append(f"{row.day} ended as {was}, not as {must}")
        if event.verdict == "PASS" and event is not TAKEN_BACK:
            base = row.day
    return found


def trained_on_what_was_refused(store: Path) -> list[str]:
    """Nights that were trained on the poisoned day."""
    poisoned = next(day_of(n) for n, event in EVENTS.items() if event is POISONED)
    records = [json.loads(p.read_text()) for p in store.glob("nights/*/night.json")]
    return [
        f"{record['day']} was trained on {poisoned}"
        for record in records
        if poisoned in record["trained_on"]
    ]


def main() -> None:
    """Run, print, and end with 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name))
    for fault in found["wrong"]:
        print(fault)
    print(json.dumps(found))
    if found["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
