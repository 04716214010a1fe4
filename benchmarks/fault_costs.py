"""What it costs that nothing is lost: CPU with every protection, and with none.

    python -m benchmarks.fault_costs [--quick] [--pairs 20] [--rows 400000]

Preprocessing, and a training on a tenth of the rows, each in a process of its own that did
it once before, in pairs: one as it is, one in which all that guards against faults is
switched off (``PROTECTIONS``):
bringing files to the disk, checksums and sizes of shards, the count and the encoding of
their records, fingerprints of vocabularies, looks at free space, locks, sweeping of what
the dead left, reading the log back and its whole shape, watching for SIGTERM.  Which of a
pair comes first changes from pair to pair.  CPU is what the process and its children took,
user and system.  (Between fresh processes it differs by a tenth, in one by a hundredth.)

The last line is a JSON object: ``pairs``, ``rows``, and of each stage ``seconds`` (the
median with protections), ``ratio`` (the mean, of logarithms) and ``upper``, the upper end
of its 95 % interval (Student's t).  Exit status 1: an upper end is above ``MOST``.
"""

import argparse
import contextlib
import gc
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

from benchmarks.log import CONFIG, write_log

MOST = 1.05
TRAINED = 10  # rows of preprocessing for each of training: as long, about
STAGES = ("preprocess", "train")
SETTINGS = ["train.epochs=1", "train.patience=null"]


def _nothing(*_, **__) -> None:
    """Instead of a check that returns nothing."""


def _no_lock(*_, **__) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


@contextlib.contextmanager
def _deaf() -> Iterator:
    """Instead of watching for SIGTERM."""
    yield lambda: False


def _write(file, data) -> int:
    """Of a file that takes no checksum."""
    data = memoryview(data).cast("B")
    file._file.write(bytes(data))
    file.bytes += len(data)
    return len(data)


def _parse_arrays(record, encoding, kinds: dict) -> dict:
    """Arrays of a block, whatever they were encoded by."""
    import tensorflow as tf

    scalar = tf.io.FixedLenFeature([], tf.string)
    parsed = tf.io.parse_single_example(record, dict.fromkeys(kinds, scalar))
    return {key: tf.io.decode_raw(parsed[key], kind) for key, kind in kinds.items()}


def _as_they_come(_count) -> Callable:
    """Instead of ``assert_cardinality``."""
    return lambda records: records


PIPELINE, DATA = "steadyrank.pipeline", "tensorflow.data.experimental"
OF_FILES = {
    f"{PIPELINE}.files.publish.sync": _nothing,
    f"{PIPELINE}.files.publish.sync_tree": _nothing,
    f"{PIPELINE}.files.scratch.sweep": _nothing,
}
PROTECTIONS = {
    "preprocess": {
        **OF_FILES,
        f"{PIPELINE}.files.checksum.Checksummed.write": _write,
        f"{PIPELINE}.preprocess.stage.require_room": _nothing,
    },
    "train": {
        **OF_FILES,
        f"{PIPELINE}.examples.example_set.check_size": _nothing,
        f"{PIPELINE}.examples.example_set._check_rows": _nothing,
        f"{PIPELINE}.examples.example_set._check_encoding": _nothing,
        f"{PIPELINE}.examples.example_set.compute_fingerprint": lambda s, _: s.fingerprint,
        f"{PIPELINE}.examples.records.parse_arrays": _parse_arrays,
        f"{DATA}.assert_cardinality": _as_they_come,
        f"{PIPELINE}.train.stage.alone": _no_lock,
        f"{PIPELINE}.train.run.require_room": _nothing,
        f"{PIPELINE}.train.run.watching": _deaf,
        f"{PIPELINE}.train.run.sync": _nothing,
        f"{PIPELINE}.train.log.sync": _nothing,
        f"{PIPELINE}.train.log.require_steps": _nothing,
        f"{PIPELINE}.train.log._parsed": lambda line, place: json.loads(line),
    },
}


@contextlib.contextmanager
def switched_off(stage: str) -> Iterator[None]:
    """Switch all that protects a stage off."""
    with contextlib.ExitStack() as stack:
        for name, other in PROTECTIONS[stage].items():
            stack.enter_context(mock.patch(name, other))
        yield


def cpu() -> float:
    """Seconds that this process and its children took, user and system."""
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    used = [resource.getrusage(each) for each in who]
    return sum(each.ru_utime + each.ru_stime for each in used)


def run_stage(stage: str, rows: int, pairs: int, folder: Path) -> list[list[float]]:
    """Do a stage in this process, once to warm it and then in pairs.

    Returns:
        CPU seconds of each pair, with protections and without.
    """
    from steadyrank.pipeline.config import load_config
    from steadyrank.pipeline.kinds import stage_of

    config = load_config(CONFIG, SETTINGS)
    do, output = stage_of(config, stage), folder / stage
    given = folder / ("examples" if stage == "train" else f"log-{rows}")

    def taken(is_bare: bool) -> float:
        gc.collect()
        with switched_off(stage) if is_bare else contextlib.nullcontext():
            before = cpu()
            do(config, given, output, overwrite=True)
            return cpu() - before

    taken(False)
    found = []
    for number in range(pairs):
        order = (False, True) if number % 2 else (True, False)
        seconds = {is_bare: taken(is_bare) for is_bare in order}
        found.append([seconds[False], seconds[True]])
    return found


def start(stage: str, rows: int, pairs: int, folder: Path) -> list[list[float]]:
    """``run_stage`` in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.fault_costs", "--stage", stage]
    command += ["--rows", str(rows), "--pairs", str(pairs), "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def ratio(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Mean of the paired ratios (of logarithms), and the upper end of its interval.

    Args:
        pairs: With and without, two at least.
    """
    from scipy.stats import t

    logs = [math.log(whole / bare) for whole, bare in pairs]
    mean, error = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean + t.ppf(0.975, len(logs) - 1) * error)


def measure(pairs: int, rows: int, folder: Path) -> dict:
    """All pairs of both stages."""
    for count in (rows, rows // TRAINED):
        write_log(count, folder)
    start("preprocess", rows // TRAINED, 0, folder)
    (folder / "preprocess").rename(folder / "examples")
    result: dict = {"pairs": pairs, "rows": rows}
    for stage in STAGES:
        found = start(stage, rows, pairs, folder)
        for number, (whole, bare) in enumerate(found):
            print(f"pair {number}, {stage}: {whole:.2f} s, bare {bare:.2f} s", flush=True)
        mean, upper = ratio(found)
        seconds = statistics.median(whole for whole, _ in found)
        result[stage] = {"seconds": seconds, "ratio": mean, "upper": upper}
    return result


def main(arguments: list[str] | None = None) -> int:
    """Measure, or do one stage."""
    parser = argparse.ArgumentParser("benchmarks.fault_costs")
    parser.add_argument("--quick", action="store_true", help="10 pairs")
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    pairs = (10 if options.quick else 20) if options.pairs is None else options.pairs
    if options.stage:
        print(json.dumps(run_stage(options.stage, options.rows, pairs, options.folder)))
        return 0
    with tempfile.TemporaryDirectory(prefix="costs-") as folder:
        result = measure(pairs, options.rows, Path(folder).resolve())
    print(json.dumps(result))
    return int(any(result[stage]["upper"] > MOST for stage in STAGES))


if __name__ == "__main__":
    sys.exit(main())
