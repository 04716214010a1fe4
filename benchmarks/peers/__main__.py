"""Training speed beside DeepCTR, torch-rechub and a hand-written PyTorch model.

    make bench-peers            # makes the peers' environment, then runs this
    python -m benchmarks.peers [--quick]

DeepFM (26 fields of width 10, 13 numbers, 3 x 400) and MMoE (two tasks, 4 experts of
256 and 128, towers of 64) on Criteo-shaped rows.  Each side runs in a process of its
own, with the same number of threads, on the same batches in memory, in its usual
training loop: the modules of this package say which.  The model by hand is ours; DeepCTR's
is but for biases; torch-rechub's has batch normalisation, no linear weights of ids, and its
L2 on all weights.  Adam and an L2 of 1e-5 on the embeddings elsewhere.  Sides take turns
for some rounds; figures are medians.  A side whose loss does not fall below that of its
first step is reported as failed, not timed.

The last line is a JSON object.  ``ratio_deepctr``, ``ratio_torch_rechub`` and
``ratio_pytorch`` are our examples a second over theirs with DeepFM at 8 M ids and
batches of 1024, ``ratio_sparse_rival`` over PyTorch's with sparse gradients
(SparseAdam); ``worst_ratio`` is the least of all in the table, ``worst_at`` says where;
``mmoe_examples_per_s`` are ours at 260 K and 8 M ids and batches of 1024, these two
taking turns, ``mmoe_ratio`` the latter over the former; then ``versions``, ``failed``
and every cell.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.criteo import generate

ROOT = Path(__file__).resolve().parents[2]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
OURS = "ours"
MODULES = {
    "deepctr": "deep_ctr",
    "torch_rechub": "rechub",
    "pytorch": "by_hand",
    "sparse_rival": "by_hand_sparse",
}
SIDES = (OURS, *MODULES)
VOCABULARIES = {"260k": 260_000, "1m": 1_000_000, "8m": 8_000_000}
ENDS = ("260k", "8m")
BATCH_SIZES = (1024, 4096)
MODELS = ("deepfm", "mmoe")
ROWS = 65_536
SEED = 1
SETTINGS = {"TF_USE_LEGACY_KERAS": "1", "CUDA_VISIBLE_DEVICES": ""}
THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark; exit with 1 where a side failed, with 2 without peers."""
    options = parse(arguments)
    if not options.peers_python.exists() and set(options.sides) != {OURS}:
        print(
            f"error: no Python of the peers at {options.peers_python}. Make it with "
            "`make bench-peers`, or name one with --peers-python.",
            file=sys.stderr,
        )
        sys.exit(2)
    cells, versions, failed = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="steadyrank-peers-") as folder:
        for model in options.models:
            for name in options.vocabularies:
                if options.quick and model == "mmoe" and name == "1m":
                    continue
                rows = write_rows(Path(folder), VOCABULARIES[name])
                found = compare(model, rows, options, versions, failed)
                for batch_size, speeds in found.items():
                    cells[f"{model} {name} {batch_size}"] = speeds
                    print(line(model, name, batch_size, speeds), flush=True)
        ours = mmoe_by_vocabulary(Path(folder), options, failed)
    print(json.dumps(summary(cells, ours, versions, failed)))
    sys.exit(1 if failed else 0)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks.peers", description="Training speed beside other libraries."
    )
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument(
        "--vocabularies", nargs="+", default=VOCABULARIES, choices=VOCABULARIES
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of a round of one side")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.seconds = options.seconds or (0.8 if options.quick else 2.0)
    return options


def write_rows(folder: Path, ids: int) -> Path:
    """Rows as every side gets them: two labels, ids of each field, and the numbers.

    ``numbers`` is near 0, NaN where one is missing, as we read them; ``dense`` is what our
    model makes of them, and what the others get, so that they learn from the same: every
    number with 0 where it is missing, then as many flags, 1 where it is.
    """
    path = folder / f"rows-{ids}.npz"
    if not path.exists():
        data = generate(ROWS, ids, SEED)
        numbers = np.log1p(np.maximum(data.numbers, 0.0))
        numbers = (numbers - np.nanmean(numbers, axis=0)) / np.nanstd(numbers, axis=0)
        missing = np.isnan(numbers)
        second = np.random.default_rng(SEED).random(ROWS) < 0.5 * data.truth
        np.savez(
            path,
            ids=data.ids,
            numbers=numbers.astype(np.float32),
            dense=np.hstack([np.where(missing, 0.0, numbers), missing]).astype(np.float32),
            labels=np.stack([data.labels, second.astype(np.float32)], axis=1),
            cardinalities=np.array(data.cardinalities),
        )
    return path


class Worker:
    """A side in its own process, which trains when it is told to."""

    def __init__(self, side: str, model: str, rows: Path, options: argparse.Namespace):
        python = sys.executable if side == OURS else str(options.peers_python)
        module = MODULES.get(side, side)
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.peers.worker", module, model, str(rows)],
            cwd=ROOT,
            env={**os.environ, **SETTINGS, **dict.fromkeys(THREADS, str(options.threads))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.about = self._read()

    def train(self, batch_size: int, seconds: float) -> dict:
        """Train for about so long; see ``worker.main`` for what comes back."""
        print(json.dumps([batch_size, seconds]), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> dict:
        text = self.process.stdout.readline()
        if text:
            return json.loads(text)
        self.process.wait()
        self.errors.seek(0)
        last = (self.errors.read().strip().splitlines() or ["no message"])[-1]
        raise ChildProcessError(f"exit status {self.process.returncode}: {last}")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def compare(model, rows, options, versions: dict, failed: dict) -> dict:
    """Batch size -> side -> examples a second; sides that fail go into ``failed``."""
    workers, where = {}, f"{model} {rows.stem}"
    for side in options.sides:
        try:
            workers[side] = Worker(side, model, rows, options)
            versions |= workers[side].about["versions"]
        except ChildProcessError as error:
            failed[f"{where} {side}"] = str(error)
    try:
        return {size: race(workers, size, options, where, failed) for size in BATCH_SIZES}
    finally:
        for worker in workers.values():
            worker.close()


def mmoe_by_vocabulary(folder: Path, options, failed: dict) -> dict:
    """Vocabulary -> our examples a second with MMoE, both ends taking turns."""
    names = [name for name in ENDS if name in options.vocabularies]
    broken = any(where.endswith(OURS) for where in failed)
    if broken or "mmoe" not in options.models or OURS not in options.sides:
        return {}
    workers, where = {}, "mmoe by vocabulary"
    try:
        for name in names:
            rows = write_rows(folder, VOCABULARIES[name])
            workers[name] = Worker(OURS, "mmoe", rows, options)
        return race(workers, BATCH_SIZES[0], options, where, failed)
    except ChildProcessError as error:
        failed[where] = str(error)
        return {}
    finally:
        for worker in workers.values():
            worker.close()


def race(workers: dict[str, Worker], batch_size, options, where, failed) -> dict:
    """Side -> median examples a second over the rounds, the sides taking turns."""
    rates: dict[str, list[float]] = {}
    for side in turns(workers, options.rounds):
        if f"{where} {side}" in failed:
            continue
        try:
            done = workers[side].train(batch_size, options.seconds)
        except (ChildProcessError, BrokenPipeError) as error:
            failed[f"{where} {side}"] = str(error)
            continue
        if not done["loss"] < done["first_loss"]:
            failed[f"{where} {side}"] = f"the loss does not fall: {done}"
        rates.setdefault(side, []).append(batch_size * done["steps"] / done["seconds"])
    return {
        side: statistics.median(found)
        for side, found in rates.items()
        if f"{where} {side}" not in failed
    }


def turns(workers: dict, rounds: int) -> Iterator[str]:
    """Every side once a round, the order going back and forth."""
    for number in range(rounds):
        order = list(workers) if number % 2 == 0 else list(reversed(workers))
        yield from order


def line(model: str, vocabulary: str, batch_size: int, speeds: dict[str, float]) -> str:
    parts = [f"{model:6} {vocabulary:>5} ids, batch {batch_size:5,}:"]
    for side, speed in speeds.items():
        ratio = f" ({speeds[OURS] / speed:.1f}x)" if side != OURS and OURS in speeds else ""
        parts.append(f"{side} {speed:9,.0f}/s{ratio}")
    return "  ".join(parts)


def summary(cells: dict[str, dict[str, float]], ours, versions, failed: dict) -> dict:
    """The promised keys; null where a side failed or was left out."""
    ratios = {
        (cell, side): speeds[OURS] / speed
        for cell, speeds in cells.items()
        if OURS in speeds
        for side, speed in speeds.items()
        if side != OURS
    }
    headline = f"deepfm 8m {BATCH_SIZES[0]}"
    result = {f"ratio_{s}": ratios.get((headline, s)) for s in SIDES if s != OURS}
    worst = min(ratios, key=ratios.get, default=None)
    return {
        **result,
        "worst_ratio": ratios.get(worst),
        "worst_at": worst and " ".join(worst),
        "mmoe_examples_per_s": ours,
        "mmoe_ratio": ours["8m"] / ours["260k"] if set(ours) == set(ENDS) else None,
        "versions": versions,
        "failed": failed,
        "examples_per_s": cells,
    }


if __name__ == "__main__":
    main()
