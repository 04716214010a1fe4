"""Verdicts on what is known to be broken, and on what is known to be healthy.

    python -m benchmarks.verdicts --quick [--only WORD]

One small log and a trained model of each kind (``benchmarks.verdicts_base``,
``benchmarks.verdicts_next``); files, weights, inputs, answers and logs are broken one
after the other, in two processes that share the cases out and have a base each.  Nothing
broken may pass: a case is stopped by a verdict (HOLD or REFUSE) or by a stage that says
what is wrong, and by what is wrong with it, else it went ``astray``.  Nothing healthy may
be refused; what is held counts as neither.  Then the gain gates, on simulated models whose
true gain is their limit.  The last line is JSON.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import tensorflow as tf

from benchmarks.verdicts_base import Base, Outcome, settle
from benchmarks.verdicts_broken import broken
from benchmarks.verdicts_gain import gain_rates
from benchmarks.verdicts_gated import gated
from benchmarks.verdicts_healthy import healthy
from benchmarks.verdicts_logs import broken_logs, broken_trainings
from benchmarks.verdicts_next import broken_next

HEALTHY = "healthy"
NO = ("REFUSE", "refused", "astray")
SHOWN = 240  # characters of a reason


SORTS = {
    "broken": broken,
    "logs": broken_logs,
    "trained": broken_trainings,
    "gated": gated,
    "next": broken_next,
    HEALTHY: healthy,
}
SHARES = (("broken", "logs", "trained"), ("gated", "next", HEALTHY))  # of alike length


def share(sorts: tuple[str, ...], only: str = "") -> dict[str, list[Outcome]]:
    """Each of some sorts of cases, settled; only those whose name holds a word."""
    # Grappler's passes take longer than the few steps of a case
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    with tempfile.TemporaryDirectory() as folder:
        base = Base(Path(folder))
        return {
            sort: [
                told(sort, settle(case), base.folder)
                for case in SORTS[sort](base)
                if only in case.name
            ]
            for sort in sorts
        }


def outcomes(only: str = "") -> dict[str, list[Outcome]]:
    """All sorts, each share of them in a process of its own."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(SHARES), mp_context=fresh) as pool:
        shares = [pool.submit(share, sorts, only) for sorts in SHARES]
        return {sort: found for each in shares for sort, found in each.result().items()}


def told(sort: str, found: Outcome, folder: Path) -> Outcome:
    """What came of a case, printed; places are told from the folder of all on."""
    found = replace(found, reason=found.reason.replace(f"{folder}/", ""))
    print(f"{sort:8} {found.came_to:10} {found.name}: {found.reason[:160]}", flush=True)
    return found


def summary(found: dict[str, list[Outcome]]) -> dict:
    """What the last line says."""
    bad = [each for sort in found if sort != HEALTHY for each in found[sort]]
    good = found[HEALTHY]
    return {
        "broken_tried": len(bad),
        "broken_passed": _count(bad, "PASS"),
        "broken_by": _counted(bad),
        "healthy_tried": len(good),
        "healthy_refused": _count(good, *NO),
        "held": _count(good, "HOLD"),
        "astray": _count(bad, "astray"),
        "tracebacks": _count([*bad, *good], "traceback"),
        "passed": [each.name for each in bad if each.came_to == "PASS"],
        "refused": [each.name for each in good if each.came_to in NO],
        "broken": {each.name: [each.came_to, each.reason[:SHOWN]] for each in bad},
        "healthy": {each.name: [each.came_to, each.reason[:SHOWN]] for each in good},
    }


def _count(found: Iterable[Outcome], *wanted: str) -> int:
    return sum(each.came_to in wanted for each in found)


def _counted(found: Iterable[Outcome]) -> dict[str, int]:
    words = ("PASS", "HOLD", "REFUSE", "refused", "astray", "traceback")
    return {word: _count(found, word) for word in words}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the only size there is")
    parser.add_argument("--only", default="", help="cases whose name holds this word")
    arguments = parser.parse_args()
    start = time.perf_counter()
    found = summary(outcomes(arguments.only))
    if not arguments.only:
        found["gain_gate"] = gain_rates()
    print(json.dumps(found | {"seconds": round(time.perf_counter() - start)}))


if __name__ == "__main__":
    main()
