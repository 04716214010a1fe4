"""The whole preprocess job against a naive Beam pipeline that does the same work.

    python -m benchmarks.preprocess [--quick]

Both read the same synthetic log, drop its exact duplicates, join three side tables,
split by time, learn vocabularies and means from the training split and write TFRecords,
on the same runner (FnApiRunner, one worker) and cores; ours writes packed blocks, the
naive one (``naive_preprocess.py``) a ``tf.train.Example`` a row.  Rows in each split and
all vocabularies must agree, or the benchmark fails.

Every job runs in a process of its own.  Its seconds begin after Beam was imported;
TensorFlow, where a job needs it, is imported within them.  Its memory is the
peak of that process.  ``rows_per_s`` is the median of several runs.  With ``--quick`` the
naive job takes a smaller log of the same kind: its rows a second hardly depend on the
number of rows, those of ours rise with it, so the ratio is of two different logs then.

The last line is a JSON object: ``rows_per_s``, ``naive_rows_per_s``, ``ratio``,
``peak_memory_mb`` (of ours), ``naive_peak_memory_mb``, ``rows``, ``naive_rows``.
"""

import argparse
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.log import CONFIG, write_log

RUNNER = "--runner=FnApiRunner"
JOBS = ("log", "packed", "rows")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark, or one job of it."""
    options = parse(arguments)
    if options.job:
        print(json.dumps(run_job(options.job, options.rows, Path(options.folder))))
        return
    rows = options.rows or 1_000_000
    naive_rows = options.rows or (100_000 if options.quick else rows)
    repetitions = options.repetitions or (3 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        print(json.dumps(compare(Path(folder), rows, naive_rows, repetitions)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks.preprocess", description="Preprocessing against a naive pipeline."
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smaller log for the naive job"
    )
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)  # for tests
    parser.add_argument("--repetitions", type=int, help="runs of our job")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def compare(folder: Path, rows: int, naive_rows: int, repetitions: int) -> dict:
    """Measure both jobs, check that they agree, and give the figures."""
    for count in {rows, naive_rows}:
        start_job("log", count, folder)
    ours = [start_job("packed", rows, folder) for _ in range(repetitions)]
    naive = start_job("rows", naive_rows, folder)
    same = ours[0] if rows == naive_rows else start_job("packed", naive_rows, folder)
    check_agreement(same["result"], naive["result"])
    rows_per_s = rows / statistics.median(run["seconds"] for run in ours)
    naive_rows_per_s = naive_rows / naive["seconds"]
    return {
        "rows_per_s": rows_per_s,
        "naive_rows_per_s": naive_rows_per_s,
        "ratio": rows_per_s / naive_rows_per_s,
        "peak_memory_mb": max(run["peak_memory_mb"] for run in ours),
        "naive_peak_memory_mb": naive["peak_memory_mb"],
        "rows": rows,
        "naive_rows": naive_rows,
    }


def start_job(job: str, rows: int, folder: Path) -> dict:
    """Run one job in a fresh process, and say what it measured."""
    command = [sys.executable, "-m", "benchmarks.preprocess", "--job", job]
    command += ["--rows", str(rows), "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    report = json.loads(done.stdout.splitlines()[-1])
    speed = rows / report["seconds"]
    print(
        f"{job:6} {rows:9,} rows {report['seconds']:7.1f} s {speed:9,.0f} rows/s "
        f"{report['peak_memory_mb']:6,.0f} MB",
        flush=True,
    )
    return report


def run_job(job: str, rows: int, folder: Path) -> dict:
    """Do one job in this process."""
    logging.getLogger().setLevel(logging.ERROR)
    seconds, result = {"log": time_log, "packed": time_packed, "rows": time_rows}[job](
        rows, folder
    )
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_memory_mb": peak_kb / 1024, "result": result}


def time_log(rows: int, folder: Path) -> tuple[float, None]:
    start = time.perf_counter()
    write_log(rows, folder)
    return time.perf_counter() - start, None


def time_packed(rows: int, folder: Path) -> tuple[float, dict]:
    """Run ``pipeline.preprocess.stage``; seconds, and what it wrote."""
    from steadyrank.pipeline.config import load_config
    from steadyrank.pipeline.kinds import preprocess

    output = folder / "packed"
    start = time.perf_counter()
    config, log = load_config(CONFIG), folder / f"log-{rows}"
    manifest = preprocess(config, log, output, [RUNNER], overwrite=True)
    seconds = time.perf_counter() - start
    splits = {name: split["rows"] for name, split in manifest["splits"].items()}
    vocabularies = {
        path.stem: path.read_text(encoding="utf-8").splitlines()
        for path in (output / "vocab").glob("*.txt")
    }
    return seconds, {"splits": splits, "vocabularies": vocabularies}


def time_rows(rows: int, folder: Path) -> tuple[float, dict]:
    """Run the naive pipeline; seconds, and what it wrote."""
    from benchmarks.naive_preprocess import preprocess
    from steadyrank.pipeline.config import load_config
    from steadyrank.pipeline.raw_log.split import SPLITS

    output = folder / "rows"
    start = time.perf_counter()
    preprocess(load_config(CONFIG), folder / f"log-{rows}", output, [RUNNER])
    seconds = time.perf_counter() - start
    splits = {split: count_records(output / split) for split in SPLITS}
    return seconds, {"splits": splits, "vocabularies": read_vocabularies(output)}


def count_records(folder: Path) -> int:
    """How many records the TFRecord files of a folder hold, from their framing."""
    total = 0
    for path in folder.glob("*.tfrecord"):
        with path.open("rb") as file:
            while head := file.read(12):
                file.seek(int.from_bytes(head[:8], "little") + 4, 1)
                total += 1
    return total


def read_vocabularies(folder: Path) -> dict[str, list[str]]:
    """Feature -> its values, in the order of their ids."""
    vocabularies: dict[str, list[str]] = {}
    for path in folder.glob("vocabularies-*"):
        for line in path.read_text(encoding="utf-8").splitlines():
            name, value = line.split("\t", 1)
            vocabularies.setdefault(name, []).append(value)
    return vocabularies


def check_agreement(ours: dict, naive: dict) -> None:
    """Raise unless both jobs wrote as many rows in each split and one vocabulary.

    Raises:
        RuntimeError: They differ, so the two times are not of the same work.
    """
    if ours["splits"] != naive["splits"]:
        raise RuntimeError(f"rows differ: {ours['splits']} and {naive['splits']}")
    one, other = ours["vocabularies"], naive["vocabularies"]
    differ = [name for name in {*one, *other} if one.get(name) != other.get(name)]
    if differ:
        raise RuntimeError(f"the vocabularies of {sorted(differ)} differ")
    sizes = {name: len(values) for name, values in sorted(one.items())}
    print(f"both wrote {ours['splits']} rows and the same vocabularies: {sizes}")


if __name__ == "__main__":
    main()
