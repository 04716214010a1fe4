"""Matrix products of MMoE's step: TensorFlow's rate beside PyTorch's, nothing else timed.

    make .venv-peers/ready && python -m benchmarks.peers.products

The floor under every ratio of ``benchmarks.peers``: both sides spend most of a step in the
products of their library.  The shapes are those of MMoE there (286 inputs, 4 experts of 256
and 128 whose first layers are one product, towers of 64; gates and last layers, which are
small, are left out) at batches of 1024: forward, gradient of the weights, gradient of the
inputs.  Each library runs in a process of its own, as ours and theirs do there; they take
turns for some rounds, and figures are medians.  TensorFlow's products are Eigen's, as in
all of this project (``components.environment`` says why).

The last line is a JSON object: ``gflops`` by library and product, ``milliseconds`` of these
products in a step by library, and ``product_ratio``, theirs over ours: what ``worst_ratio``
would be if a step were these alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks.peers.__main__ import PEERS_PYTHON, ROOT, SETTINGS, THREADS

BATCH = 1024
LAYERS = {
    "experts, first": (286, 1024, 1),
    "experts": (256, 128, 4),
    "towers": (128, 64, 2),
}
SECONDS = 0.3  # of one product in one round


def products() -> dict[str, tuple]:
    """Name -> shapes of the two factors as they lie in memory, which of them is turned."""
    found = {}
    for name, (inputs, units, _) in LAYERS.items():
        x, w, dy = (BATCH, inputs), (inputs, units), (BATCH, units)
        found[f"{name}: forward"] = x, w, ""
        found[f"{name}: weights"] = x, dy, "first"
        found[f"{name}: inputs"] = dy, w, "second"
    return found


def tensorflow_product(a, b, turned: str):
    """A call that multiplies; on a CPU it returns when the product is there."""
    import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

    # isort: split
    import tensorflow as tf

    a, b = tf.constant(a), tf.constant(b)
    turns = {"transpose_a": turned == "first", "transpose_b": turned == "second"}
    return lambda: tf.raw_ops.MatMul(a=a, b=b, **turns)


def pytorch_product(a, b, turned: str):
    """The same for PyTorch."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    a, b = (a.T if turned == "first" else a), (b.T if turned == "second" else b)
    return lambda: a @ b


LIBRARIES = {"tensorflow": tensorflow_product, "pytorch": pytorch_product}


def measure(library: str) -> dict[str, float]:
    """Product -> seconds of one, in this process."""
    draw, seconds = np.random.default_rng(1), {}
    for name, (first, second, turned) in products().items():
        a, b = (draw.standard_normal(shape, np.float32) for shape in (first, second))
        multiply = LIBRARIES[library](a, b, turned)
        multiply()
        end, times = time.perf_counter() + SECONDS, []
        while (start := time.perf_counter()) < end:
            multiply()
            times.append(time.perf_counter() - start)
        seconds[name] = statistics.median(times)
    return seconds


def ask(library: str, options: argparse.Namespace) -> dict[str, float]:
    """``measure`` in a process of the library's own."""
    python = sys.executable if library == "tensorflow" else str(options.peers_python)
    threads = dict.fromkeys(THREADS, str(options.threads))
    done = subprocess.run(
        [python, "-m", "benchmarks.peers.products", "--library", library],
        cwd=ROOT,
        env={**os.environ, **SETTINGS, **threads},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict:
    """The last line, from the seconds of every round by library and product."""
    median = {
        library: {
            name: statistics.median(each[library][name] for each in rounds)
            for name in rounds[0][library]
        }
        for library in rounds[0]
    }
    gflops, step = {}, {}
    for library, seconds in median.items():
        gflops[library], step[library] = {}, 0.0
        for name, taken in seconds.items():
            inputs, units, times = LAYERS[name.split(":")[0]]
            gflops[library][name] = 2e-9 * BATCH * inputs * units / taken
            step[library] += 1e3 * times * taken
    return {
        "gflops": gflops,
        "milliseconds": step,
        "product_ratio": step["pytorch"] / step["tensorflow"],
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark; exit with 2 without the peers' environment."""
    parser = argparse.ArgumentParser("benchmarks.peers.products")
    parser.add_argument("--peers-python", type=type(PEERS_PYTHON), default=PEERS_PYTHON)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.library:
        print(json.dumps(measure(options.library)))
        return
    if not options.peers_python.exists():
        print(
            f"error: no Python of the peers at {options.peers_python}. Make it with "
            "`make .venv-peers/ready`, or name one with --peers-python.",
            file=sys.stderr,
        )
        sys.exit(2)
    rounds = [
        {library: ask(library, options) for library in LIBRARIES}
        for _ in range(options.rounds)
    ]
    found = summary(rounds)
    for name in products():
        rates = (f"{k} {v[name]:6.0f} GFLOP/s" for k, v in found["gflops"].items())
        print(f"{name:24s} {'   '.join(rates)}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
