"""What a step costs at any vocabulary: ours, the published dense form, the MLP alone.

    python -m benchmarks.cowclip_step [--quick]

DeepFM (26 fields of width 10, linear weights, 13 numbers, 3 x 400) with CowClip, Adam and
an L2 of 1e-5 on the tables, on Criteo-shaped rows, for 1 M, 8 M and 33 M ids and batches
of 1 K, 8 K and 64 K.

- ``ours``: the step that ``train`` runs, lazy semantics.
- ``dense``: the published algorithm as its code does it: L2 over whole tables, hence a
  dense gradient, counts and norms of all rows, and Keras' Adam over all of them.
- ``keras``: the same model with Keras' Adam on sparse gradients, no L2 and no clip.
- ``mlp``: the dense part alone, on inputs of the same width: the floor.

Sides take turns in one process; ratios are medians over the rounds of ratios within a
round.  ``--quick`` leaves out what no key needs.  Memory is the largest resident set of
a process of its own that trains at 8 M ids, over parameters and their slots.

The last line is a JSON object: ``dense_ratio_8m_1k``, ``dense_ratio_8m_64k``,
``keras_ratio_8m_1k``, ``vocab_growth`` (33 M over 1 M ids at 1 K), ``floor_ratio_1k``,
``floor_ratio_8k``, ``memory_ratio``, and ``milliseconds`` of every cell.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.criteo import generate
from benchmarks.in_memory import DIM, TASK, Trainer, features_of, model_of, named
from steadyrank.components.environment import LARGE_BATCH, keep_freed_memory
from steadyrank.components.optimizers.cowclip import cow_clip
from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS

VOCABULARIES = {"1m": 1_000_000, "8m": 8_000_000, "33m": 33_000_000}
BATCH_SIZES = {"1k": 1024, "8k": 8192, "64k": 65_536}
BATCHES = 4  # different ones, in turn
L2, RATE, UNITS = 1e-5, 1e-4, [400, 400, 400]
SETTINGS = {"trunk": "deepfm", "deep_units": UNITS}


class Side:
    """A way to take steps, on batches of its data in turn."""

    def __init__(self, data):
        self.data, self.turn = data, 0

    def run(self, batch_size: int, steps: int) -> float:
        """Seconds a step."""
        began = time.perf_counter()
        for _ in range(steps):
            self.turn = (self.turn + 1) % (len(self.data.labels) // batch_size)
            start = self.turn * batch_size
            self.take(np.arange(start, start + batch_size))
        return (time.perf_counter() - began) / steps


class Ours(Side):
    """The step that ``train`` runs."""

    def __init__(self, data):
        super().__init__(data)
        model = model_of(features_of(data, 65_536), SETTINGS, seed=1)
        rows = ROW_OPTIMIZERS["adam"](RATE, clip="cowclip", l2=L2)
        model.compile(DENSE_OPTIMIZERS["adam"](1e-3, clip="none"), rows)
        self.trainer = Trainer(model, data)

    def take(self, rows):
        self.trainer.step(rows)[0].numpy()


class Plain(Side):
    """The same model under Keras' Adam; a subclass says what it does to the tables."""

    def __init__(self, data):
        super().__init__(data)
        self.model = model_of(features_of(data, 65_536), SETTINGS, seed=1)
        adam = tf.keras.optimizers.Adam
        self.dense = adam(1e-3, jit_compile=False, weight_decay=None)
        self.rows = adam(RATE, jit_compile=False, weight_decay=None)
        self.step = tf.function(self._step, autograph=False)

    def _step(self, ids, numbers, labels):
        model, features = self.model, named(ids, numbers)
        tables, dense = model.embedding_variables, model.dense_variables
        with tf.GradientTape() as tape:
            masks = {TASK: tf.ones_like(labels)}
            loss = model.task_losses({TASK: labels}, masks, model(features))[TASK]
        of_dense, of_tables = tape.gradient(loss, (dense, tables))
        self.dense.apply_gradients(zip(of_dense, dense, strict=True))
        located = model.inputs_layer.locate(features)
        of_tables = [
            self.gradient(*each)
            for each in zip(of_tables, tables, located.values(), strict=True)
        ]
        self.rows.apply_gradients(zip(of_tables, tables, strict=True))
        return loss

    def gradient(self, gradient, table, rows):
        return gradient

    def take(self, rows):
        data = self.data
        self.step(data.ids[rows], data.numbers[rows], data.labels[rows]).numpy()


class Dense(Plain):
    """The published form: nothing is sparse."""

    def gradient(self, gradient, table, rows):
        dense = tf.convert_to_tensor(gradient) + 2.0 * L2 * table
        if table.shape[1] != DIM:  # linear weights are not clipped there
            return dense
        ones = tf.ones([tf.size(rows)])
        counts = tf.math.unsorted_segment_sum(ones, rows, table.shape[0])
        return cow_clip(dense, table, tf.maximum(counts, 1.0))[0]


class Mlp(Side):
    """The dense part alone: inputs come as they are, their gradient is found."""

    def __init__(self, data):
        super().__init__(data)
        width, self.weights = 26 * DIM + 2 * 13, []
        for units in [*UNITS, 1]:
            self.weights += [tf.Variable(tf.random.normal([width, units]) * 0.05)]
            self.weights += [tf.Variable(tf.zeros([units]))]
            width = units
        self.adam = DENSE_OPTIMIZERS["adam"](1e-3, clip="none")
        self.adam.build(self.weights)
        self.step = tf.function(self._step, autograph=False, reduce_retracing=True)
        self.inputs = {}

    def _step(self, inputs, labels):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            x = inputs
            for i in range(0, len(self.weights), 2):
                x = tf.nn.bias_add(tf.matmul(x, self.weights[i]), self.weights[i + 1])
                x = tf.nn.relu(x) if i + 2 < len(self.weights) else x
            each = tf.nn.sigmoid_cross_entropy_with_logits(labels, x[:, 0])
            loss = tf.reduce_mean(each)
        *gradients, of_inputs = tape.gradient(loss, [*self.weights, inputs])
        self.adam.apply_gradients(zip(gradients, self.weights, strict=True))
        return loss, of_inputs

    def take(self, rows):
        size = len(rows)
        if size not in self.inputs:
            self.inputs[size] = tf.random.normal([size, self.weights[0].shape[0]])
        self.step(self.inputs[size], tf.constant(self.data.labels[rows]))[0].numpy()


def compare(sides: dict[str, Side], batch_size: int, rounds: int) -> dict[str, list]:
    """Seconds a step of each side, round by round, after a warm-up."""
    if batch_size >= LARGE_BATCH:
        keep_freed_memory()  # as `train` does; for all sides
    steps = max(1, 4096 // batch_size)
    for side in sides.values():
        side.run(batch_size, 2)
    found = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            found[name].append(side.run(batch_size, steps))
    return found


def ratio(found: dict[str, list], one: str, other: str) -> float:
    """Median over the rounds of one side's seconds over another's."""
    pairs = zip(found[one], found[other], strict=True)
    return statistics.median(a / b for a, b in pairs)


def rows_of(name: str, batch: str):
    size = max(BATCH_SIZES[batch] * BATCHES, 65_536)
    return generate(size, VOCABULARIES[name])


def run(quick: bool, rounds: int) -> dict:
    """All comparisons, and the keys of the last line."""
    cells, result = {}, {}

    def note(name, batch, found):
        cell = {side: 1e3 * statistics.median(s) for side, s in found.items()}
        cells[f"{name} {batch}"] = cell
        text = ", ".join(f"{side} {ms:.1f} ms" for side, ms in cell.items())
        print(f"{name} ids, batch {batch}: {text}", flush=True)
        return found

    small, large = rows_of("1m", "1k"), rows_of("33m", "1k")
    sides = {"1m": Ours(small), "33m": Ours(large)}
    found = note("1m and 33m", "1k", compare(sides, 1024, 3 * rounds))
    result["vocab_growth"] = ratio(found, "33m", "1m")
    if not quick:
        for name, data in (("1m", small), ("33m", large)):
            data = rows_of(name, "64k")
            for batch in ("8k", "64k"):
                sides[name].trainer.data = sides[name].data = data
                each = {"ours": sides[name]}
                note(name, batch, compare(each, BATCH_SIZES[batch], rounds))
    del sides, small, large
    data = rows_of("8m", "64k")
    ours, mlp = Ours(data), Mlp(data)
    for batch in ("1k", "8k"):
        found = note(
            "8m", batch, compare({"ours": ours, "mlp": mlp}, BATCH_SIZES[batch], 2 * rounds)
        )
        result[f"floor_ratio_{batch}"] = ratio(found, "ours", "mlp")
    others = {"dense": Dense(data), "keras": Plain(data)}
    for batch in ("1k", "64k") if quick else BATCH_SIZES:
        found = compare({"ours": ours, **others}, BATCH_SIZES[batch], rounds)
        note("8m", f"{batch} beside others", found)
        for name in others:
            result[f"{name}_ratio_8m_{batch}"] = ratio(found, name, "ours")
    result["memory_ratio"] = json.loads(
        subprocess.run(
            [sys.executable, "-m", "benchmarks.cowclip_step", "--memory"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    return {**result, "milliseconds": cells}


def largest_resident_set() -> int:
    """Bytes, of this program alone: ``ru_maxrss`` begins with what its parent held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def memory() -> float:
    """Largest resident set of training at 8 M ids, over parameters and their slots."""
    tf.constant(0.0)
    data = rows_of("8m", "1k")
    before = largest_resident_set()
    ours = Ours(data)
    ours.run(1024, 4)
    after = largest_resident_set()
    model = ours.trainer.model
    held = [*model.weights, *model.embedding_optimizer.variables]
    held += model.dense_optimizer.variables
    size = sum(int(np.prod(v.shape)) * v.dtype.size for v in held)
    return (after - before) / size


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        "benchmarks.cowclip_step", description="What a step costs at any vocabulary."
    )
    parser.add_argument("--quick", action="store_true", help="only what the keys need")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    result = memory() if options.memory else run(options.quick, options.rounds)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
