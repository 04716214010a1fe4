"""Preprocessing from a small log to one of 20 times its rows: memory, speed, lost rows.

    POLARS_PYTHON=polars/bin/python python -m benchmarks.scale [--quick]

The demo's config, side tables and ``truth`` of a row an impression included, on synthetic
logs of 1, 4 and 20 M rows (``--quick``: 0.5, 2 and 10 M).  Each is a part of the smallest
many times over, with other moments and impressions: users and items stay, so that rows
alone grow.  ``sizes`` says of each what it took, and how much lay on disk: the log and
what it is joined with, what steps left for one another (``spilled_mb``, looked at once a
second), and the output.

``memory_ratio_20x``: the peak of the large log over that of the small one; a peak is that
of the whole tree of processes, pages that several share counted in each, looked at 20
times a second.  ``cpu_s_per_million``: of all processes, start included, of the large log;
beside it that of a plain Polars script of the same encoding (``polars_preprocess.py``,
the middle log, all in memory; ``POLARS_PYTHON`` is an interpreter that has Polars 2.1), and
their ``ratio``, on that log.  Then both local parallel modes take a log of 1 M rows (4 M)
with two workers: ``engines`` says of each whether every record file and vocabulary is the
one of one process, to the byte, and its rows a second; ``lost_rows`` is what no run of all
these accounted for.

The last line is a JSON object.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.log import CONFIG, SEED
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.synthetic import synthesize

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1, 4, 20)
OWN_ROWS = 250_000  # of the log that is written many times over
USERS, ITEMS = 100_000, 50_000
MODES = ("multi_threading", "multi_processing")
LOOKS = 20  # a second


@dataclass(frozen=True)
class Run:
    """What a process, with all that it started, took."""

    seconds: float
    cpu_s: float
    peak_mb: float
    spilled_mb: float
    said: str


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser("benchmarks.scale", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="0.5 M to 10 M rows")
    parser.add_argument("--rows", type=int, help="of the small log")
    own = os.environ.get("POLARS_PYTHON", "")
    parser.add_argument("--polars", default=own, help="a Python that has Polars")
    options = parser.parse_args(arguments)
    rows = options.rows or (500_000 if options.quick else 1_000_000)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        print(json.dumps(measure(Path(folder), rows, options.polars, options.quick)))


def measure(folder: Path, rows: int, polars: str, quick: bool) -> dict:
    """See the module; its last line."""
    sizes, beside = [], {}
    for times in SIZES:
        log = write_log(times * rows, folder)
        found = preprocess(log, folder / "out", times * rows)
        found |= {"log_mb": size_mb(log), "output_mb": size_mb(folder / "out")}
        sizes.append(found)
        if polars and times == SIZES[1]:
            beside = polars_beside(folder, log, polars, found)
        shutil.rmtree(folder / "out")
        shutil.rmtree(log)
    small, _, large = sizes
    engines, lost = compare_engines(folder, rows * (2 if quick else 4))
    return {
        "rows": [found["rows"] for found in sizes],
        "memory_ratio_20x": large["peak_mb"] / small["peak_mb"],
        "peak_memory_mb": large["peak_mb"],
        "rows_per_s": large["rows"] / large["seconds"],
        "cpu_s_per_million": large["cpu_s"] / large["rows"] * 1e6,
        **beside,
        "lost_rows": lost + sum(found["lost"] for found in sizes),
        "engines": engines,
        "sizes": sizes,
    }


def size_mb(folder: Path) -> float:
    """Bytes of all files, in MB; those that go while it looks count nothing."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total / 1e6


def write_log(rows: int, folder: Path) -> Path:
    """A log of many rows from a small one; its folder."""
    base, log = folder / "base", folder / f"log-{rows}"
    if not base.exists():  # the small log comes first
        synthesize(min(OWN_ROWS, rows), SEED, base, users=USERS, items=ITEMS)
    log.mkdir()
    own = pq.read_metadata(base / "log.parquet").num_rows
    for name in ("users.parquet", "items.parquet"):
        shutil.copy(base / name, log / name)
    for name in ("log.parquet", "truth.parquet"):
        part = pq.read_table(base / name)
        with pq.ParquetWriter(log / name, part.schema) as file:
            for start in range(0, rows, own):
                some = moved(part.slice(0, rows - start), start)
                file.write_table(some, row_group_size=65_536)
    return log


def moved(table: pa.Table, start: int) -> pa.Table:
    """The same rows as other impressions, some moments later."""
    for name, by in (("exposure_id", start), ("time_ms", start // 1000)):
        if name in table.column_names:
            values = pa.array(table[name].to_numpy() + np.int64(by))
            table = table.set_column(table.column_names.index(name), name, values)
    return table


def preprocess(log: Path, output: Path, rows: int, *flags: str) -> dict:
    """Preprocess a log, in a process of its own."""
    command = [sys.executable, "-m", "steadyrank", "preprocess", "--config", str(CONFIG)]
    command += ["--data", str(log), "--output", str(output)]
    done = watched([*command, *(["--", *flags] if flags else [])], output)
    counts = json.loads((output / "manifest.json").read_text(encoding="utf-8"))["rows"]
    kept = counts["written"] + counts["duplicates"] + sum(counts["rejected"].values())
    show(" ".join(flags) or "one process", rows, done)
    return {
        "rows": rows,
        "seconds": done.seconds,
        "cpu_s": done.cpu_s,
        "peak_mb": done.peak_mb,
        "spilled_mb": done.spilled_mb,
        "lost": rows - kept,
    }


def show(name: str, rows: int, done: Run) -> None:
    """A line of a run."""
    took = f"{done.seconds:7.1f} s {done.cpu_s:7.1f} CPU s {done.peak_mb:7,.0f} MB"
    print(f"{rows:12,} rows {took}  {name}", flush=True)


def watched(command: list[str], output: Path | None = None) -> Run:
    """Run a command to its end.

    Args:
        command: What is run.
        output: Where preprocessing writes, if that is what it does.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    start, before, peak, spilled = time.perf_counter(), os.times(), 0, 0.0
    looks = 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said)
        while process.poll() is None:
            peak = max(peak, sum(map(resident_kb, tree_of(process.pid))))
            looks += 1
            if output and looks % LOOKS == 0:
                found = output.parent.glob(f".{output.name}.partial-*/spill")
                spilled = max(spilled, sum(map(size_mb, found)))
            time.sleep(1 / LOOKS)
        seconds, after = time.perf_counter() - start, os.times()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        said.seek(0)
        text = said.read()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return Run(seconds, cpu, peak / 1024, spilled, text)


def tree_of(pid: int) -> list[int]:
    """A process and all that come from it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:  # it has ended
            continue
        found += [each for child in children for each in tree_of(int(child))]
    return found


def resident_kb(pid: int) -> int:
    """Memory that a process holds; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def polars_beside(folder: Path, log: Path, python: str, ours: dict) -> dict:
    """CPU seconds of the Polars script; its rows and vocabularies must be ours."""
    spec = folder / "spec.json"
    spec.write_text(json.dumps(spec_of(log, folder / "polars")), encoding="utf-8")
    done = watched([python, "-m", "benchmarks.polars_preprocess", str(spec)])
    found, output = json.loads(done.said.splitlines()[-1]), folder / "out"
    manifest = json.loads((output / "manifest.json").read_text(encoding="utf-8"))
    splits = {name: split["rows"] for name, split in manifest["splits"].items()}
    sizes = {
        name: len((output / "vocab" / f"{name}.txt").read_bytes().splitlines())
        for name in found["vocabularies"]
    }
    if (splits, sizes) != (found["rows"], found["vocabularies"]):
        raise RuntimeError(f"not the same work: {splits}, {sizes} and {found}")
    shutil.rmtree(folder / "polars")
    show("Polars", ours["rows"], done)
    return {
        "polars_cpu_s_per_million": done.cpu_s / ours["rows"] * 1e6,
        "polars_peak_memory_mb": done.peak_mb,
        "ratio": ours["cpu_s"] / done.cpu_s,
    }


def spec_of(log: Path, output: Path) -> dict:
    """The demo's config in the words of ``polars_preprocess``."""
    config = load_config(CONFIG)
    features = [
        {
            "name": item.name,
            "column": column(item),
            "kind": item.kind,
            "max_values": getattr(item, "max_values", 0),
            "separator": getattr(item, "separator", ""),
            "min_count": getattr(item, "min_count", 1),
        }
        for item in config.features
    ]
    numbers = [column(task) for task in config.tasks]
    numbers += [task.truth for task in config.tasks if task.truth]
    wanted = {feature["column"] for feature in features} | {*numbers}
    joins = []
    for join in config.data.join:
        held = pq.read_schema(log / join.input).names
        names = [join.on, *(n for n in held if n in wanted and n != join.on)]
        joins.append({"path": str(log / join.input), "on": join.on, "columns": names})
    split = config.data.split
    return {
        "log": str(log / config.data.input[0]),
        "joins": joins,
        "time": config.data.time,
        "validation_ms": config.data.moment_ms(split.validation),
        "test_ms": config.data.moment_ms(split.test),
        "features": features,
        "numbers": numbers,
        "output": str(output),
    }


def compare_engines(folder: Path, rows: int) -> tuple[dict, int]:
    """Each local parallel mode beside one process; and the rows that were lost."""
    log, lost = write_log(rows, folder), 0
    preprocess(log, folder / "one", rows)
    wanted, engines = contents(folder / "one"), {}
    for mode in MODES:
        flags = (f"--direct_running_mode={mode}", "--direct_num_workers=2")
        found = preprocess(log, folder / mode, rows, *flags)
        lost += found["lost"]
        engines[mode] = {
            "equal": contents(folder / mode) == wanted,
            "rows_per_s": rows / found["seconds"],
            "peak_memory_mb": found["peak_mb"],
        }
    return engines, lost


def contents(folder: Path) -> dict[str, str]:
    """Checksum of every record file, vocabulary and statistic."""
    paths = [*folder.glob("*/*.tfrecord"), *folder.glob("vocab/*"), *folder.glob("*.json")]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.name != "manifest.json"
    }


if __name__ == "__main__":
    main()
