"""Logs of known content in every form that programs write: read right, or refused in words.

    WRITERS_PYTHON=writers/bin/python python -m benchmarks.inputs [--quick]

Writers (Python's csv module, pyarrow in Spark's form, pandas, fastparquet, Polars, DuckDB)
write the same rows in all their forms (``inputs_writers.py``); each log is read with the
keys that its user would set, up to the final rows, and every value is compared.  Writers
that are not installed are left out, with a word; ``WRITERS_PYTHON`` is an interpreter that
has them (``pip install -r benchmarks/inputs-requirements.txt``, in an environment of their
own).

``rows_per_s`` is what one process reads of plain Parquet up to final rows: 12 columns, half
a million rows (with ``--quick``; else two million), the median of three.

The last line is a JSON object: ``tried``, ``right``, ``refused_in_words``, ``wrong``,
``tracebacks``, ``rows_per_s``, ``by_writer``, ``left_out`` (how many forms, for which a
writer failed itself), ``faults``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.inputs_rows import expected, make_rows
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.rows import key_rows, settle_rows
from steadyrank.pipeline.raw_log.findings import Findings

RIGHT, REFUSED, WRONG, TRACEBACK = "right", "refused_in_words", "wrong", "tracebacks"
ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> None:
    """Write, read, compare, and say how it went."""
    parser = argparse.ArgumentParser("benchmarks.inputs", description="Logs in every form.")
    parser.add_argument("--quick", action="store_true", help="a smaller log for the speed")
    own = os.environ.get("WRITERS_PYTHON", sys.executable)
    parser.add_argument("--writers", default=own, help="their Python")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        print(json.dumps(measure(Path(folder), options.writers, options.quick)))


def measure(folder: Path, writers: str, quick: bool) -> dict:
    """See ``main``; the rows of its last line."""
    command = [writers, "-m", "benchmarks.inputs_writers", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    index = json.loads((folder / "index.json").read_text())
    total: Counter = Counter()
    by_writer: dict[str, Counter] = {}
    faults = []
    for log in index["logs"]:
        found, why = outcome(log)
        total[found] += 1
        by_writer.setdefault(log["writer"], Counter())[found] += 1
        if found != RIGHT:
            faults.append(f"{found}: {log['writer']}: {log['form']}: {why}")
            print(faults[-1][:400])
    for said in index["left_out"]:
        print(f"left out: {said}")
    return {
        "tried": len(index["logs"]),
        **{name: total[name] for name in (RIGHT, REFUSED, WRONG, TRACEBACK)},
        "rows_per_s": speed(folder, 500_000 if quick else 2_000_000),
        "by_writer": {name: dict(found) for name, found in by_writer.items()},
        "left_out": len(index["left_out"]),
        "faults": [fault[:200] for fault in faults[:20]],
    }


def outcome(log: dict) -> tuple[str, str]:
    """How reading a log went, and what there is to say of it."""
    rows = make_rows(**log["rows"])
    if log.get("lossy"):
        rows = [r | {"name": (r["name"] or "").replace("\u4e2d\u6587", "")} for r in rows]
    if log.get("folders"):
        rows = [r | {"id": None if r["number"] < 10 else "a"} for r in rows]
    want = expected(rows, log["have"])
    try:
        found = read(log)
    except InputError as error:
        return REFUSED, str(error)
    except Exception as error:  # what this is here to count
        return TRACEBACK, f"{type(error).__name__}: {error}"
    if found == want:
        return RIGHT, ""
    for number, row in want.items():
        if found.get(number) != row:
            return WRONG, f"{found.get(number)} is not {row}"
    return WRONG, f"{len(found)} rows, not {len(want)}"


def config_of(log: dict):
    """What the user of a log would write."""
    features = [
        {"name": "number", "kind": "numeric"},
        {"name": "id", "kind": "categorical"},
        {"name": "name", "kind": "categorical"},
        {"name": "price", "kind": "numeric"},
        {"name": "tags", "kind": "categorical", "max_values": 4},
    ]
    data = {
        "input": [log["input"]],
        "time": "when",
        "window": "1m",
        "split": {"validation": "2026-01-05", "test": "2026-01-06"},
        "max_rejected": 0.0,
    }
    document = {
        "data": data | log["data"],
        "features": [f for f in features if f["name"] in log["have"]],
        "tasks": [{"name": "click"}],
        "model": {"trunk": "lr"},
    }
    return parse_config(document, log["form"])


def read(log: dict) -> dict[int, tuple]:
    """What is read of a log, as ``expected`` has it."""
    config, found = config_of(log), {}
    for window, table in settled(config, Path(log["input"]).parent):
        columns = {name: table[name].to_pylist() for name in table.column_names}
        several = columns.get("feature/tags", [None] * len(table))
        nothing = [None] * len(table)
        for place, number in enumerate(columns["feature/number"]):
            identity = columns["feature/id"][place]
            found[int(number)] = (
                window,
                columns["label/click"][place],
                None if identity is None else str(identity),
                columns.get("feature/name", nothing)[place],
                columns.get("feature/price", nothing)[place],
                several[place],
            )
    return found


def settled(config, folder: Path):
    """The final rows of each shard, with their window, by the steps of the job.

    Raises:
        InputError: A row was rejected.
    """
    plan = make_plan(config, folder)
    counts, keyed = Counter(), {}
    for piece in plan.log.pieces:
        for batch in piece.batches():
            tables, rejected, found = key_rows(batch, piece.path, plan)
            bad = batch.malformed if rejected is None else rejected
            if bad is not None:
                raise InputError(f"{piece.path}: {bad.slice(0, 1).to_pylist()}")
            counts.update(found)
            for key, table in tables.items():
                keyed.setdefault(key, []).append(table)
    found = Findings.of(counts, config.data, config.data.time, plan.spelled)
    for key, tables in keyed.items():
        final = settle_rows(tables, [], plan, (), found=found)
        if final.rejected:
            raise InputError(f"{folder}: {final.rejected[0].slice(0, 1).to_pylist()}")
        yield key.split("/")[1], final.typed


def speed(folder: Path, rows: int) -> int:
    """Rows a second of plain Parquet, from the file to final rows, in this process."""
    draw = np.random.default_rng(1)
    table = {f"id{n}": draw.integers(0, 10**6, rows) for n in range(3)}
    table |= {f"text{n}": draw.integers(0, 5000, rows).astype(str) for n in range(2)}
    table |= {f"x{n}": draw.normal(size=rows) for n in range(4)}
    start = 1_767_225_600_000
    table |= {"t": start + np.sort(draw.integers(0, 6 * 86_400_000, rows))}
    table |= {f"y{n}": draw.integers(0, 2, rows) for n in range(2)}
    pq.write_table(pa.table(table), folder / "speed.parquet", row_group_size=250_000)
    kinds = {"i": "categorical", "t": "categorical", "x": "numeric"}
    features = [
        {"name": n, "kind": kinds[n[0]]} for n in table if n[0] in "itx" and n != "t"
    ]
    document = {
        "data": {
            "input": ["speed.parquet"],
            "time": "t",
            "split": {"validation": "2026-01-05", "test": "2026-01-06"},
        },
        "features": features,
        "tasks": [{"name": "y0"}, {"name": "y1"}],
        "model": {"trunk": "lr"},
    }
    config, seconds = parse_config(document, "speed"), []
    for _ in range(3):
        begin = time.perf_counter()
        found = sum(len(typed) for _, typed in settled(config, folder))
        seconds.append(time.perf_counter() - begin)
        if found != rows:
            raise RuntimeError(f"rows were lost: {found} of {rows}")
    return round(rows / statistics.median(seconds))


if __name__ == "__main__":
    main()
