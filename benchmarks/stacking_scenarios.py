"""StackRec's scenarios for one seed each: what growing costs beside a net from scratch.

The cost of a step is its blocks. A run has reached the net from scratch once its
validation MRR@5 is ``ENOUGH`` of that net's best; for that net itself the same counts.
"""

from benchmarks.stacking_trials import ENOUGH, Trials, steps_to, values_of

OPERATORS = ("adjacent", "cross", "unchanged", "random", "embedding")
STAGED = ("adjacent", "adjacent_softmax", "adjacent_all", "unchanged")
FRACTIONS = (1 / 8, 1 / 4, 1 / 3)  # of a shallow net's steps to convergence; after 3.4
OLD = 0.8  # share of the data that the shallow net of CL and TF has seen


def scratch(trials: Trials, blocks: int, seed: int, share: float = 1.0):
    """A net trained from its start to convergence."""
    rows = int(share * len(trials.split.train))
    start = values_of(trials.fresh(blocks, seed))
    return trials.run(blocks, start, rows, seed)


def continual(trials: Trials, blocks: int, seed: int) -> dict:
    """CL: every operator, beside a net from scratch of twice the blocks."""
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


def by_stages(trials: Trials, operator: str, stages, seed: int, target: float) -> dict:
    """TS once: fixed steps for all stages but the last, which goes to convergence.

    Args:
        trials: The runs' data and kind.
        operator: As for ``Trials.grown``.
        stages: ``[(blocks, steps), ...]``, the blocks doubling; the last steps None.
        seed: Of start and batches.
        target: Validation MRR@5 up to which the last stage counts.
    """
    rows, spent = len(trials.split.train), []
    weights = values_of(trials.fresh(stages[0][0], seed))
    for number, (blocks, steps) in enumerate(stages):
        if number:
            weights = trials.grown(weights, blocks // 2, seed, operator)
        run, weights = trials.run(blocks, weights, rows, seed + number, steps)
        spent.append((run, steps))
    return {"runs": [run for run, _ in spent], **cost(spent, target)}


def from_scratch_by_stages(trials: Trials, stages, converged, seed: int) -> dict:
    """TS: every way to grow, beside a net from scratch of the last depth.

    Args:
        trials: As for ``by_stages``.
        stages: Likewise.
        converged: The same with the shallow nets trained to convergence, for adjacent
            growth alone; None: not tried.
        seed: Of start and batches.
    """
    deep, _ = scratch(trials, stages[-1][0], seed)
    target = ENOUGH * deep["best"]
    found = {"scratch": {"runs": [deep], **cost([(deep, None)], target)}}
    for operator in STAGED:
        found[operator] = by_stages(trials, operator, stages, seed, target)
    if converged:
        found["converged"] = by_stages(trials, "adjacent", converged, seed, target)
    return found


def stage_lengths(trials: Trials, depths, seed: int) -> dict:
    """Costs of TS by adjacent growth, for shallow stages of each of ``FRACTIONS``.

    On validation alone, with a seed of its own: what is chosen by it is then used for all
    seeds and ways to grow.

    Returns:
        ``convergence``: depth -> steps to ``ENOUGH`` of its own best; ``fractions``:
        fraction -> its stages and cost.
    """
    runs = {depth: scratch(trials, depth, seed)[0] for depth in depths}
    own = {depth: steps_to(run, ENOUGH * run["best"]) for depth, run in runs.items()}
    target = ENOUGH * runs[depths[-1]]["best"]
    found = {"scratch": depths[-1] * own[depths[-1]]}
    for fraction in FRACTIONS:
        stages = shortened(own, depths, fraction, trials.settings.evaluate_every)
        run = by_stages(trials, "adjacent", stages, seed, target)
        found[f"{fraction:.3f}"] = {"stages": stages, "flops": run["flops"]}
    return {"convergence": own, "best": {d: r["best"] for d, r in runs.items()}, **found}


def shortened(convergence, depths, fraction: float, interval: int) -> list:
    """Stages of a fraction of each shallow depth's steps, in whole evaluations."""
    shallow = [
        (depth, max(1, round(fraction * convergence[depth] / interval)) * interval)
        for depth in depths[:-1]
    ]
    return [*shallow, (depths[-1], None)]


def transfer(source: Trials, target: Trials, blocks: int, seed: int) -> dict:
    """TF: pre-training on a source domain, then all of it tuned on a target domain.

    The grown net stops as soon as it is as good on the source as the one from scratch:
    what its pre-training costs is what its target result has cost.

    Args:
        source: Sequences of the source.
        target: Sequences of the source whose last item is the target's; its softmax
            starts anew.
        blocks: Of the shallow net.
        seed: Of starts and batches.

    Returns:
        ``runs`` on the source, ``costs`` of these, ``target``: runs there, by what they
        started from (``none``: no pre-training).
    """
    deep, weights = scratch(source, 2 * blocks, seed)
    goal = ENOUGH * deep["best"]
    shallow, old = scratch(source, blocks, seed, OLD)
    runs, starts = {"scratch": deep, "shallow": shallow}, {"scratch": weights}
    for operator in ("adjacent", "unchanged"):
        grown = source.grown(old, blocks, seed, operator)
        runs[operator], starts[operator] = source.run(
            2 * blocks, grown, len(source.split.train), seed + 1, until=goal
        )
    fresh = values_of(target.fresh(2 * blocks, seed))
    rows, starts["none"] = len(target.split.train), fresh
    tuned = {
        name: target.run(2 * blocks, {**start, "softmax": fresh["softmax"]}, rows, seed)[0]
        for name, start in starts.items()
    }
    costs = {name: cost([(run, None)], goal) for name, run in runs.items()}
    return {"runs": runs, "costs": costs, "target": tuned}


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
