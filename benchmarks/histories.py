"""What histories out of the log cost: rows a second, and memory as a log grows.

    python -m benchmarks.histories [--quick]

A log of users and items, both drawn by Zipf's law, so many rows a day; one is of 20 times
the rows of the other, by 20 times the days.  Both are preprocessed with two sequences of 50
events, and count, rate and time since the last by user, item and pair; the longer one
without them, and with them in two worker processes, too.  Each other run is one process,
whose peak its memory is.

The last line is a JSON object: ``rows_per_s`` of the long log, ``rows_per_s_two`` (workers)
and ``rows_per_s_without``; the same for each second of a core (``rows_per_cpu_s...``),
which other work on the machine changes little; ``peak_memory_mb`` of both logs,
``times_the_memory``, ``rows`` of both.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import steadyrank
from benchmarks.contract import peak_kilobytes

START, DAY = 1_709_251_200, 24 * 3600  # 2024-03-01, in seconds
TIMES, DAYS = 20, 4
PARALLEL = "--direct_running_mode=multi_processing", "--direct_num_workers=2"
KEYS = (["user"], ["item"], ["user", "item"])


def write_log(folder: Path, rows: int, days: int) -> None:
    """A file a day."""
    folder.mkdir()
    random = np.random.default_rng(1)
    each = rows // days
    for day in range(days):
        at = START + day * DAY + np.sort(random.integers(0, DAY, each))
        table = pa.table(
            {
                "user": random.zipf(1.2, each) % 200_000,
                "item": random.zipf(1.2, each) % 50_000,
                "at": at,
                "click": (random.random(each) < 0.3).astype(np.int8),
            }
        )
        pq.write_table(table, folder / f"{day:03d}.parquet")


def config(folder: Path, days: int, histories: bool) -> dict:
    """With what came before, or without."""
    made = {"from": "events"}
    last = {"kind": "sequence", "of": "item", "length": 50, **made}
    features = [{"name": "seen", **last}, {"name": "clicked", "where": "click", **last}]
    for by in KEYS:
        number = {"kind": "numeric", "by": by, **made}
        name = "_".join(by)
        rate = {"measure": "rate", "where": "click", "window": "7d"}
        features += [
            {"name": f"{name}_count", "measure": "count", "window": "1d", **number},
            {"name": f"{name}_rate", **rate, **number},
            {"name": f"{name}_since", "measure": "since", **number},
        ]
    ids = [{"name": n, "kind": "categorical"} for n in ("user", "item")]
    test, validation = (
        time.strftime("%Y-%m-%d", time.gmtime(START + (days - n) * DAY)) for n in (1, 2)
    )
    return {
        "data": {
            "input": [f"{folder}/*.parquet"],
            "time": "at",
            "time_unit": "s",
            "group": "user",
            "split": {"validation": validation, "test": test},
        },
        "features": ids + features * histories,
        "tasks": [{"name": "click"}],
        "model": {"trunk": "shared_bottom"},
    }


def measured(folder: Path, days: int, histories: bool, workers: int = 1) -> dict:
    """Seconds and peak memory of one run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.histories", "--one", str(folder)]
    command += ["--days", str(days), "--histories", str(int(histories))]
    command += ["--workers", str(workers)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    print(
        f"{days} days, {'with' if histories else 'without'}, {workers}: {found}", flush=True
    )
    return found


def one(folder: Path, days: int, histories: bool, workers: int = 1) -> dict:
    """Preprocess."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        begun, before = time.monotonic(), cpu()
        document, output = config(folder, days, histories), Path(place) / "out"
        flags = PARALLEL if workers > 1 else ()
        steadyrank.preprocess(document, output=output, data=folder, beam_flags=flags)
        seconds, busy = time.monotonic() - begun, cpu() - before
    memory = round(peak_kilobytes() / 1024)
    return {"seconds": round(seconds, 1), "cpu_s": round(busy, 1), "memory_mb": memory}


def cpu() -> float:
    """Seconds of cores that this process and its workers took."""
    found = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in found)


def main(arguments: list[str] | None = None) -> None:
    """Both logs."""
    parser = argparse.ArgumentParser("benchmarks.histories")
    parser.add_argument("--quick", action="store_true", help="2 M rows, not 10 M")
    parser.add_argument("--one", type=Path)
    parser.add_argument("--days", type=int)
    parser.add_argument("--histories", type=int)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.one:
        histories, workers = bool(options.histories), options.workers
        print(json.dumps(one(options.one, options.days, histories, workers)))
        return
    rows = 2_000_000 if options.quick else 10_000_000
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as place:
        short, long = Path(place) / "short", Path(place) / "long"
        write_log(short, rows // TIMES, DAYS)
        write_log(long, rows, DAYS * TIMES)
        runs = [measured(short, DAYS, True)]
        runs += [measured(long, DAYS * TIMES, kind) for kind in (True, False)]
        runs.append(measured(long, DAYS * TIMES, True, 2))
    memory = [run["memory_mb"] for run in runs[:2]]
    named = zip(("", "_without", "_two"), runs[1:], strict=True)
    rates = {
        f"rows_per_{unit}{name}": round(rows / run[took])
        for name, run in named
        for unit, took in (("s", "seconds"), ("cpu_s", "cpu_s"))
    }
    result = {
        **rates,
        "peak_memory_mb": memory,
        "times_the_memory": round(memory[1] / memory[0], 2),
        "rows": [rows // TIMES, rows],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
