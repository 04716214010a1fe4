"""Reading packed examples as training does, against one ``tf.train.Example`` a row.

    python -m benchmarks.input [--quick]

The packed side is ``pipeline.examples.dataset.training_dataset`` itself. The row side
holds the same rows and columns and reads them as one would by hand: files in random
order, a shuffle buffer of as many rows as training permutes together, batches,
``parse_example``
on whole batches, masks, prefetch.  Both sides come in the same shuffled batches of
(features, labels, masks).  A loop in Python takes every batch with all its tensors,
as a custom training loop does, the same loop on both sides; it does nothing with them,
so that reading alone is timed.  Runs alternate; figures are medians.  ``cpu_ratio``
compares processor seconds instead, which other programs on the machine change less.

The last line is a JSON object for batches of 4096: ``rows_per_s``,
``row_layout_rows_per_s``, ``ratio``, ``bytes_per_row``, ``row_layout_bytes_per_row``,
``floor_rows_per_s``, ``cpu_ratio`` and under ``batches`` the same for each batch size.
"""

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.log import CONFIG, SEED, write_log
from benchmarks.row_layout import row_dataset, write_rows
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.examples.dataset import training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.kinds import preprocess

BATCH_SIZES = (1024, 4096)  # the last one gives the headline


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    options = parse(arguments)
    logging.getLogger().setLevel(logging.ERROR)
    rows = options.rows or (500_000 if options.quick else 1_000_000)
    repetitions = options.repetitions or (3 if options.quick else 7)
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        print(json.dumps(compare(Path(folder), rows, repetitions)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks.input", description="Packed examples against one example a row."
    )
    parser.add_argument("--quick", action="store_true", help="fewer rows and runs")
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)  # for tests
    parser.add_argument("--repetitions", type=int, help="timed runs of each side")
    return parser.parse_args(arguments)


def compare(folder: Path, rows: int, repetitions: int) -> dict:
    """Write both layouts, time both, and give the figures."""
    config = load_config(CONFIG)
    preprocess(config, write_log(rows, folder), folder / "packed")
    examples = ExampleSet.open(folder / "packed")
    files = write_rows(examples, folder / "rows")
    rows = examples.rows("train")
    packed_files = [path for paths in examples.windows("train").values() for path in paths]
    sizes = bytes_per_row(packed_files, rows), bytes_per_row(files, rows)
    floor = floor_rows_per_s(sizes[0])
    print(
        f"{rows:,} rows, {sizes[0]:.0f} bytes a row packed, {sizes[1]:.0f} as rows; "
        f"the floor, writing a packed row {COPIES} times in memory: {floor:,.0f} rows/s",
        flush=True,
    )
    shuffle_rows = config.train.shuffle_rows
    check_same(examples, files, shuffle_rows)
    batches = {
        size: measure(examples, files, size, shuffle_rows, repetitions)
        for size in BATCH_SIZES
    }
    headline = batches[BATCH_SIZES[-1]]
    print(f"packed reading takes {floor / headline['rows_per_s']:.1f} times the floor")
    return {
        **headline,
        "bytes_per_row": sizes[0],
        "row_layout_bytes_per_row": sizes[1],
        "floor_rows_per_s": floor,
        "batches": batches,
    }


def measure(
    examples: ExampleSet, files: list[Path], batch_size: int, shuffle_rows: int, runs: int
) -> dict:
    """Time one pass of each side in turn, after one pass each to warm up."""
    sides: dict[str, Callable] = {
        "rows_per_s": lambda seed: training_dataset(
            examples,
            epoch=seed,
            batch_size=batch_size,
            seed=SEED,
            shuffle_rows=shuffle_rows,
        ),
        "row_layout_rows_per_s": lambda seed: row_dataset(
            files, examples.schema, batch_size, shuffle_rows, seed
        ),
    }
    walls: dict[str, list[float]] = {name: [] for name in sides}
    processors: dict[str, list[float]] = {name: [] for name in sides}
    for run in range(runs + 1):
        for name, open_dataset in sides.items():
            wall, processor = read_through(open_dataset(run))
            walls[name].append(wall)
            processors[name].append(processor)
    rows = examples.rows("train")
    result = {name: rows / statistics.median(walls[name][1:]) for name in sides}
    packed, row_layout = sides
    result["ratio"] = result[packed] / result[row_layout]
    result["cpu_ratio"] = statistics.median(processors[row_layout][1:]) / statistics.median(
        processors[packed][1:]
    )
    for name in sides:
        span = f"{rows / max(walls[name][1:]):,.0f} to {rows / min(walls[name][1:]):,.0f}"
        print(f"batch {batch_size}: {name} {result[name]:,.0f} ({span})", flush=True)
    return result


def read_through(dataset: tf.data.Dataset) -> tuple[float, float]:
    """Take every batch of a dataset; wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in dataset:
        pass
    return time.perf_counter() - wall, time.process_time() - processor


def check_same(examples: ExampleSet, files: list[Path], shuffle_rows: int) -> None:
    """Raise unless both sides give the same names, types and column sums.

    Raises:
        RuntimeError: They do not hold the same rows.
    """
    packed = training_dataset(
        examples, epoch=0, batch_size=4096, seed=SEED, shuffle_rows=shuffle_rows
    )
    rows = row_dataset(files, examples.schema, 4096, shuffle_rows, SEED)
    one, other = column_sums(packed), column_sums(rows)
    differ = [n for n in {*one, *other} if not np.isclose(one[n], other[n], rtol=1e-9)]
    if differ:
        raise RuntimeError(f"the two layouts differ in {sorted(differ)}")


def column_sums(dataset: tf.data.Dataset) -> dict[str, float]:
    """Column -> sum of its values; each tensor's type and rank are part of the name."""
    sums: dict[str, float] = {}
    for features, labels, masks, *_ in dataset:
        groups = {"feature": features, "label": labels, "mask": masks}
        for group, columns in groups.items():
            for name, values in columns.items():
                key = f"{group}/{name} {values.dtype.name} rank {values.shape.rank}"
                total = np.nansum(values.numpy().astype(np.float64))
                sums[key] = sums.get(key, 0.0) + float(total)
    return sums


def bytes_per_row(files: list[Path], rows: int) -> float:
    return sum(path.stat().st_size for path in files) / rows


COPIES = 4  # read the file, permute, batch, split into columns


def floor_rows_per_s(row_bytes: float) -> float:
    """Rows a second if all that reading did was to copy each row ``COPIES`` times.

    On one core, at the speed at which it copies 64 MB, the best of five.
    """
    source = np.ones(64 << 20, np.uint8)
    target = np.ones_like(source)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return len(source) / min(seconds) / (row_bytes * COPIES)


if __name__ == "__main__":
    main()
