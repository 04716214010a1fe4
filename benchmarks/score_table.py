"""``steadyrank score`` of large tables: how fast, in how much memory, and whether equal.

    python -m benchmarks.score_table [--rows 1000000 5000000]

The model of the demo, one epoch of it, scores its own log over and over: each row has a
number of its own, the side tables stand beside.  Each size is scored by a process of its
own.  ``SAMPLE`` rows of each, evenly spread, are sent to the export's ``serving_default``
by plain TensorFlow, joined and filled here; a difference above ``LIMITS`` ends the
benchmark with status 1, and so does a row that is lost or comes twice.

The last line is a JSON object: by number of rows ``seconds``, ``cpu_seconds`` of all
threads, ``peak_mb`` of the process, ``difference`` and ``megabytes`` written.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
LOG_ROWS, SAMPLE = 200_000, 5_000
VALUE = "watch_time_ms"  # learned as a logarithm: what rounds there is a factor here
LIMITS = {"probability": 1e-6, "value": 5e-6}  # of a difference, and of its share
SIDES = {"users.parquet": "user_id", "items.parquet": "item_id"}
MISSING = {"int64": -(2**63), "string": b"", "float32": np.nan}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "steadyrank", *map(str, words)]


def model_of(folder: Path, rows: int = LOG_ROWS) -> Path:
    """The demo's log, its examples, one epoch, and the export, whose folder is given."""
    config, log = ROOT / "configs" / "demo.yaml", folder / "log"
    named = ["--config", config]
    stages = [
        ["synthesize", "--rows", rows, "--seed", 1, "--output", log],
        ["preprocess", *named, "--data", log, "--output", folder / "examples"],
        ["train", *named, "--examples", folder / "examples", "--output", folder / "train"],
        ["export", *named, "--train", folder / "train", "--output", folder / "export"],
    ]
    stages[2] += ["--set", "train.epochs=1"]
    for words in stages:
        subprocess.run(command(*words), check=True, stdout=subprocess.DEVNULL)
    return next(path for path in (folder / "export").iterdir() if path.name.isdigit())


def write_rows(log: pa.Table, rows: int, path: Path) -> None:
    """The log over and over, ``number`` counting the rows."""
    schema = log.schema.append(pa.field("number", pa.int64()))
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, len(log)):
            part = log.slice(0, min(len(log), rows - start))
            numbers = pa.array(np.arange(start, start + len(part)))
            writer.write_table(part.append_column("number", numbers))


def scored(model: Path, log: Path, table: Path, output: Path) -> dict:
    """Score a table in a process of its own: seconds, and the peak of its memory."""
    words = ["score", "--model", model, "--input", table, "--data", log]
    words += ["--output", output, "--keep", "number"]
    start = time.perf_counter()
    process = subprocess.Popen(command(*words), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"score ended with {status}")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def request_of(rows: pa.Table, sides: dict[str, pa.Table], inputs: dict) -> dict:
    """What a client would send of some rows: side tables joined, what is missing filled.

    Args:
        rows: Of the log.
        sides: Key -> table.
        inputs: Name -> ``tf.TensorSpec`` of the signature.
    """
    found = {}
    for name, spec in inputs.items():
        column = rows[name] if name in rows.column_names else None
        for key, side in sides.items():
            if column is None and name in side.column_names:
                place = pc.index_in(rows[key], side[key].combine_chunks())
                column = side[name].take(place)
        missing, values = MISSING[spec.dtype.name], column.to_pylist()
        if spec.shape.rank == 2:
            values = [value or [] for value in values]
            width = max(1, *map(len, values))
            values = [[*v, *[missing] * (width - len(v))] for v in values]
            values = [[missing if each is None else each for each in v] for v in values]
        else:
            values = [missing if value is None else value for value in values]
        found[name] = values
    return found


def difference(model: Path, log: Path, rows: int, output: Path) -> dict[str, float]:
    """The largest difference of sampled rows' outputs from those that are served.

    Returns:
        ``probability`` (the score, too) as it is, ``value`` as a share.

    Raises:
        SystemExit: A row is lost, or comes twice.
    """
    import tensorflow as tf

    parts = sorted(output.glob("part-*.parquet"))
    found = pa.concat_tables(pq.read_table(part) for part in parts)
    found = found.take(pc.sort_indices(found["number"]))
    if found["number"].to_numpy().tolist() != list(range(rows)):
        raise SystemExit(f"{output}: rows are lost, or come twice")
    chosen = np.linspace(0, rows - 1, SAMPLE).astype(int)
    logged = pq.read_table(log / "log.parquet")
    sides = {key: pq.read_table(log / name) for name, key in SIDES.items()}
    call = tf.saved_model.load(str(model)).signatures["serving_default"]
    _, inputs = call.structured_input_signature
    request = request_of(logged.take(chosen % len(logged)), sides, inputs)
    served = call(**{n: tf.constant(v, inputs[n].dtype) for n, v in request.items()})
    largest = dict.fromkeys(LIMITS, 0.0)
    for name, values in served.items():
        values, ours = values.numpy(), found[name].to_numpy()[chosen]
        kind = "value" if name == VALUE else "probability"
        size = np.abs(values) if name == VALUE else 1.0
        apart = float(np.max(np.abs(ours - values) / size))
        if not np.isfinite(apart) or np.ptp(ours) == 0:
            raise SystemExit(f"{name}: scores that are no numbers, or one for all rows")
        largest[kind] = max(largest[kind], apart)
    return largest


def measure(folder: Path, sizes: list[int]) -> dict:
    """Every size, one after the other."""
    model, log = model_of(folder), folder / "log"
    logged, found = pq.read_table(log / "log.parquet"), {}
    for rows in sizes:
        table, output = folder / f"{rows}.parquet", folder / f"scores-{rows}"
        write_rows(logged, rows, table)
        one = scored(model, log, table, output)
        written = sum(p.stat().st_size for p in output.glob("part-*.parquet"))
        one |= {"megabytes": round(written / 1e6, 1)}
        one |= {"difference": difference(model, log, rows, output)}
        print(rows, one, flush=True)
        if not all(one["difference"][kind] <= most for kind, most in LIMITS.items()):
            raise SystemExit(f"scores differ from the served ones by {one['difference']}")
        found[str(rows)] = one
    return {"sampled": SAMPLE, "sizes": found}


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), options.rows)))


if __name__ == "__main__":
    main()
