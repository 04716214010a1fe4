"""StackRec: what it saves to grow a sequence model instead of training a deep one.

    python -m benchmarks.stacking [--quick] [--only cl] [--kind nextitnet] [--resume]

Sequences with planted structure of known reach and known best MRR (``planted_sequences``),
and MovieLens-small (``--only movielens``). Scenarios, after the article's:

- ``cl``: a shallow net to convergence on 80 % of the data, grown, then trained on all;
- ``ts``: a shallow net for a few steps, grown, twice, all on all data;
- ``depth``: depths against amounts of data, from scratch;
- ``layers64``: 64 convolution layers with alpha and without.

A run has reached the net from scratch once its validation MRR@5 is 99 % of that net's
best; for that net itself the same point counts. The cost of a step is its blocks; the
seconds are the processor's, on one thread.  ``--quick``: NextItNet of 1 to 4 blocks on
short sequences, without ``layers64`` and ``movielens``.  The last line is a JSON object.
"""

import argparse
import json
import os
import time
from pathlib import Path

import components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.movielens_sequences import movielens_split
from benchmarks.multitask import rounded
from benchmarks.multitask_ledger import Ledger
from benchmarks.planted_sequences import Planted
from benchmarks.stacking_drawing import draw
from benchmarks.stacking_trials import (
    ENOUGH,
    MRR,
    Settings,
    Split,
    Trials,
    steps_to,
    values_of,
)
from components.dense_optimizers import Adam
from components.row_optimizers import RowAdam
from pipeline.storage import write_json

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
PARTS = ("cl", "ts", "depth", "layers64", "movielens")
QUICK_PARTS = PARTS[:3]
KINDS = ("nextitnet", "sasrec")
OPERATORS = ("adjacent", "cross", "unchanged", "random", "embedding")
UNCHANGED = (("cl", "unchanged"), ("ts", "unchanged"))
QUICK = Planted(items=60, length=28, lags=(2, 5, 17), shares=(0.15, 0.2, 0.55))
FULL = Planted(items=2000, length=68, lags=(2, 20, 40, 60), shares=(0.1, 0.15, 0.2, 0.4))
QUICK_SIZES = {"train": 4000, "validation": 1000, "test": 2000}
FULL_SIZES = {"train": 200_000, "validation": 5000, "test": 10_000}
OLD = 0.8  # share of the data that the shallow net of CL has seen


def planted_split(planted: Planted, sizes: dict) -> Split:
    """Sequences of the three parts, drawn apart."""
    parts = {name: planted.sequences(n, i) for i, (name, n) in enumerate(sizes.items(), 1)}
    return Split(**parts, items=planted.items)


def scratch(trials: Trials, blocks: int, seed: int, share: float = 1.0):
    """A net trained from its start to convergence."""
    rows = int(share * len(trials.split.train))
    start = values_of(trials.fresh(blocks, seed))
    return trials.run(blocks, start, rows, seed)


def continual(trials: Trials, blocks: int, seed: int) -> dict:
    """CL for one seed: every operator, beside a net from scratch of twice the blocks."""
    deep, weights = scratch(trials, 2 * blocks, seed)
    target = ENOUGH * deep["best"]
    similarities = trials.similarities(2 * blocks, weights)
    shallow, old = scratch(trials, blocks, seed, OLD)
    runs = {"scratch": deep, "shallow": shallow}
    rows = len(trials.split.train)
    for operator in OPERATORS:
        grown = trials.grown(old, blocks, seed, operator)
        runs[operator], _ = trials.run(2 * blocks, grown, rows, seed + 1)
    costs = {name: cost([(run, None)], target) for name, run in runs.items()}
    return {"runs": runs, "costs": costs, "similarities": similarities}


def from_scratch_by_stages(trials: Trials, stages, seed: int, deep: dict) -> dict:
    """TS for one seed: fixed steps for all stages but the last.

    Args:
        trials: The runs' data and kind.
        stages: ``[(blocks, steps), ...]``, the blocks doubling; the last steps None.
        seed: Of start and batches.
        deep: The run from scratch of the last depth.
    """
    target, rows, found = ENOUGH * deep["best"], len(trials.split.train), {}
    for operator in ("adjacent", "unchanged"):
        weights, spent = values_of(trials.fresh(stages[0][0], seed)), []
        for number, (blocks, steps) in enumerate(stages):
            if number:
                weights = trials.grown(weights, blocks // 2, seed, operator)
            run, weights = trials.run(blocks, weights, rows, seed + number, steps)
            spent.append((run, steps))
        found[operator] = {"runs": [run for run, _ in spent], **cost(spent, target)}
    found["scratch"] = cost([(deep, None)], target)
    return found


def cost(stages, target: float) -> dict:
    """Blocks times steps, and seconds, up to a validation MRR@5; None: not reached.

    Args:
        stages: ``[(run, steps), ...]``; all steps of a stage count but the last's, which
            count up to the target.
        target: MRR@5.
    """
    blocks, seconds = 0.0, 0.0
    for run, steps in stages:
        taken = steps_to(run, target) if steps is None else steps
        if taken is None:
            return {"flops": None, "seconds": None}
        blocks += run["blocks"] * taken
        seconds += run["step_seconds"] * taken
    return {"flops": blocks, "seconds": seconds}


def ratio(costs: dict, name: str, unit: str) -> float:
    """How many times less than from scratch; 0 where it never got there."""
    return costs["scratch"][unit] / costs[name][unit] if costs[name][unit] else 0.0


def layers64(trials: Trials, steps: int, seed: int) -> dict:
    """Losses of 32 blocks of two convolutions, step by step, without a graph."""
    model, rate = trials.fresh(32, seed), trials.settings.rate
    model.compile(Adam(rate, clip="none"), RowAdam(rate, clip="none"))
    random, losses = np.random.default_rng(seed), []
    for _ in range(steps):
        ids = trials.split.train[random.integers(0, len(trials.split.train), 16)]
        losses.append(float(model.train_step({"items": tf.constant(ids)})["loss"]))
    return {"losses": losses}


def headline(found: dict) -> dict:
    """The figures of every kind, seed by seed, and NextItNet's means.

    Returns:
        ``cl_speedup`` and ``ts_speedup``, adjacent growth as published, and with
        ``_unchanged`` our own: blocks times steps from scratch over those of the growth,
        0 where it did not get there.  Of CL only what comes after the growth counts, as
        in the article; of TS all stages.  The rest are lists over the seeds.
    """
    last = {}
    for kind, seeds in found.get("cl", {}).items():
        for operator in OPERATORS:
            key = f"{kind}_{operator}"
            for unit, name in (("flops", "cl_speedup"), ("seconds", "cl_seconds_speedup")):
                last[f"{name}_{key}"] = [ratio(s["costs"], operator, unit) for s in seeds]
            last[f"cl_test_mrr_gain_{key}"] = [
                s["runs"][operator]["test"][MRR] - s["runs"]["scratch"]["test"][MRR]
                for s in seeds
            ]
        last[f"cl_test_mrr_scratch_{kind}"] = [
            s["runs"]["scratch"]["test"][MRR] for s in seeds
        ]
        last[f"similarity_{kind}"] = [min(s["similarities"]) for s in seeds]
    for kind, seeds in found.get("ts", {}).items():
        for operator in ("adjacent", "unchanged"):
            key = f"{kind}_{operator}"
            for unit, name in (("flops", "ts_speedup"), ("seconds", "ts_seconds_speedup")):
                last[f"{name}_{key}"] = [ratio(s, operator, unit) for s in seeds]
    means = {}
    for scenario, operator in (("cl", "adjacent"), ("ts", "adjacent"), *UNCHANGED):
        values = last.get(f"{scenario}_speedup_nextitnet_{operator}")
        if values:
            name = "" if operator == "adjacent" else f"_{operator}"
            means[f"{scenario}_speedup{name}"] = float(np.mean(values))
    return {**means, **last}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    beside = os.environ.get(DATA, ROOT.parent / "shared" / "data")
    parser = argparse.ArgumentParser(
        "benchmarks.stacking", description="Growing sequence models by stacking."
    )
    parser.add_argument("--quick", action="store_true", help="100 items, 1 to 4 blocks")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeatable")
    parser.add_argument("--kind", choices=KINDS, action="append", help="repeatable")
    parser.add_argument("--resume", action="store_true", help="keep runs done before")
    parser.add_argument("--blocks", type=int, help="of CL's shallow net; 2, or 8 in full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=Path(beside))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "stacking.svg")
    options = parser.parse_args(arguments)
    options.only = options.only or (QUICK_PARTS if options.quick else PARTS)
    options.kind = options.kind or (KINDS[:1] if options.quick else KINDS)
    return options


def study(options: argparse.Namespace, ledger: Ledger) -> dict:
    """All parts that were asked for, seed by seed."""
    planted = QUICK if options.quick else FULL
    split = planted_split(planted, QUICK_SIZES if options.quick else FULL_SIZES)
    settings = Settings() if options.quick else Settings(64, 128, 1e-3, 500, 8, 40_000, 0.2)
    blocks = options.blocks or (2 if options.quick else 8)
    stages = [(1, 150), (2, 150), (4, None)]
    if not options.quick:
        stages = [(4, 2000), (8, 4000), (16, None)]
    found: dict = {"best": planted.best(split.test[:, :-1])}
    found["best_by_reach"] = {
        reach: planted.best(split.test[:, :-1], reach)[MRR] for reach in (7, 31)
    }
    for kind in options.kind:
        trials = Trials(kind, split, settings)
        for seed in options.seeds:
            known = {**trials.describe(), "blocks": blocks, "seed": seed}
            if {"cl", "ts"} & set(options.only):
                cl = ledger.run(
                    {**known, "part": "cl"},
                    lambda t=trials, s=seed: continual(t, blocks, s),
                )
                found.setdefault("cl", {}).setdefault(kind, []).append(cl)
                report(kind, seed, cl)
            if "ts" in options.only:
                deep = cl["runs"]["scratch"]
                ts = ledger.run(
                    {**known, "part": "ts", "stages": stages},
                    lambda t=trials, s=seed, d=deep: from_scratch_by_stages(
                        t, stages, s, d
                    ),
                )
                found.setdefault("ts", {}).setdefault(kind, []).append(ts)
                line = {o: ratio(ts, o, "flops") for o in ("adjacent", "unchanged")}
                print(f"ts {kind} seed {seed}: {rounded(line)}", flush=True)
    if "depth" in options.only:
        found["depth"] = depths(Trials("nextitnet", split, settings), blocks, ledger)
    if "layers64" in options.only:
        found["layers64"] = with_and_without_alpha(split, settings, ledger)
    if "movielens" in options.only:
        found["movielens"] = movielens(options, ledger)
    return found


def report(kind: str, seed: int, cl: dict) -> None:
    for name, run in cl["runs"].items():
        costs = cl["costs"][name]
        print(
            f"cl {kind} seed {seed} {name:10s} best {run['best']:.4f} at {run['best_step']}"
            f" test {run['test'][MRR]:.4f} blocks*steps to target {costs['flops']}",
            flush=True,
        )


def depths(trials: Trials, blocks: int, ledger: Ledger) -> dict:
    """Test MRR@5 from scratch, depth against share of the data, seed 1."""
    found = {}
    for share in (0.2, 1.0):
        for depth in (blocks // 2, blocks, 2 * blocks):
            known = {**trials.describe(), "part": "depth", "share": share, "depth": depth}
            run = ledger.run(known, lambda d=depth, s=share: scratch(trials, d, 1, s)[0])
            found[f"{depth} blocks, {share:.0%}"] = run["test"][MRR]
            print(f"depth {depth} data {share:.0%}: {run['test'][MRR]:.4f}", flush=True)
    return found


def with_and_without_alpha(split: Split, settings: Settings, ledger: Ledger) -> dict:
    found = {}
    for alpha in (True, False):
        changed = Settings(**{**settings.__dict__, "alpha": alpha, "rate": 1e-3})
        trials = Trials("nextitnet", split, changed)
        name = "with alpha" if alpha else "alpha fixed at 1"
        found[name] = ledger.run(
            {**trials.describe(), "part": "layers64"},
            lambda t=trials: layers64(t, 60, 1),
        )
        losses = found[name]["losses"]
        print(f"64 layers {name}: {losses[0]:.3f} to {losses[-1]:.3f}", flush=True)
    return found


def movielens(options: argparse.Namespace, ledger: Ledger) -> dict:
    """CL on MovieLens-small, NextItNet."""
    split = movielens_split(options.data / "movielens_small" / "ratings.csv", length=20)
    settings = Settings(rate=3e-3, sampled=0.2)
    trials, found = Trials("nextitnet", split, settings), []
    for seed in options.seeds:
        known = {**trials.describe(), "part": "movielens", "seed": seed}
        found.append(ledger.run(known, lambda s=seed: continual(trials, 2, s)))
        report("movielens", seed, found[-1])
    return {"cl": found}


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options, began = parse(arguments), time.monotonic()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    size = "_quick" if options.quick else ""
    ledger = Ledger(options.results / "stacking_runs.json", options.resume)
    found = study(options, ledger)
    last = {**headline(found), "best_mrr": found["best"][MRR]}
    last["seconds"] = time.monotonic() - began
    write_json(
        options.results / f"stacking{size}.json", rounded({"headline": last, **found})
    )
    if "cl" in found:
        options.plot.write_text(draw(found), encoding="utf-8")
    print(json.dumps(rounded(last)))


if __name__ == "__main__":
    main()
