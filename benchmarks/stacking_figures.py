"""The figures that the stacking study ends with."""

import numpy as np

from benchmarks.stacking_scenarios import OPERATORS, STAGED, ratio
from benchmarks.stacking_trials import MRR

UNITS = (("flops", "speedup"), ("seconds", "seconds_speedup"))
TRANSFERRED = ("adjacent", "unchanged")
SHIPPED = "unchanged"  # in configs/sequence_*.yaml


def headline(found: dict) -> dict:
    """Figures of every kind, seed by seed, and NextItNet's means.

    Returns:
        ``cl_speedup``, ``ts_speedup`` and ``tf_speedup``: growth as the shipped configs
        have it (``SHIPPED``); with a name behind it another way to grow, ``_adjacent``
        being StackRec's as published: blocks times steps from scratch over those of the
        growth, 0 where it did not get there.  Of CL and TF only what
        comes after the growth counts, as in the article; of TS all stages.  The rest are
        lists over the seeds.
    """
    last = {}
    for part in ("cl", "movielens"):
        for kind, seeds in _kinds(found, part):
            last |= _speedups(part, kind, [one["costs"] for one in seeds], OPERATORS)
            last |= _gains(part, kind, [one["runs"] for one in seeds], OPERATORS)
            lowest = [min(one["similarities"]) for one in seeds]
            last[f"{part}_similarity_{kind}"] = lowest
    for kind, seeds in _kinds(found, "ts"):
        names = [name for name in (*STAGED, "converged") if name in seeds[0]]
        last |= _speedups("ts", kind, seeds, names)
        ends = [{name: run["runs"][-1] for name, run in one.items()} for one in seeds]
        last |= _gains("ts", kind, ends, names)
    for kind, seeds in _kinds(found, "tf"):
        last |= _speedups("tf", kind, [one["costs"] for one in seeds], TRANSFERRED)
        names = [name for name in seeds[0]["target"] if name != "scratch"]
        last |= _gains("tf_target", kind, [one["target"] for one in seeds], names)
    return {**_means(last), **last}


def _kinds(found, part):
    rest = found.get(part, {}).items()
    return [(kind, seeds) for kind, seeds in rest if isinstance(seeds, list)]


def _speedups(part, kind, costs, names):
    return {
        f"{part}_{unit_name}_{kind}_{name}": [
            ratio(one, name, unit) for one in costs if name in one
        ]
        for name in names
        for unit, unit_name in UNITS
    }


def _gains(part, kind, runs, names):
    def mrr(one, name):
        return one[name]["test"][MRR]

    found = {
        f"{part}_test_mrr_gain_{kind}_{name}": [
            mrr(one, name) - mrr(one, "scratch") for one in runs if name in one
        ]
        for name in names
    }
    found[f"{part}_test_mrr_scratch_{kind}"] = [mrr(one, "scratch") for one in runs]
    return found


def _means(last):
    means = {}
    for part in ("cl", "ts", "tf"):
        for name in (*STAGED, "converged"):
            values = last.get(f"{part}_speedup_nextitnet_{name}")
            if values:
                ending = "" if name == SHIPPED else f"_{name}"
                means[f"{part}_speedup{ending}"] = float(np.mean(values))
    return means
