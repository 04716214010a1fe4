"""Exact AUC, streamed, against scikit-learn.

    python -m benchmarks.evaluate [--quick]

Scores are float32 sigmoids of normal logits, a tenth of the labels positive or so.  On
5 M rows both must agree to the last digits, or the benchmark fails.  Then 50 M rows
(with ``--quick`` 10 M) are streamed in batches of 1 M, made as they are needed and never
held together; the seconds are those of the metric, without making the batches.

Every job runs in a process of its own; its memory is the peak of that process less what
the process held before the first row.  scikit-learn's rows are in memory before, so that
their arrays do not count either.  NumPy sorts several times as fast on a processor with
AVX-512 as on one without, and the streamed AUC with it.

The last line is a JSON object: ``rows_per_s`` and ``sklearn_rows_per_s`` on 5 M rows,
``ratio``, ``difference``, ``peak_memory_mb`` and ``rows_50m_seconds`` (with ``--quick``
``rows_10m_seconds``) of the streamed rows, ``sklearn_peak_memory_mb`` on 5 M.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

ROWS = 5_000_000
BATCH = 1_000_000
JOBS = ("stream", "sklearn")


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark, or one job of it."""
    options = parse(arguments)
    if options.job:
        print(json.dumps(run_job(options.job, options.rows)))
        return
    rows = options.rows or ROWS
    many = 2 * rows if options.quick or options.rows else 10 * rows
    print(json.dumps(compare(rows, many, options.repetitions)))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks.evaluate", description="Exact AUC, streamed, against scikit-learn."
    )
    parser.add_argument("--quick", action="store_true", help="10 M rows in place of 50 M")
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)  # for tests
    parser.add_argument("--repetitions", type=int, default=3, help="runs on 5 M rows")
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def compare(rows: int, many: int, repetitions: int) -> dict:
    """Measure both, check that they agree, and give the figures."""
    ours = [start_job("stream", rows) for _ in range(repetitions)]
    theirs = [start_job("sklearn", rows) for _ in range(repetitions)]
    difference = abs(ours[0]["auc"] - theirs[0]["auc"])
    if difference > 1e-12:
        raise SystemExit(f"streamed and scikit-learn's AUC differ by {difference}")
    streamed = start_job("stream", many)
    speeds = [rows / min(run["seconds"] for run in runs) for runs in (ours, theirs)]
    return {
        "rows_per_s": speeds[0],
        "sklearn_rows_per_s": speeds[1],
        "ratio": speeds[0] / speeds[1],
        "difference": difference,
        "peak_memory_mb": streamed["peak_memory_mb"],
        f"rows_{many // 1_000_000}m_seconds": streamed["seconds"],
        "sklearn_peak_memory_mb": theirs[0]["peak_memory_mb"],
    }


def start_job(job: str, rows: int) -> dict:
    """Run one job in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.evaluate"]
    command += ["--job", job, "--rows", str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_job(job: str, rows: int) -> dict:
    return stream(rows) if job == "stream" else sort(rows)


def stream(rows: int) -> dict:
    from steadyrank.components.metrics.auc import StreamingAuc

    next(batches(min(rows, BATCH)))  # what making batches takes is no metric's memory
    before, seconds, area = peak_mb(), 0.0, StreamingAuc()
    for labels, scores in batches(rows):
        start = time.perf_counter()
        area.update(labels, scores)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    found = area.result()
    seconds += time.perf_counter() - start
    return {"auc": found, "seconds": seconds, "peak_memory_mb": peak_mb() - before}


def sort(rows: int) -> dict:
    from sklearn.metrics import roc_auc_score

    parts = list(batches(rows))
    labels, scores = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    del parts
    before, start = peak_mb(), time.perf_counter()
    found = float(roc_auc_score(labels, scores))
    seconds = time.perf_counter() - start
    return {"auc": found, "seconds": seconds, "peak_memory_mb": peak_mb() - before}


def batches(rows: int):
    """Labels (bool) and scores (float32), batch by batch, always the same."""
    for number in range(-(-rows // BATCH)):
        random = np.random.default_rng([1, number])
        size = min(BATCH, rows - number * BATCH)
        logits = random.normal(-2.5, 1.5, size).astype(np.float32)
        scores = 1 / (1 + np.exp(-logits))
        yield random.random(size, np.float32) < scores, scores


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
