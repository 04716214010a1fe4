"""How near a next-item model's train step comes to the machine's matrix products.

    python -m benchmarks.stacking_step [--blocks 8] [--items 2000]

The floor is the time that the step's own matrix products take, forward and backward, each
timed alone in its shape; everything else (shifts, LayerNorm, ReLU, the optimizers, the
rows of the tables) is what holds the step.  Processor time on one thread, the best of
several repetitions, floor and steps in turns.  The last line is a JSON object.
"""

import argparse
import json
import time

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.multitask import rounded
from steadyrank.components.optimizers.dense import Adam
from steadyrank.components.optimizers.rows import RowAdam
from steadyrank.components.sequences.causal_convolution import KERNEL_SIZE
from steadyrank.components.sequences.encoder import SequenceEncoder
from steadyrank.models.next_item import NextItemModel

BATCH, LENGTH, DIM, SAMPLED = 128, 32, 64, 0.2


def products(rows: int, inputs: int, outputs: int):
    """The three products of one layer: forward, to its input, to its kernel."""
    x, kernel = tf.random.normal([rows, inputs]), tf.random.normal([inputs, outputs])
    y = tf.random.normal([rows, outputs])

    def compute():
        tf.matmul(x, kernel)
        tf.matmul(y, kernel, transpose_b=True)
        tf.matmul(x, y, transpose_a=True)

    return compute


def seconds(compute, times: int = 3) -> float:
    """Processor time of one call, the least of some."""
    found = []
    for _ in range(times):
        began = time.process_time()
        compute()
        found.append(time.process_time() - began)
    return min(found)


def step_of(blocks: int, items: int, xla: bool):
    """A train step of NextItNet on random items, its graph built."""
    encoder = SequenceEncoder("nextitnet", blocks, seed=1)
    model = NextItemModel(encoder, items, DIM, SAMPLED)
    model.compile(Adam(clip="none"), RowAdam(clip="none"), xla=xla)
    random = np.random.default_rng(0)
    ids = tf.constant(random.integers(1, items + 1, [BATCH, LENGTH + 1]), tf.int32)
    step = tf.function(model.train_step, autograph=False)

    def compute():
        float(step({"items": ids})["loss"])

    compute()
    return compute


def main(arguments: list[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser("benchmarks.stacking_step")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args(arguments)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rows, layers = BATCH * LENGTH, 2 * options.blocks
    convolution = products(rows, KERNEL_SIZE * DIM, DIM)
    softmax = products(rows, DIM, round(SAMPLED * options.items))
    steps = {
        name: step_of(options.blocks, options.items, xla)
        for name, xla in (("plain", False), ("xla", True))
    }
    shares = {name: [] for name in steps}
    for _ in range(options.rounds):
        floor = layers * seconds(convolution) + seconds(softmax)
        for name, step in steps.items():
            taken = seconds(step)
            shares[name].append(floor / taken)
            print(f"{name}: floor {floor * 1e3:.1f} ms, step {taken * 1e3:.1f} ms")
    result = {f"matmul_share_{name}": max(found) for name, found in shares.items()}
    print(json.dumps(rounded({**result, "shares": shares})))


if __name__ == "__main__":
    main()
