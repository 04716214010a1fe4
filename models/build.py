"""From plain settings to a built model: the one table from names to classes."""

from collections.abc import Sequence

import tensorflow as tf

from components import dense_optimizers, row_optimizers
from models.features import Feature, Task
from models.ple import Ple
from models.ranker import RankingModel
from models.shared_bottom import SharedBottom

DENSE_OPTIMIZERS = {
    "adagrad": dense_optimizers.Adagrad,
    "adam": dense_optimizers.Adam,
}
ROW_OPTIMIZERS = {
    "adagrad": row_optimizers.RowAdagrad,
    "adam": row_optimizers.RowAdam,
}
TRUNKS = {
    "ple": lambda tasks, seed, **s: Ple(
        tasks,
        s["levels"],
        s["shared_experts"],
        s["task_experts"],
        s["expert_units"],
        seed,
        name="ple",
    ),
    "shared_bottom": lambda tasks, seed, **s: SharedBottom(
        tasks,
        s["bottom_units"],
        seed,
        cross_layers=s["cross_layers"],
        layer_norm=s["layer_norm"],
        name="shared_bottom",
    ),
}
TOWER_SEEDS = 500_000_000


def build_model(
    features: Sequence[Feature],
    tasks: Sequence[Task],
    score: str,
    settings: dict,
    seed: int,
) -> RankingModel:
    """Build a model with all its weights, within the strategy scope of the caller.

    Args:
        features: Learned ones, from the examples' schema.
        tasks: Likewise.
        score: Formula of the ranking score.
        settings: The ``model`` section: ``trunk`` and what belongs to it.
        seed: The same seed gives the same weights.

    Returns:
        The built model, not compiled.
    """
    names = [task.name for task in tasks]
    trunk = TRUNKS[settings["trunk"]](names, seed, **settings)
    tower_seed = seed + TOWER_SEEDS
    units = settings["tower_units"]
    name = "ranking_model"  # fixed: weights are saved under it
    model = RankingModel(features, tasks, trunk, units, score, tower_seed, name=name)
    model(empty_batch(features))
    return model


def empty_batch(features: Sequence[Feature]) -> dict:
    """A batch of one row in which everything is missing."""
    batch = {}
    for feature in features:
        shape = [1, feature.max_values] if feature.max_values else [1]
        numeric = feature.kind == "numeric"
        batch[feature.name] = tf.fill(shape, float("nan") if numeric else 0)
    return batch
