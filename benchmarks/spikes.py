"""What does a bad batch cost, and what does the guard in front of the optimizers save?

    python -m benchmarks.spikes [--quick] [--data DIR]

The model, days and rate in use of ``benchmarks.stability --quick`` (KuaiRand, five days in
order and seen once, Clippy per unit), judged on the day after them.  Into the second day
comes one bad batch, of four kinds, or five in a row:

- ``labels``: every row's label of is_like is 100;
- ``inverted``: no and yes are exchanged in every task;
- ``numbers``: every number is 1,000 standard deviations further up;
- ``weights``: one row weighs a million times as much as the others;
- ``five``: five batches running as in ``labels``.

Each without a guard and with ``train.spike_guard`` at 3, 4 and 5, against the healthy run
of the same seed; ``--days later``: what was chosen there, 3, on the four days after.
Means of AUC are over the tasks whose labels were not touched (``inverted``: all four).

The last line is a JSON object: ``loss`` (guard -> kind -> mean AUC lost over seeds, with
Student's 95 % interval), ``fired`` (steps held back in healthy runs), ``healthy`` (mean
AUC) and ``step_time_ratio`` (guard 3 over none, paired).
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets the TensorFlow environment: comes first)

# isort: split
import tensorflow as tf

from benchmarks.pages.form import student
from benchmarks.stability import DATA, ROOT, STREAM, TASKS, UNIT, changed, examples_of
from benchmarks.stability_probes import BAD_BATCH, BAD_LABEL, BAD_TASK
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.studies.short_runs import Prober
from steadyrank.pipeline.studies.stability import mean_auc

GUARDS = (None, 3.0, 4.0, 5.0)
RATE = 0.1
HEALTHY = "healthy"
RUNNING = 5  # batches of the kind that has several
FAR = 1000.0  # standard deviations
HEAVY = 1e6
BLOCK, ROUNDS = 10, 15


def labels(features, labels, masks):
    """Absurd labels of one task."""
    return features, {**labels, BAD_TASK: tf.fill(masks[BAD_TASK].shape, BAD_LABEL)}, masks


def inverted(features, labels, masks):
    """No and yes exchanged."""
    return features, {name: 1.0 - y for name, y in labels.items()}, masks


def numbers(features, labels, masks):
    """Every number far outside of what was seen."""
    floats = {n: x + FAR for n, x in features.items() if x.dtype.is_floating}
    return {**features, **floats}, labels, masks


def weights(features, labels, masks):
    """One row outweighs all others."""
    return features, labels, {name: _heavy(m) for name, m in masks.items()}


def _heavy(mask):
    return tf.concat([mask[:1] * HEAVY, mask[1:]], axis=0)


KINDS = {
    "labels": (labels, 1),
    "inverted": (inverted, 1),
    "numbers": (numbers, 1),
    "weights": (weights, 1),
    "five": (labels, RUNNING),
}


class SpikeProber(Prober):
    """A prober that can spoil batches of the second day, and counts what was held back.

    Attributes:
        kind: Of ``KINDS``, or ``HEALTHY``.
        held: Steps of the last probe that the guard held back.
    """

    kind, held = HEALTHY, 0

    def batches(self, window: str, seed: int) -> list:
        """The batches of a window; see ``Prober``."""
        found = super().batches(window, seed)
        if self.kind == HEALTHY or window != self.windows[1]:
            return found
        spoil, running = KINDS[self.kind]
        bad = range(BAD_BATCH, BAD_BATCH + running)
        return [
            (*spoil(*batch[:-1]), batch[-1]) if i in bad else batch
            for i, batch in enumerate(found)
        ]

    def _train_window(self, step, window, seed, run):
        if window == self.windows[0]:
            self.held = 0
        before = run.took

        def took(lines):
            self.held += sum(line.get("spike_factor", 1.0) < 1 for line in lines)
            before(lines)

        run.took = took
        super()._train_window(step, window, seed, run)
        run.took = before


def lost(prober: SpikeProber, seeds: list[int]) -> dict:
    """AUC lost by kind, seed by seed; and the healthy runs."""
    found: dict = {"lost": {}, "healthy": [], "fired": [], "held": {}}
    for seed in seeds:
        prober.kind = HEALTHY
        healthy = prober.probe(UNIT, RATE, seed)
        found["healthy"].append(mean_auc(healthy.final, TASKS))
        found["fired"].append(prober.held)
        for kind in KINDS:
            prober.kind = kind
            probe = prober.probe(UNIT, RATE, seed)
            touched = {BAD_TASK} if KINDS[kind][0] is labels else set()
            tasks = [task for task in TASKS if task not in touched]
            after = mean_auc(probe.final, tasks) if probe.final else 0.5
            cost = mean_auc(healthy.final, tasks) - after
            found["lost"].setdefault(kind, []).append(cost)
            found["held"].setdefault(kind, []).append(prober.held)
            print(
                f"  seed {seed}, {kind}: {cost:+.4f}, {prober.held} held back", flush=True
            )
    return found


def step_time_ratio(without: SpikeProber, guarded: SpikeProber) -> dict:
    """Seconds of a step with the guard over one without, block by block in turn."""
    both, seconds = (without, guarded), ([], [])
    batches = without.batches(without.windows[0], 1)[:BLOCK]
    for _ in range(ROUNDS + 1):
        for prober, taken in zip(both, seconds, strict=True):
            step = prober.prepare(UNIT, RATE, 1)
            step(batches[0]).numpy()
            start = time.perf_counter()
            values = [step(batch) for batch in batches]
            values[-1].numpy()
            taken.append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(*(s[1:] for s in seconds), strict=True)]
    quarters = statistics.quantiles(ratios, n=4)
    return {"median": statistics.median(ratios), "quartiles": [quarters[0], quarters[2]]}


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options = parse(arguments)
    seeds = [1, 2] if options.quick else [1, 2, 3, 4, 5]
    guards = (None, 3.0) if options.quick or options.days == "later" else GUARDS
    base, found, probers = load_config(STREAM), {}, {}
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        examples = examples_of(base, options.data, Path(folder) / "examples")
        names = list(examples.windows("train"))
        first = 1 if options.days == "first" else 5
        days, after = names[first : first + 4], names[first + 4]
        for guard in guards:
            config = changed(base, train={"spike_guard": guard})
            schema, name = agree(config, examples.schema), f"{guard or 'none'}"
            print(f"guard {name}:", flush=True)
            prober = SpikeProber(config, schema, examples, days, ("train", after))
            probers[guard], found[name] = prober, lost(prober, seeds)
        ratio = step_time_ratio(probers[None], probers[3.0])
    print(json.dumps(headline(found, ratio, days)))


def headline(found: dict, ratio: dict, days: list[str]) -> dict:
    """The last line."""
    return {
        "days": days,
        "seeds": len(next(iter(found.values()))["healthy"]),
        "loss": {
            guard: {
                kind: [round(x, 5) for x in student(values)]
                for kind, values in each["lost"].items()
            }
            for guard, each in found.items()
        },
        "held": {guard: each["held"] for guard, each in found.items()},
        "fired": {guard: sum(each["fired"]) for guard, each in found.items()},
        "healthy": {
            guard: round(statistics.mean(each["healthy"]), 5)
            for guard, each in found.items()
        },
        "step_time_ratio": ratio,
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.spikes", description="What a bad batch costs, with and without guard."
    )
    parser.add_argument("--quick", action="store_true", help="two seeds, guard 3 alone")
    parser.add_argument(
        "--days", choices=("first", "later"), default="first", help="the four days"
    )
    parser.add_argument("--data", type=Path, default=Path(beside) / "kuairand")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
