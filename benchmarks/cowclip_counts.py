"""CowClip's count of an id: the samples of a batch that hold it, or each of its readings?

    python -m benchmarks.cowclip_counts [--quick] [--data DIR]

The paper counts samples.  They are as many, unless a sample reads a table several times:
lists, and sequences beside what they are of.  KuaiRand's rows, split by day, have lists of
up to 50 values of what a user did before, some of two values only.  A small ranker of ids
and lists (``FEATURES``; clicks and long views) is trained with either count and without a
clip, as shipped and where a bound binds: Adagrad at ``HIGH`` times a usual rate, and bounds
as they are to a loss summed over the batch.  Runs of one seed have the same rows in the
same order, once.  Differences on the test days are paired by seed, intervals Student's at
95 %: they say what another seed would do.

``--quick``: 3 seeds, else 6.  The step is timed with both counts in turns, on the same
batches, in one process: of the shipped config, all of whose lists are such.

The last line is a JSON object: ``difference`` of mean test AUC, samples less readings, with
``interval``, as shipped, and ``difference_tight``, where a bound binds; ``times``, how many
readings an id has in one sample, at most, and ``mean_times``; ``step_ratio``, seconds of a
step that counts samples over one that counts readings, by batch size; ``clipped``, the
fraction of rows that a step clips, and ``auc``, of each.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.history import DATA, ROOT
from benchmarks.multitask_trials import Contest, Trial, interval, mean_auc
from steadyrank.components.batch_function import BatchFunction
from steadyrank.pipeline.config import Config, load_config
from steadyrank.pipeline.examples.compatibility import agree

SAMPLES, READINGS, OFF = "samples", "readings", "off"
SHIPPED, TIGHT = "as shipped", "a bound that binds"
HIGH, RATE, BATCH = 8.0, 0.005, 4096  # of Adagrad
BATCH_SIZES = (1024, 8192)
FEATURES = ("user_id", "video_id", "author_id", "tag", "tab")
FEATURES += ("past_video_id", "past_like", "past_long_view")
TASKS = ("is_click", "long_view")
SMALL = {"trunk": "shared_bottom", "bottom_units": [64], "tower_units": [16]}


def variant(config: Config, clip: str, bound: str) -> Config:
    """The config with the tables trained so, or without a clip."""
    document = config.model_dump(mode="json") | {"gates": {}, "serving": {}}
    rows = document["train"]["embedding"] | {"clip": clip}
    if bound == TIGHT:
        rows |= {"optimizer": "adagrad", "learning_rate": HIGH * RATE}
        rows |= {"r": rows["r"] / BATCH, "zeta": rows["zeta"] / BATCH}
    document["train"]["embedding"] = rows
    return Config.model_validate(document)


def small(config: Config) -> Config:
    """A ranker of ids and lists, in large batches."""
    document = config.model_dump(mode="json") | {"gates": {}, "serving": {}, "score": ""}
    for key, names in (("features", FEATURES), ("tasks", TASKS)):
        document[key] = [item for item in document[key] if item["name"] in names]
    document |= {"model": SMALL}
    document["train"] |= {"batch_size": BATCH, "base_batch_size": 1024, "epochs": 1}
    return Config.model_validate(document)


class Counting(Trial):
    """A model that counts samples, or readings, and says what it clips."""

    def __init__(self, held: Contest, config: Config, count: str, bound: str = SHIPPED):
        config = variant(config, "none" if count == OFF else "cowclip", bound)
        super().__init__(config, agree(config, held.examples.schema), held.columns)
        if count == READINGS:
            self.model.by_sample = lambda features: {}
        self._both = BatchFunction(self._step_and_clipped)
        self._step = self._noted
        self.clipped: list = []

    def _step_and_clipped(self, rows):
        batch = tf.nest.map_structure(
            lambda values: tf.gather(values, rows), self.columns["train"]
        )
        logs = self.model.train_step(batch)
        return logs["loss"], tf.stack(list(logs["clipped_rows"].values()))

    def _noted(self, rows):
        loss, clipped = self._both(rows)
        self.clipped.append(clipped)
        return loss

    def run(self, seed: int) -> dict:
        """AUC by task on the test days, after the last epoch."""
        self.begin_again(seed)
        self.clipped = []
        *_, last = self.epochs(["test"])
        clipped = float(np.mean([value.numpy() for value in self.clipped]))
        return {"test": _areas(last["test"]), "clipped": clipped}


def _areas(measured: dict) -> dict:
    return {task: found["auc"] for task, found in measured.items()}


def study(held: Contest, seeds: range) -> dict:
    """What is counted, at which bound -> its runs, in the order of the seeds."""
    config = small(held.config)
    sides = {
        f"{count}, {bound}": Counting(held, config, count, bound)
        for bound in (SHIPPED, TIGHT)
        for count in (SAMPLES, READINGS, OFF)
    }
    found: dict[str, list] = {name: [] for name in sides}
    for seed in seeds:
        for name, side in sides.items():
            found[name].append(side.run(seed))
            area = mean_auc(found[name][-1]["test"])
            clipped = found[name][-1]["clipped"]
            print(f"{name} seed {seed}: {area:.4f}, {clipped:.1%} clipped", flush=True)
    return found


def readings_of(held: Contest) -> dict:
    """How often a sample reads an id that it holds, in the config's lists."""
    lists = [f.name for f in held.examples.schema.features if f.ids_per_row > 1]
    most, mean = 0, []
    for name in lists:
        ids = np.sort(held.columns["train"].features[name].numpy()[:20_000], axis=1)
        new = np.concatenate([np.ones((len(ids), 1), bool), np.diff(ids) != 0], axis=1)
        own = (new & (ids > 0)).sum()
        starts = np.flatnonzero(new.ravel())
        lengths = np.diff([*starts, ids.size])[ids.ravel()[starts] > 0]
        most, mean = max(most, int(lengths.max())), [*mean, (ids > 0).sum() / own]
    return {"times": most, "mean_times": round(float(np.mean(mean)), 2)}


def step_ratios(held: Contest, rounds: int) -> dict:
    """Batch size -> seconds of a step that counts samples over one that counts readings."""
    sides = [Counting(held, held.config, count) for count in (SAMPLES, READINGS)]
    found: dict[str, float] = {}
    for size in BATCH_SIZES:
        ratios, steps = [], max(1, 8192 // size)
        for turn in range(rounds + 1):
            seconds = []
            for side in sides[:: 1 if turn % 2 else -1]:
                begun = time.perf_counter()
                for step in range(steps):
                    start = (turn * steps + step) * size % (side.rows - size)
                    side._step(tf.range(start, start + size)).numpy()
                seconds.append(time.perf_counter() - begun)
            ours, theirs = seconds[:: 1 if turn % 2 else -1]
            ratios.append(ours / theirs)
        found[str(size)] = round(statistics.median(ratios[1:]), 3)  # the first one compiles
    return found


def summary(runs: dict, held: Contest) -> dict:
    """The keys of the last line but the step's."""
    means = {name: [mean_auc(run["test"]) for run in found] for name, found in runs.items()}
    both = [
        interval([a - b for a, b in zip(*pair, strict=True)])
        for pair in (
            (means[f"{SAMPLES}, {bound}"], means[f"{READINGS}, {bound}"])
            for bound in (SHIPPED, TIGHT)
        )
    ]
    return {
        "difference": both[0]["mean"],
        "interval": both[0]["interval"],
        "difference_tight": both[1]["mean"],
        "interval_tight": both[1]["interval"],
        **readings_of(held),
        "clipped": {n: float(np.mean([r["clipped"] for r in f])) for n, f in runs.items()},
        "auc": {name: float(np.mean(found)) for name, found in means.items()},
    }


def main(arguments: list[str] | None = None) -> None:
    """Train, time, and print the headline last."""
    parser = argparse.ArgumentParser("benchmarks.cowclip_counts")
    parser.add_argument("--quick", action="store_true")
    data = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--seeds", type=int, default=0)
    options = parser.parse_args(arguments)
    seeds = range(1, 1 + (options.seeds or (3 if options.quick else 6)))
    config = load_config(ROOT / "configs" / "kuairand.yaml")
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        held = Contest.prepare(config, options.data / "kuairand", Path(folder) / "kuairand")
        ratios = step_ratios(held, 9)
        print(f"step ratios: {ratios}", flush=True)
        runs = study(held, seeds)
    print(json.dumps({**summary(runs, held), "step_ratio": ratios, "seeds": len(seeds)}))


if __name__ == "__main__":
    main()
