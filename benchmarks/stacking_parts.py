"""The parts of the stacking study: their data, sizes and stages, seed by seed."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.movielens_sequences import movielens_split
from benchmarks.multitask import rounded
from benchmarks.multitask_ledger import Ledger
from benchmarks.planted_sequences import Planted
from benchmarks.stacking_scenarios import (
    continual,
    from_scratch_by_stages,
    ratio,
    scratch,
    stage_lengths,
    transfer,
)
from benchmarks.stacking_trials import MRR, Settings, Split, Trials, values_of

LAYERS64_STEPS = 600
TARGET_MAPS = 1  # seed of the target domain's permutations


@dataclass(frozen=True)
class Study:
    """What one size of the study is made of.

    Args:
        planted: The source.
        sizes: Sequences of each part.
        targets: The same of the target domain.
        settings: Of all runs.
        blocks: Of the shallow net of ``cl`` and ``tf``.
        stages: Of ``ts``.
        converged: The same with shallow nets trained to convergence.
    """

    planted: Planted
    sizes: dict[str, int]
    targets: dict[str, int]
    settings: Settings
    blocks: int
    stages: tuple
    converged: tuple


_QUICK = Planted(items=60, length=28, lags=(2, 5, 17), shares=(0.15, 0.2, 0.55))
_FULL = Planted(items=2000, length=68, lags=(2, 20, 40, 60), shares=(0.1, 0.15, 0.2, 0.4))
QUICK = Study(
    planted=_QUICK,
    sizes={"train": 4000, "validation": 1000, "test": 2000},
    targets={"train": 2000, "validation": 1000, "test": 2000},
    settings=Settings(),
    blocks=2,
    stages=((1, 100), (2, 50), (4, None)),  # an eighth: `--only stages`
    converged=((1, 750), (2, 400), (4, None)),
)
FULL = Study(
    planted=_FULL,
    sizes={"train": 200_000, "validation": 5000, "test": 10_000},
    targets={"train": 20_000, "validation": 5000, "test": 10_000},
    settings=Settings(64, 128, 1e-3, 500, 8, 40_000, 0.2),
    blocks=8,
    stages=((4, 2000), (8, 4000), (16, None)),
    converged=((4, 8000), (8, 16_000), (16, None)),
)


def study_of(options: argparse.Namespace) -> Study:
    """The size that was asked for."""
    study = QUICK if options.quick else FULL
    return replace(study, blocks=options.blocks) if options.blocks else study


def planted_split(planted: Planted, sizes: dict) -> Split:
    """Sequences of the three parts, drawn apart."""
    parts = {name: planted.sequences(n, i) for i, (name, n) in enumerate(sizes.items(), 1)}
    return Split(**parts, items=planted.items)


def target_split(source: Planted, sizes: dict) -> tuple[Split, Planted]:
    """Users' sequences in the source, their last item one of another catalogue.

    As large as the source's, and dependent on the same places of the history, by other
    permutations: what a net has learned to look at is worth as much, what it has learned
    of the items' succession nothing.
    """
    target, parts = replace(source, seed=TARGET_MAPS), {}
    for i, (name, count) in enumerate(sizes.items(), 11):
        parts[name] = source.sequences(count, i)
        parts[name][:, -1] = target.next_items(parts[name][:, :-1], i)
    return Split(**parts, items=source.items), target


def cl(options: argparse.Namespace, ledger: Ledger) -> dict:
    """Continual learning, for all seeds of all kinds."""
    study = study_of(options)
    split = planted_split(study.planted, study.sizes)
    history = split.test[:, :-1]
    found: dict = {"best": study.planted.best(history)}
    found["best_by_reach"] = {r: study.planted.best(history, r)[MRR] for r in (7, 31)}
    for kind in options.kind:
        trials = Trials(kind, split, study.settings)
        known = {**trials.describe(), "blocks": study.blocks}
        made = per_seed(
            options, ledger, known, lambda s, t=trials: continual(t, study.blocks, s)
        )
        found[kind] = made
        for seed, one in zip(options.seeds, made, strict=True):
            report(kind, seed, one)
    return found


def per_seed(options, ledger: Ledger, known: dict, make: Callable) -> list:
    """One part's results for every seed, from the ledger where they are there."""
    return [
        ledger.run({**known, "seed": seed}, lambda s=seed: make(s))
        for seed in options.seeds
    ]


def report(name: str, seed: int, one: dict) -> None:
    for start, run in one["runs"].items():
        print(
            f"{name} seed {seed} {start:10s} best {run['best']:.4f} at {run['best_step']}"
            f" test {run['test'][MRR]:.4f} blocks*steps {one['costs'][start]['flops']}",
            flush=True,
        )


def trials_of(study: Study, kind: str = "nextitnet") -> Trials:
    """On the source's sequences."""
    return Trials(kind, planted_split(study.planted, study.sizes), study.settings)


def ts(options: argparse.Namespace, ledger: Ledger) -> dict:
    """From scratch by stages, for all seeds of all kinds; converged with the first."""
    study, found = study_of(options), {}
    stages, converged = study.stages, study.converged
    for kind in options.kind:
        trials = trials_of(study, kind)
        known = {**trials.describe(), "stages": stages, "converged": converged}
        found[kind] = per_seed(
            options,
            ledger,
            known,
            lambda s, t=trials: from_scratch_by_stages(
                t, stages, converged if s == options.seeds[0] else None, s
            ),
        )
        for seed, one in zip(options.seeds, found[kind], strict=True):
            less = {name: ratio(one, name, "flops") for name in one}
            mrr = {name: run["runs"][-1]["test"][MRR] for name, run in one.items()}
            print(f"ts {kind} seed {seed}: {rounded(less)}, test {rounded(mrr)}")
    return found


def tf(options: argparse.Namespace, ledger: Ledger) -> dict:
    """Transfer to a target domain, NextItNet."""
    study = study_of(options)
    split, domain = target_split(study.planted, study.targets)
    source = trials_of(study)
    tuned = replace(source.settings, last_only=True, sampled=None)
    target = Trials("nextitnet", split, tuned)
    known = {"source": source.describe(), "target": target.describe()}
    known["blocks"] = study.blocks
    made = per_seed(
        options, ledger, known, lambda s: transfer(source, target, study.blocks, s)
    )
    for seed, one in zip(options.seeds, made, strict=True):
        report("tf", seed, one)
        mrr = {name: run["test"][MRR] for name, run in one["target"].items()}
        print(f"tf seed {seed} target test {rounded(mrr)}", flush=True)
    return {"best": domain.best(split.test[:, :-1]), "nextitnet": made}


def depth(options: argparse.Namespace, ledger: Ledger) -> dict:
    """Test MRR@5 from scratch, depth against share of the data, first seed."""
    study, found = study_of(options), {}
    trials = trials_of(study)
    seed = options.seeds[0]
    for share in (0.2, 1.0):
        for blocks in (study.blocks // 2, study.blocks, 2 * study.blocks):
            known = {**trials.describe(), "share": share, "depth": blocks, "seed": seed}
            run = ledger.run(
                known, lambda d=blocks, s=share: scratch(trials, d, seed, s)[0]
            )
            found[f"{blocks} blocks, {share:.0%}"] = run["test"][MRR]
            print(f"depth {blocks} data {share:.0%}: {run['test'][MRR]:.4f}", flush=True)
    return found


def layers64(options: argparse.Namespace, ledger: Ledger) -> dict:
    """32 blocks of two convolutions, with alpha and with alpha fixed at 1."""
    study, found = QUICK, {}
    split, seed = planted_split(study.planted, study.sizes), options.seeds[0]
    for name, alpha in (("with alpha", True), ("alpha fixed at 1", False)):
        settings = Settings(batch=32, rate=1e-3, alpha=alpha)
        trials = Trials("nextitnet", split, settings)

        def make(t=trials):
            start = values_of(t.fresh(32, seed))
            return t.run(32, start, len(split.train), seed, LAYERS64_STEPS)[0]

        known = {**trials.describe(), "seed": seed, "steps": LAYERS64_STEPS}
        run = found[name] = ledger.run(known, make)
        losses = run["losses"]
        print(
            f"64 layers {name}: loss {losses[0]:.3f} to {losses[-1]:.3f}, "
            f"validation MRR@5 {run['best']:.4f}",
            flush=True,
        )
    return found


def stages(options: argparse.Namespace, ledger: Ledger) -> dict:
    """How long the shallow stages of ``ts`` should be: NextItNet, seed 0, validation."""
    study = study_of(options)
    trials, depths = trials_of(study), [b for b, _ in study.stages]
    known = {**trials.describe(), "depths": depths}
    found = ledger.run(known, lambda: stage_lengths(trials, depths, 0))
    print(f"stages {rounded(found)}", flush=True)
    return found


def movielens(options: argparse.Namespace, ledger: Ledger) -> dict:
    """CL on MovieLens-small, NextItNet of 2 blocks."""
    split = movielens_split(options.data / "movielens_small" / "ratings.csv", length=20)
    trials = Trials("nextitnet", split, Settings(rate=3e-3, sampled=0.2))
    made = per_seed(options, ledger, trials.describe(), lambda s: continual(trials, 2, s))
    for seed, one in zip(options.seeds, made, strict=True):
        report("movielens", seed, one)
    return {"nextitnet": made}


PARTS = {part.__name__: part for part in (ts, cl, tf, layers64, depth, stages, movielens)}
QUICK_PARTS = tuple(PARTS)[:5]
