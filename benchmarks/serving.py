"""Latency of an export: one user with many candidates, by signature and thread count.

    python -m benchmarks.serving [--quick] [--model EXPORT --examples EXAMPLES]

Without ``--model`` the KuaiRand PLE model is made first: one pass over the log.  Each
thread count has a process of its own, in which the signatures take turns, so that a busy
machine slows all of them.  A call is a prepared run of a session, from NumPy arrays to
NumPy arrays: what TensorFlow Serving does, less protocol buffers.  (``Session.run`` itself
looks at every input in Python, some 60 us each of 42; no server does.)

Last line (JSON), at one thread: ``p50_ms_500`` and ``p99_ms_500`` of the candidate
signature, ``candidate_over_raw_speedup`` (p50 of the raw signature, which is sent the
user with every candidate, over that) and ``raw_overhead`` (raw over encoded), both at 500
candidates.  ``client_ms_500`` is what a call with the candidates' inputs takes that
computes nothing, ``graph_speedup`` the speed-up without it.  ``runs`` holds every
measurement.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CANDIDATE_COUNTS = (100, 500, 2000)
THREADS = (1, 2)
WARM_UP = 5
GRAPH, CLIENT = "graph", "client"  # the call; the handing over of its inputs alone
CONFIG = Path(__file__).resolve().parent.parent / "configs" / "kuairand.yaml"
DATA = CONFIG.parent.parent.parent / "shared" / "data" / "kuairand"


def main() -> None:
    """Make the model if there is none, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--examples", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--threads", type=int, help="measure in this process")
    parser.add_argument("--repetitions", type=int)
    options = parser.parse_args()
    repetitions = options.repetitions or (60 if options.quick else 300)
    if options.threads:
        runs = measure(options.model, options.examples, options.threads, repetitions)
        print(json.dumps(runs))
        return
    with tempfile.TemporaryDirectory() as folder:
        model, examples = options.model, options.examples
        if model is None:
            model, examples = make_model(options.data, Path(folder))
        runs = [run for t in THREADS for run in in_process(model, examples, t, repetitions)]
    for run in runs:
        print(
            f"{run['threads']} threads, {run['rows']:5} rows, {run['signature']:15} "
            f"p50 {run['p50_ms']:7.2f} ms  p99 {run['p99_ms']:7.2f} ms  "
            f"{run['rows_per_s']:9,.0f} rows/s"
        )
    print(json.dumps(summary(runs)))


def make_model(data: Path, folder: Path) -> tuple[Path, Path]:
    """Preprocess KuaiRand, train one epoch, export.

    Returns:
        The export and the example set.
    """
    from steadyrank.pipeline.config import load_config
    from steadyrank.pipeline.kinds import export, preprocess, train

    config = load_config(CONFIG, ["train.epochs=1"])
    preprocess(config, data, folder / "examples")
    train(config, folder / "examples", folder / "train")
    return export(config, folder / "train", folder / "export"), folder / "examples"


def in_process(model: Path, examples: Path, threads: int, repetitions: int) -> list[dict]:
    """``measure`` in a process of its own: threads are set before TensorFlow starts."""
    command = [sys.executable, "-m", "benchmarks.serving", "--threads", str(threads)]
    command += ["--model", str(model), "--examples", str(examples)]
    command += ["--repetitions", str(repetitions)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, cwd=CONFIG.parent.parent
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(model: Path, examples: Path, threads: int, repetitions: int) -> list[dict]:
    """Every signature at every number of candidates, the signatures taking turns."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import numpy as np

    from steadyrank.pipeline.examples.example_set import ExampleSet
    from steadyrank.pipeline.export.loaded import Export
    from steadyrank.pipeline.export.raw_rows import kept_rows, requests_of

    export = Export(model)
    raw, encoded = kept_rows(export, ExampleSet.open(examples), "test")
    shared = export.card["config"]["serving"]["shared"]
    call, runs = session_calls(export.path, threads), []
    for count in CANDIDATE_COUNTS:
        names = tuple(name for name, what in call if what == GRAPH)
        requests = requests_of(raw, encoded, shared, count, names=names)
        seconds = {(name, what): [] for name, what in call if name in requests}
        for repetition in range(repetitions + WARM_UP):
            for (name, what), taken in seconds.items():
                start = time.perf_counter()
                call[name, what](requests[name])
                if repetition >= WARM_UP:
                    taken.append(time.perf_counter() - start)
        for name in requests:
            taken = seconds[name, GRAPH]
            p50, p99 = (float(np.percentile(taken, p)) for p in (50, 99))
            runs.append(
                {
                    "threads": threads,
                    "rows": count,
                    "signature": name,
                    "p50_ms": 1e3 * p50,
                    "p99_ms": 1e3 * p99,
                    "client_ms": 1e3 * float(np.median(seconds[name, CLIENT])),
                    "rows_per_s": count / p50,
                }
            )
    return runs


def session_calls(path: Path, threads: int) -> dict:
    """(signature, what) -> a call as TensorFlow Serving makes it: one run of a session.

    ``GRAPH`` runs the signature; ``CLIENT`` hands over the same inputs to a run that
    reads none of them.
    """
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2

    tf.get_logger().setLevel("ERROR")
    graph = tf.Graph()
    with graph.as_default():
        settings = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        session = tf.compat.v1.Session(config=settings)
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(path))

        nothing = tf.constant(0.0)

    def calling(signature, what):
        names = list(signature.inputs)
        outputs = [info.name for info in signature.outputs.values()]
        options = config_pb2.CallableOptions(
            feed=[signature.inputs[name].name for name in names],
            fetch=outputs if what == GRAPH else [nothing.name],
        )
        run = session._make_callable_from_options(options)
        return lambda inputs: run(*[inputs[name] for name in names])

    served = {name: s for name, s in loaded.signature_def.items() if s.inputs}
    return {
        (name, what): calling(signature, what)
        for name, signature in served.items()
        for what in (GRAPH, CLIENT)
    }


def summary(runs: list[dict]) -> dict:
    """The promised keys, at one thread and 500 candidates."""
    at = {r["signature"]: r for r in runs if (r["threads"], r["rows"]) == (1, 500)}
    candidates, raw = at["candidates"]["p50_ms"], at["serving_default"]["p50_ms"]
    graph = {name: run["p50_ms"] - run["client_ms"] for name, run in at.items()}
    return {
        "p50_ms_500": candidates,
        "p99_ms_500": at["candidates"]["p99_ms"],
        "candidate_over_raw_speedup": raw / candidates,
        "graph_speedup": graph["serving_default"] / graph["candidates"],
        "client_ms_500": at["candidates"]["client_ms"],
        "raw_overhead": raw / at["encoded"]["p50_ms"],
        "runs": runs,
    }


if __name__ == "__main__":
    main()
