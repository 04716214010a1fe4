"""Flink and Spark for real: every byte that of one process, and workers that are killed.

    python -m benchmarks.engines [--rows 1000000] [--engines flink,spark] [--no-kill]

Each engine is started on this machine, all of it on loopback (a loopback of its own, where
the rights for that are at hand): a master and two workers, and a pool that starts our
Python (``worker_pool``).  The demo's config takes the log of
``benchmarks.scale`` on it three ways: a whole run; a small one into a bucket of a local S3
server; and one of which a worker is killed when half of the whole run's time has passed.
What comes out must be the bytes of the default run, or nothing, with a status that says so.

It ends with status 1 where that is not so, and with 0 and a line of why where Java, Maven
or what they would fetch are not at hand.  The last line is a JSON object: ``engines`` says
of each ``equal``, ``rows_per_s`` (all that starts for a job included), ``bucket_equal``,
``killed`` (``"whole"``, or ``"refused, status N"``; ``--no-kill``: not tried), and
``versions``; ``one_process_rows_per_s`` is that of the default run beside them.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.engines.clusters import CLUSTERS, Cluster
from benchmarks.engines.jars import ROOT, NotAtHand, classes_of, versions
from benchmarks.engines.network import leave_networks
from benchmarks.log import CONFIG
from benchmarks.scale import contents, write_log

SMALL_ROWS = 20_000
RUN_S = 3600
WHOLE, WRONG = "whole", "WRONG"


def main(arguments: list[str] | None = None) -> None:
    """Run, and print a line of JSON."""
    parser = argparse.ArgumentParser(
        "benchmarks.engines", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engines", default=",".join(CLUSTERS))
    parser.add_argument("--no-kill", action="store_true", help="whole runs alone")
    options = parser.parse_args(arguments)
    names = options.engines.split(",")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends what was started, too
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        try:
            found = measure(Path(folder), options.rows, names, not options.no_kill)
        except NotAtHand as missing:
            print(f"skipped: engines were not run, {missing}.")
            return
    print(json.dumps({"rows": options.rows, **found}))
    if not all(map(is_right, found["engines"].values())):
        raise SystemExit(1)


def is_right(found: dict) -> bool:
    """Whether an engine gave what one process gives, or nothing."""
    return found["equal"] and found["bucket_equal"] and found["killed"] != WRONG


def measure(folder: Path, rows: int, names: list[str], kill: bool) -> dict:
    """See the module; its last line, but for the rows."""
    for name in names:  # first, since they may not be at hand
        classes_of(name)
    if not leave_networks():
        print("Beam's servers in these engines listen on every network of this machine.")
    log, small = write_log(rows, folder), folder / "small"
    small.mkdir()
    small_log = write_log(min(rows, SMALL_ROWS), small)
    alone = preprocess(log, folder / "one")
    show("one process", rows, alone)
    preprocess(small_log, small / "one")
    wanted, small_wanted = contents(folder / "one"), contents(small / "one")
    found = {}
    for name in names:
        with CLUSTERS[name](folder / name / "cluster") as cluster:
            seconds = preprocess(log, folder / name / "out", cluster.flags())
            show(name, rows, seconds)
            equal = contents(folder / name / "out") == wanted
            bucket = into_bucket(small_log, folder / name, cluster) == small_wanted
            shutil.rmtree(folder / name / "out")
            killed = "not tried"
            if kill:
                output = folder / name / "killed"
                killed = with_a_kill(log, output, cluster, seconds / 2, wanted)
            print(f"{name}: {equal=} {bucket=} {killed=}", flush=True)
        found[name] = {
            "equal": equal,
            "rows_per_s": rows / seconds,
            "bucket_equal": bucket,
            "killed": killed,
            "versions": versions(name),
        }
    return {"one_process_rows_per_s": rows / alone, "engines": found}


def show(name: str, rows: int, seconds: float) -> None:
    """A line of a run."""
    print(f"{rows:12,} rows {seconds:7.1f} s  {name}", flush=True)


def command_of(log: Path, output: Path | str, flags: list[str]) -> list[str]:
    """The command that preprocesses."""
    command = [sys.executable, "-m", "steadyrank", "preprocess", "--config", str(CONFIG)]
    command += ["--data", str(log), "--output", str(output)]
    return [*command, *(["--", *flags] if flags else [])]


def preprocess(log: Path, output: Path | str, flags: list[str] = ()) -> float:
    """Preprocess a log; seconds."""
    start = time.perf_counter()
    command = command_of(log, output, list(flags))
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=RUN_S)
    return time.perf_counter() - start


def into_bucket(log: Path, folder: Path, cluster: Cluster) -> dict[str, str]:
    """Preprocess into a bucket of a local S3 server; what lies there."""
    from benchmarks.object_storage import serving
    from steadyrank.pipeline.files.whole_folders import fetch

    with serving() as bucket:
        url = bucket / cluster.engine
        preprocess(log, url, cluster.flags())
        fetch(url, folder / "fetched")
    return contents(folder / "fetched")


def with_a_kill(
    log: Path, output: Path, cluster: Cluster, after_s: float, wanted: dict
) -> str:
    """Kill a worker in the middle; what came of it."""
    command = command_of(log, output, cluster.flags())
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        process.wait(after_s)
        raise RuntimeError("the run was over before its worker was killed")
    except subprocess.TimeoutExpired:
        cluster.workers[0].kill()
    try:
        status = process.wait(RUN_S)
    finally:
        process.kill()
    if status:
        return WRONG if os.path.exists(output) else f"refused, status {status}"
    return WHOLE if contents(output) == wanted else WRONG


if __name__ == "__main__":
    main()
