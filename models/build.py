"""From plain settings to a built model: the one table from names to classes."""

from collections.abc import Sequence

import tensorflow as tf

from components import dense_optimizers, row_optimizers
from models.ctr import CrossAndDeep, Wide
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
    "row_wise_adagrad": row_optimizers.RowWiseAdagrad,
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
    "lr": lambda tasks, seed, **s: None,
    "fm": lambda tasks, seed, **s: None,
    "wide_deep": lambda tasks, seed, **s: _deep(tasks, seed, s),
    "deepfm": lambda tasks, seed, **s: _deep(tasks, seed, s),
    "dcn": lambda tasks, seed, **s: _cross_and_deep(tasks, seed, s, matrix=False),
    "dcn_v2": lambda tasks, seed, **s: _cross_and_deep(tasks, seed, s, matrix=True),
}
WIDE = ("lr", "fm", "wide_deep", "deepfm", "dcn", "dcn_v2")  # have linear weights
PRODUCTS = ("fm", "deepfm")
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
    kind, wide = settings["trunk"], None
    trunk = TRUNKS[kind](names, seed, **settings)
    if kind in WIDE:
        dim = settings["embedding_dim"] if kind in PRODUCTS else 0
        wide = Wide(names, product_dim=dim, name="wide")
    tower_seed = seed + TOWER_SEEDS
    units = settings.get("tower_units", [])
    name = "ranking_model"  # fixed: weights are saved under it
    model = RankingModel(
        features, tasks, trunk, units, score, tower_seed, wide=wide, name=name
    )
    model(empty_batch(features))
    return model


def _deep(tasks, seed: int, settings: dict) -> SharedBottom:
    return SharedBottom(tasks, settings["deep_units"], seed, name="deep")


def _cross_and_deep(tasks, seed: int, settings: dict, matrix: bool) -> CrossAndDeep:
    return CrossAndDeep(
        tasks,
        settings["deep_units"],
        seed,
        cross_layers=settings["cross_layers"],
        matrix=matrix,
        rank=settings["rank"],
        name="cross_and_deep",
    )


def empty_batch(features: Sequence[Feature]) -> dict:
    """A batch of one row in which everything is missing."""
    batch = {}
    for feature in features:
        shape = [1, feature.max_values] if feature.max_values else [1]
        numeric = feature.kind == "numeric"
        batch[feature.name] = tf.fill(shape, float("nan") if numeric else 0)
    return batch
