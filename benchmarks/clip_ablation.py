"""What should be clipped together: an id, a field, all embeddings?

    python -m benchmarks.clip_ablation [--workers 2]

The ablation of the CowClip paper, where a clip is worth something at all (see
``benchmarks.large_batch --clip-study``): 2 M Criteo-shaped rows, batches of 16 K, a
DeepFM whose tables have Adagrad without L2 at ``HIGH`` times the tuned rate, and bounds as
they are to a loss summed over the batch.  Clipped is the gradient

- ``id, adaptive``: of each id, by its count and the norm of its embedding: CowClip;
- ``id, constant``: of each id, by its count and the norm that embeddings start with;
- ``field``: of all ids of a field together, by the norm of their embeddings;
- ``global``: of all ids of the batch together, likewise;
- ``off``: not at all.

A bound that suits one does not suit another: each is tried at every factor of ``BOUNDS``,
the factor is chosen on validation rows, and the test AUC is that factor's.

Results go to ``benchmarks/results/clip_ablation.json``.  The last line is a JSON object:
``ablation``, by what is clipped: ``bound``, ``validation``, ``test``, ``gain`` over
``off`` in test, and ``clipped``, the fraction of a step's rows; ``order``, best first.
"""

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.large_batch import (
    BASE_BATCH,
    HIGH,
    ROOT,
    SHIPPED,
    Recipe,
    Run,
    run_all,
    train_shaped,
    write_shaped,
)
from benchmarks.multitask_ledger import Ledger

ROWS, EPOCHS, FACTOR = 2_000_000, 2, 16
BOUNDS = (0.1, 1.0, 10.0, 100.0, 1000.0)
OFF = "off"
CLIPPED = {
    "id, adaptive": {"clip": "cowclip"},
    "id, constant": {"clip": "cowclip", "adaptive": False},
    "field": {"clip": "field"},
    "global": {"clip": "global"},
}


def recipes() -> dict[str, list[Recipe]]:
    """What is clipped -> a recipe for each bound."""
    usual = {"rule": SHIPPED, "optimizer": "adagrad", "l2": 0.0, "rate": HIGH}
    found = {
        name: [
            Recipe(f"{name}, {bound:g}", **usual, **clip, summed=True, bound=bound)
            for bound in BOUNDS
        ]
        for name, clip in CLIPPED.items()
    }
    return {**found, OFF: [Recipe(OFF, **usual, clip="none")]}


def summary(runs: Sequence[Run]) -> dict:
    """The last line."""
    by_recipe, best = {run.recipe: run for run in runs}, {}
    for name, own in recipes().items():
        tried = [by_recipe[recipe] for recipe in own]
        best[name] = max(tried, key=lambda run: max(run.validation))
    found = {
        name: {
            "bound": run.recipe.bound,
            "validation": max(run.validation),
            "test": run.test,
            "gain": run.test - best[OFF].test,
            "clipped": run.clipped,
        }
        for name, run in best.items()
    }
    return {"ablation": found, "order": sorted(found, key=lambda n: -found[n]["test"])}


def main(arguments: list[str] | None = None) -> None:
    """Run the ablation."""
    parser = argparse.ArgumentParser("benchmarks.clip_ablation")
    parser.add_argument("--workers", type=int, default=2, help="runs at once")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--resume", action="store_true", help="keep runs done before")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    ledger = Ledger(options.results / "clip_ablation_runs.json", options.resume)
    planned = [
        Run(recipe, FACTOR * BASE_BATCH, seed=1)
        for own in recipes().values()
        for recipe in own
    ]
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        write_shaped(Path(folder), options.rows)
        usual = options.rows, EPOCHS, planned, options.workers, ledger
        runs = run_all(train_shaped, Path(folder), *usual)
    result = summary(runs)
    text = json.dumps(
        {**result, "runs": [dataclasses.asdict(run) for run in runs]}, indent=1
    )
    path = options.results / "clip_ablation.json"
    path.write_text(text + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
