"""Clean days, and planted faults, held to the data contract of the days before.

    python -m benchmarks.contract [--quick]

Logs are drawn whose days differ as those of real ones do: weekends, users who come and go,
items that are born every day and fall out of use, prices that drift.  Each log's first two
weeks are preprocessed; every day after them is held to the days before it, and joins them
if it is not refused, as nights do.  After each log's last clean day, every kind of fault is
planted into the day that follows.  The last line says how many clean days were refused or
put on hold, and which faults were refused by name.

What the contract costs is measured on the synthetic log: ``preprocess`` with it and without
(``contract: null``), in processes of their own, one after the other in changing order.
Seconds are those of the processor, which other work on the machine hardly changes.
``seconds_ratio`` and ``memory_ratio`` are medians over the pairs, with over without.
"""

import argparse
import datetime
import json
import logging
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.log import CONFIG as DEMO
from benchmarks.log import write_log
from steadyrank.pipeline.config import Config, load_config, parse_config
from steadyrank.pipeline.contract.judge import judge, reasons
from steadyrank.pipeline.contract.rules import HOLD, REFUSE
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess.held import columns_of, contract_of
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.sample import days_of

FIRST, FEW, CLEAN = datetime.date(2026, 3, 2), 14, 20  # days of each log
DAY_MS = 86_400_000
RUNNER = ["--runner=FnApiRunner"]
CONFIG = {
    "data": {
        "input": ["log/*.parquet"],
        "time": "time_ms",
        "split": {"validation": 0.3, "test": ""},
        "group": "user_id",
    },
    "features": [
        {"name": "user_id", "kind": "categorical"},
        {"name": "item_id", "kind": "categorical"},
        {"name": "country", "kind": "categorical"},
        {"name": "device", "kind": "categorical"},
        {"name": "price", "kind": "numeric"},
        {"name": "age", "kind": "numeric"},
        {"name": "watched_before_ms", "kind": "numeric"},
        {"name": "recent", "kind": "categorical", "max_values": 5},
    ],
    "tasks": [{"name": "is_click"}, {"name": "is_like"}],
    "model": {"trunk": "lr"},
}


class World:
    """A log whose days are drawn one after the other.

    Args:
        seed: Of all draws.
        rows: Of a day, about.
    """

    def __init__(self, seed: int, rows: int):
        self.draw, self.rows = np.random.default_rng(seed), rows
        users = max(rows // 4, 50)
        self.active = self.draw.pareto(2.5, users) + 0.1
        self.country = self.draw.choice(4, users, p=[0.5, 0.3, 0.15, 0.05])
        self.age = self.draw.integers(16, 75, users)
        self.taste = self.draw.normal(0, 1, users)

    def day(self, number: int) -> pa.Table:
        """The rows of a day; by their number, the same log has the same days' trends."""
        draw = self.draw
        weekend = (FIRST + datetime.timedelta(number)).weekday() >= 5
        count = round(self.rows * (0.7 if weekend else 1) * draw.lognormal(0, 0.1))
        active = self.active * draw.gamma(0.5, 2, len(self.active))  # today's
        user = draw.choice(len(active), count, p=active / active.sum())
        born = np.floor(draw.exponential(9, count)).astype(int)  # days ago
        item = (number + 60 - born) * 8 + np.minimum(draw.geometric(0.25, count), 8)
        price = np.exp(draw.normal(3 + 0.004 * number, 1, count)).round(2)
        price[draw.random(count) < 0.03] = np.nan
        device = draw.choice(["ios", "android", "web"], count, p=[0.45, 0.4, 0.15])
        device = np.where(draw.random(count) < 0.02, None, device)
        odds = -2.2 + 0.5 * self.taste[user] - 0.1 * weekend + draw.normal(0, 0.05)
        click = draw.random(count) < 1 / (1 + np.exp(-odds))
        before = np.where(draw.random(count) < 0.4, 0, draw.lognormal(9, 1.5, count))
        columns = {
            "user_id": user + 1000,
            "item_id": item,
            "country": np.array(["us", "de", "fr", "jp"])[self.country[user]],
            "device": pa.array(device.tolist(), pa.string()),
            "price": pa.array(price, from_pandas=True),
            "age": self.age[user],
            "watched_before_ms": before.astype(np.int64),
            "recent": [item[max(n - 3, 0) : n].tolist() for n in range(len(item))],
            "is_click": click.astype(np.int8),
            "is_like": (click & (draw.random(count) < 0.1)).astype(np.int8),
            "time_ms": moment(number) + np.sort(draw.integers(0, DAY_MS, count)),
            "row": np.arange(count),
        }
        return pa.table(columns)


def moment(number: int) -> int:
    """The first millisecond of a day."""
    return (FIRST - datetime.date(1970, 1, 1)).days * DAY_MS + number * DAY_MS


def name_of(number: int) -> str:
    """A day's name."""
    return (FIRST + datetime.timedelta(number)).isoformat()


def replaced(table: pa.Table, name: str, values) -> pa.Table:
    """A table with other values in a column."""
    return table.set_column(table.column_names.index(name), name, [values])


def swapped(one: str, other: str) -> Callable[[pa.Table], pa.Table]:
    """What exchanges two columns."""
    return lambda t: replaced(
        replaced(t, one, t[other].combine_chunks()), other, t[one].combine_chunks()
    )


def emptied(name: str, share: float) -> Callable[[pa.Table], pa.Table]:
    """What takes a share of a column's values away."""

    def empty(table: pa.Table) -> pa.Table:
        gone = np.random.default_rng(1).random(len(table)) < share
        values = table[name].combine_chunks()
        return replaced(table, name, pa.compute.if_else(pa.array(gone), None, values))

    return empty


def times(name: str, factor: float) -> Callable[[pa.Table], pa.Table]:
    """What changes the unit of a number."""
    return lambda t: replaced(
        t, name, pa.compute.multiply(t[name].cast(pa.float64()), factor).combine_chunks()
    )


def without(name: str, value: str) -> Callable[[pa.Table], pa.Table]:
    """What drops the rows that hold a value."""

    def drop(table: pa.Table) -> pa.Table:
        is_it = pa.compute.fill_null(pa.compute.equal(table[name], value), False)
        return table.filter(pa.compute.invert(is_it))

    return drop


def late(table: pa.Table) -> pa.Table:
    """A third of the rows are five days old."""
    old = np.arange(len(table)) % 3 == 0
    return replaced(
        table, "time_ms", pa.array(table["time_ms"].to_numpy() - 5 * DAY_MS * old)
    )


def relabelled(table: pa.Table) -> pa.Table:
    """Clicks are four times as many."""
    more = np.random.default_rng(1).random(len(table)) < 0.4
    return replaced(table, "is_click", pa.array(table["is_click"].to_numpy() | more))


# kind of fault -> how, and the words one of which the refusal must hold
PLANTED = {
    "null rate of a category": (emptied("device", 0.3), ["feature device"]),
    "null rate of a number": (emptied("price", 0.2), ["feature price"]),
    "unit of a number, x 1000": (times("price", 1000), ["feature price: numbers are"]),
    "unit of a number, / 1000": (
        times("watched_before_ms", 1e-3),
        ["feature watched_before_ms: numbers are"],
    ),
    "vanished category": (without("country", "de"), ["are 'de'"]),
    "vanished device": (without("device", "web"), ["are 'web'"]),
    "two numbers swapped": (
        swapped("price", "age"),
        ["those of price, swapped", "those of age, swapped"],
    ),
    "two texts swapped": (
        swapped("country", "device"),
        ["those of country, swapped", "those of device, swapped"],
    ),
    "two ids swapped": (
        swapped("user_id", "item_id"),
        ["feature user_id", "feature item_id"],
    ),
    "labels four times as many": (relabelled, ["task is_click"]),
    "an eighth of the rows": (lambda t: t.slice(0, len(t) // 8), ["rows, where days had"]),
    "rows twice": (
        lambda t: pa.concat_tables([t, t.slice(0, len(t) // 2)]),
        ["are there twice"],
    ),
    "rows late": (late, ["are of days before"]),
    "a number as text": (
        lambda t: replaced(t, "row", t["row"].cast(pa.string()).combine_chunks()),
        ["column row is string"],
    ),
}


def measure(folder: Path, logs: int, rows: int, progress=print) -> dict:
    """Judge the days of some logs.

    Args:
        folder: To work in.
        logs: How many.
        rows: Of a day, about.
        progress: Called with a line after each log.
    """
    clean: Counter = Counter()
    alarms, faults = [], {name: Counter() for name in PLANTED}
    for seed in range(logs):
        place = folder / str(seed)
        for _, verdict in judged(place, World(seed, rows), faults):
            clean[verdict["verdict"]] += 1
            if verdict["verdict"] != "PASS":
                word = verdict["verdict"]
                alarms += [f"log {seed}: {word}: {said}" for said in reasons(verdict, word)]
        progress(f"log {seed}: clean {dict(clean)}")
    return {
        "logs": logs,
        "rows_a_day": rows,
        "clean_days": sum(clean.values()),
        "refused": clean[REFUSE],
        "on_hold": clean[HOLD],
        "alarms": alarms,
        "planted": {name: dict(found) for name, found in faults.items()},
        "missed": [name for name, found in faults.items() if found["named"] < logs],
    }


def judged(place: Path, world: World, faults: dict[str, Counter]):
    """The clean days of a log, with their verdicts; its faults are counted by the way."""
    (place / "log").mkdir(parents=True)
    for number in range(FEW):
        pq.write_table(world.day(number), place / "log" / f"{name_of(number)}.parquet")
    preprocess(config_of(FEW - 1), place, place / "examples")
    held = contract_of(place / "examples")
    for number in range(FEW, FEW + CLEAN):
        found, columns = profiles(place, number, world.day(number))
        verdict = judge(found, held, config_of(number).contract, columns)
        yield name_of(number), verdict
        if verdict["verdict"] != REFUSE:
            days = {**held["days"], **found}
            held = {**held, "days": {d: days[d] for d in sorted(days)[-FEW:]}}
    table = world.day(FEW + CLEAN)
    for name, (plant, words) in PLANTED.items():
        found, columns = profiles(place, FEW + CLEAN, plant(table))
        verdict = judge(found, held, config_of(0).contract, columns)
        said = "; ".join(reasons(verdict))
        faults[name]["planted"] += 1
        faults[name]["refused"] += verdict["verdict"] == REFUSE
        faults[name]["named"] += all(word in said for word in words)


def config_of(number: int) -> Config:
    """The config of the night of a day."""
    data = CONFIG["data"] | {"split": {"validation": 0.3, "test": name_of(number)}}
    return parse_config(CONFIG | {"data": data}, "contract")


def profiles(place: Path, number: int, table: pa.Table) -> tuple[dict, dict]:
    """What the rows of a day amount to, by days, and the columns of their file."""
    path = place / "new" / f"{name_of(number)}.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path)
    config = config_of(number)
    data = config.data.model_copy(update={"input": [str(path)]})
    plan = make_plan(config.model_copy(update={"data": data}), place)
    batches = ((piece.path, b) for piece in plan.log.pieces for b in piece.batches())
    days = days_of(plan, place / "examples", batches)
    # the files of a night hold rows of other days, too, which are not read
    return {d: p for d, p in days.items() if d == name_of(number)}, columns_of(
        plan.log.schema
    )


def cost(folder: Path, rows: int, pairs: int, progress=print) -> dict:
    """What the contract costs: seconds and peak memory with it, over those without.

    Args:
        folder: To work in.
        rows: Of the synthetic log.
        pairs: Of runs, with and without.
        progress: Called with a line after each pair.
    """
    write_log(rows, folder)
    found: dict[str, list[dict]] = {"with": [], "without": []}
    for number in range(pairs):
        for name in sorted(found, reverse=number % 2 == 0):
            command = [sys.executable, "-m", "benchmarks.contract", "--job", name]
            command += ["--rows", str(rows), "--folder", str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
        progress(f"pair {number}: " + json.dumps({n: f[-1] for n, f in found.items()}))
    ratios = {
        key: [a[key] / b[key] for a, b in zip(found["with"], found["without"], strict=True)]
        for key in ("seconds", "memory_mb")
    }
    ends = ratios["seconds"]
    return {
        "rows": rows,
        "pairs": pairs,
        "rows_per_s": {
            name: rows / statistics.median(run["seconds"] for run in runs)
            for name, runs in found.items()
        },
        "peak_memory_mb": {
            name: statistics.median(run["memory_mb"] for run in runs)
            for name, runs in found.items()
        },
        "seconds_ratio": statistics.median(ends),
        "seconds_ratio_range": [min(ends), max(ends)],
        "memory_ratio": statistics.median(ratios["memory_mb"]),
    }


def timed(name: str, rows: int, folder: Path) -> dict:
    """Preprocess the synthetic log: seconds of the processor, and this process's peak."""
    logging.getLogger().setLevel(logging.ERROR)
    config = load_config(DEMO, [] if name == "with" else ["contract=null"])
    start = time.process_time()
    preprocess(config, folder / f"log-{rows}", folder / name, RUNNER, overwrite=True)
    seconds = time.process_time() - start
    return {"seconds": seconds, "memory_mb": peak_kilobytes() / 1024}


def peak_kilobytes() -> int:
    """The peak of this program; what ``getrusage`` says begins with its parent's."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s*(\d+) kB", text)[1])


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the result in a line."""
    parser = argparse.ArgumentParser(
        "benchmarks.contract", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="Days of 2,000 rows.")
    parser.add_argument("--job", choices=("with", "without"), help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, default=200_000, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.job:
        print(json.dumps(timed(options.job, options.rows, Path(options.folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        spent = cost(Path(folder), options.rows, 5)
        found = measure(Path(folder), 10, 2000 if options.quick else 20_000)
        print(json.dumps({**found, "cost": spent}))


if __name__ == "__main__":
    main()
