"""Does a large batch cost AUC? Every scaling rule, with CowClip's clip and without.

    python -m benchmarks.large_batch [--quick] [--data DIR] [--workers 2]

A DeepFM (26 fields of width 10, linear weights, 13 numbers) on Criteo-shaped rows, about
0.75 ids a row as in the Kaggle log: rare ids are what large batches are said to lose.
Rates and L2 at the base batch of 1 K were chosen on validation rows, once for all rules
(``BASE``); a rule says what becomes of them at ``s`` times the batch.  Every run has as
many epochs, is judged after each on validation rows, and reported on test rows at its
best epoch.  KuaiRand's is_click is the second set, from 1 K to 8 K.

Recipes: each scaling rule with the clip (r = 1, zeta = 1e-5) and lazy semantics; CowClip's
rule without the clip; what we ship (``SHIPPED``) with lazy, dense and touched semantics,
and without the clip.

``--quick``: 2 M rows, 16 K against 1 K, one seed.  The full run has 8 M rows, batches to
128 K and three seeds.  Runs share the cores: ``--workers`` at once, a thread each.

Results go to ``benchmarks/results/large_batch_*.json``.  The last line is a JSON object:
drops of AUC from 1 K to 16 times as much, ``cowclip_drop_16x``, ``best_shipped_drop_16x``,
``best_other_rule_drop_16x``, ``clip_off_drop_16x``, ``lazy_minus_dense_auc`` at 16 K,
``epoch_speedup_16x``, ``clipped_fraction``; for KuaiRand ``kuairand_drop_8x`` by recipe;
in the full run the same for 64 times as much.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = "STEADYRANK_DATA"
BASE_BATCH = 1024
BASE = {"embedding_rate": 1e-3, "l2": 1e-4, "dense_rate": 8e-4}
MODEL = {"trunk": "deepfm", "deep_units": [64, 32]}
WARM_UP_EPOCHS = 1  # of the dense rate, as in CowClip's published runs
IDS_PER_ROW = 0.75
HELD_OUT = 0.1  # of the rows, for validation and as many for test
SHIPPED = "linear_cowclip"


@dataclass(frozen=True)
class Recipe:
    """What is done as the batch grows."""

    name: str
    rule: str
    clip: str = "cowclip"
    semantics: str = "lazy"


RECIPES = (
    Recipe("none", "none"),
    Recipe("sqrt", "sqrt"),
    Recipe("linear", "linear"),
    Recipe("n2_lambda", "n2_lambda"),
    Recipe("cowclip", "cowclip"),
    Recipe("cowclip, clip off", "cowclip", clip="none"),
    Recipe(SHIPPED, SHIPPED),
    Recipe(f"{SHIPPED}, clip off", SHIPPED, clip="none"),
    Recipe(f"{SHIPPED}, dense", SHIPPED, semantics="dense"),
    Recipe(f"{SHIPPED}, touched", SHIPPED, semantics="touched"),
)
OTHER_RULES = ("none", "sqrt", "linear", "n2_lambda")


@dataclass(frozen=True)
class Run:
    """One training run, and what came of it."""

    recipe: Recipe
    batch_size: int
    seed: int
    validation: tuple[float, ...] = ()
    test: float = 0.0
    seconds: float = 0.0  # of the median epoch
    clipped: float = 0.0  # fraction of the rows of the embedding table


def train(folder: str, rows: int, epochs: int, run: Run) -> Run:
    """Train on the first rows; called in a process of its own."""
    from benchmarks import in_memory
    from benchmarks.criteo import CriteoShaped
    from components.schedules import WarmUp, scale
    from models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS

    data = CriteoShaped(*_load(folder))
    held = int(HELD_OUT * rows)
    validation, test = range(rows, rows + held), range(rows + held, rows + 2 * held)
    recipe, size = run.recipe, run.batch_size
    rates = scale(
        recipe.rule,
        size / BASE_BATCH,
        BASE["embedding_rate"],
        BASE["l2"],
        BASE["dense_rate"],
    )
    model = in_memory.model_of(in_memory.features_of(data, rows), MODEL, run.seed)
    warm_up = WARM_UP_EPOCHS * (rows // size)
    model.compile(
        DENSE_OPTIMIZERS["adam"](WarmUp(rates.dense_rate, warm_up), clip="none"),
        ROW_OPTIMIZERS["adam"](
            rates.embedding_rate,
            clip=recipe.clip,
            l2=rates.embedding_l2,
            semantics=recipe.semantics,
        ),
    )
    trainer, found, areas = in_memory.Trainer(model, data), [], {}
    for epoch in range(epochs):
        found.append(trainer.epoch(range(rows), size, seed=1000 * run.seed + epoch))
        area = trainer.auc(validation)
        if area > max(areas, default=0.0):
            best = trainer.auc(test)
        areas[area] = epoch
    return Run(
        recipe,
        size,
        run.seed,
        tuple(areas),
        best,
        statistics.median(each["seconds"] for each in found),
        found[-1]["clipped_rows"][str(in_memory.DIM)],
    )
