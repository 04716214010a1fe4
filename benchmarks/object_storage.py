"""Reading training batches over S3 against local files.

    python -m benchmarks.object_storage [--rows 200000] [--repetitions 5]

The same example set is read, shuffled and batched as training does it: from a local
folder; streamed by TensorFlow, through tensorflow-io, from a local S3 server (moto's, in a
process of its own on this machine, written in Python: what it adds is the server's time,
not a network's); and from there without tensorflow-io, record by record.  They take turns.
The last line is JSON.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
from botocore.config import Config

from benchmarks.log import CONFIG, write_log
from steadyrank.components.environment import leave
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.examples import reading
from steadyrank.pipeline.examples.dataset import training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.files.whole_folders import send
from steadyrank.pipeline.kinds import preprocess

BATCH, SHUFFLE = 4096, 262_144
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}


@contextlib.contextmanager
def serving() -> Iterator[Url]:
    """A bucket of a local S3 server, a process of its own, and what leads to it."""
    import boto3

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.environ.update(KEYS, AWS_DEFAULT_REGION="us-east-1")
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
        patient = Config(retries={"mode": "standard", "total_max_attempts": 30})
        boto3.client("s3", config=patient).create_bucket(Bucket="bench")
        yield Url("s3://bench/examples")
    finally:
        server.kill()


def rows_per_second(examples: ExampleSet, seed: int) -> float:
    start = time.perf_counter()
    batches = training_dataset(
        examples, epoch=0, batch_size=BATCH, seed=seed, shuffle_rows=SHUFFLE
    )
    rows = sum(int(batch[-1].shape[0]) for batch in batches)
    assert rows == examples.rows("train"), rows  # noqa: S101
    return rows / (time.perf_counter() - start)


def without_tensorflow_io(examples: ExampleSet, seed: int) -> float:
    with mock.patch.object(reading, "tensorflow_reads", lambda place: False):
        return rows_per_second(examples, seed)


def measure(rows: int, repetitions: int) -> dict:
    with tempfile.TemporaryDirectory() as folder, Staging() as staging, serving() as url:
        log, local = write_log(rows, Path(folder)), Path(folder) / "examples"
        preprocess(load_config(CONFIG), log, local)
        start = time.perf_counter()
        send(local, url)
        sent = time.perf_counter() - start
        here = ExampleSet.open(local)
        there = ExampleSet.open(staging.read_examples(url))
        rates = [
            (
                rows_per_second(here, seed),
                rows_per_second(there, seed),
                without_tensorflow_io(there, seed),
            )
            for seed in range(repetitions + 1)
        ][1:]  # the first round starts threads and connections
        size = sum(file["bytes"] for file in here.manifest["files"])
    return {
        "rows": here.rows("train"),
        "megabytes": size / 1e6,
        "send_seconds": sent,
        "local_rows_per_s": statistics.median(local for local, _, _ in rates),
        "s3_rows_per_s": statistics.median(remote for _, remote, _ in rates),
        "s3_over_local": statistics.median(remote / local for local, remote, _ in rates),
        "without_tfio_rows_per_s": statistics.median(own for _, _, own in rates),
        "without_tfio_over_local": statistics.median(
            own / local for local, _, own in rates
        ),
        "without_over_with_tfio": statistics.median(
            own / remote for _, remote, own in rates
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rows, arguments.repetitions)))
    leave(0)


if __name__ == "__main__":
    main()
