"""From plain settings to a built model: the one table from names to classes."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from steadyrank.components.layers.history import LastState, MeanHistory, TargetAttention
from steadyrank.components.layers.precision import computing_in
from steadyrank.components.optimizers import dense as dense_optimizers
from steadyrank.components.optimizers import rows as row_optimizers
from steadyrank.components.sequences.encoder import SequenceEncoder
from steadyrank.models.bias import BiasTower
from steadyrank.models.features import Feature, Task, served_features
from steadyrank.models.fronts import CrossFront, DotFront
from steadyrank.models.ranker import RankingModel
from steadyrank.models.trunks.bottoms import Bottoms
from steadyrank.models.trunks.ctr import CrossAndDeep, Deep, Wide
from steadyrank.models.trunks.mmoe import Mmoe
from steadyrank.models.trunks.ple import Ple
from steadyrank.models.trunks.shared_bottom import SharedBottom
from steadyrank.models.trunks.stitch import Stitch

DENSE_OPTIMIZERS = {
    "adagrad": dense_optimizers.Adagrad,
    "adam": dense_optimizers.Adam,
}
ROW_OPTIMIZERS = {
    "adagrad": row_optimizers.RowAdagrad,
    "adam": row_optimizers.RowAdam,
    "row_wise_adagrad": row_optimizers.RowWiseAdagrad,
}
# trunk -> class, layer's name, and what the config has no key for
TRUNKS: dict[str, tuple[Callable | None, str, dict]] = {
    "lr": (None, "", {}),
    "fm": (None, "", {}),
    "wide_deep": (Deep, "deep", {}),
    "deepfm": (Deep, "deep", {}),
    "dcn": (CrossAndDeep, "cross_and_deep", {}),
    "dcn_v2": (CrossAndDeep, "cross_and_deep", {"matrix": True}),
    "shared_bottom": (SharedBottom, "shared_bottom", {}),
    "single_task": (Bottoms, "single_task", {}),
    "asymmetric": (Bottoms, "asymmetric", {}),
    "customized": (Bottoms, "customized", {"shared": True}),
    "cross_stitch": (Stitch, "cross_stitch", {}),
    "sluice": (Stitch, "sluice", {"skips": True}),
    "omoe": (Mmoe, "omoe", {"one_gate": True}),
    "mmoe": (Mmoe, "mmoe", {}),
    "ml_mmoe": (Mmoe, "ml_mmoe", {}),
    "cgc": (Ple, "cgc", {}),
    "ple": (Ple, "ple", {}),
}
OF_EVERY_TRUNK = {"trunk", "tower_units", "embedding_dim", "front", "front_layers"}
OF_EVERY_TRUNK |= {"history"}
HISTORIES = {
    "attention": lambda name, length, seed, blocks: TargetAttention(seed=seed, name=name),
    "mean": lambda name, length, seed, blocks: MeanHistory(name=name),
    "nextitnet": lambda name, length, seed, blocks: LastState(
        SequenceEncoder("nextitnet", blocks, seed=seed, name="encoder"), name=name
    ),
    "sasrec": lambda name, length, seed, blocks: LastState(
        SequenceEncoder("sasrec", blocks, max_length=length, seed=seed, name="encoder"),
        name=name,
    ),
}
WIDE = ("lr", "fm", "wide_deep", "deepfm", "dcn", "dcn_v2")  # have linear weights
PRODUCTS = ("fm", "deepfm")
TOWER_SEEDS = 500_000_000
HISTORY_SEEDS = 600_000_000
HISTORY_BLOCKS = 2
BIAS_SEEDS = 700_000_000


def build_model(
    features: Sequence[Feature],
    tasks: Sequence[Task],
    score: str,
    settings: dict,
    *,
    seed: int,
    precision: str = "float32",
) -> RankingModel:
    """Build a model with all its weights, within the strategy scope of the caller.

    Args:
        features: Learned ones, from the examples' schema; those with a ``reference`` bias
            the log, and training alone reads them.
        tasks: Likewise.
        score: Formula of the ranking score.
        settings: The ``model`` section: ``trunk`` and what belongs to it.
        seed: The same seed gives the same weights.
        precision: What front and trunk compute in: ``"float32"`` or ``"bfloat16"``.

    Returns:
        The built model, not compiled.
    """
    names = [task.name for task in tasks]
    known, features = features, served_features(features)
    biases = [feature for feature in known if feature.reference is not None]
    kind, wide = settings["trunk"], None
    with computing_in(precision):
        trunk = build_trunk(names, settings, seed)
        front = build_front(features, settings, seed)
    if kind in WIDE:
        dim = settings["embedding_dim"] if kind in PRODUCTS else 0
        wide = Wide(names, product_dim=dim, name="wide")
    tower_seed = seed + TOWER_SEEDS
    units = settings.get("tower_units", [])
    encoders = build_encoders(features, settings, seed)
    model = RankingModel(
        features,
        tasks,
        trunk,
        tower_units=units,
        score=score,
        seed=tower_seed,
        front=front,
        wide=wide,
        encoders=encoders,
        bias=BiasTower(biases, names, seed + BIAS_SEEDS) if biases else None,
    )
    model(empty_batch(known), training=bool(biases))
    return model


def build_trunk(tasks: Sequence[str], settings: dict, seed: int):
    """The layer of the section's ``trunk``, of the keys that are its own.

    Args:
        tasks: Task names.
        settings: The ``model`` section.
        seed: Start of the layers' seeds.

    Returns:
        A layer ``[B, D]`` -> task name -> ``[B, d]``; None for a linear model.
    """
    kind, name, fixed = TRUNKS[settings["trunk"]]
    if kind is None:
        return None
    own = {key: settings[key] for key in settings.keys() - OF_EVERY_TRUNK}
    return kind(tasks, seed=seed, name=name, **own, **fixed)


def build_front(features: Sequence[Feature], settings: dict, seed: int):
    """The layer between the features' vectors and the trunk.

    Args:
        features: Learned ones, in the order of their vectors.
        settings: The ``model`` section.
        seed: Start of the layers' seeds.

    Returns:
        A layer ``[B, D]`` -> ``[B, D']``; None: there is none.
    """
    kind = settings.get("front", "concatenation")
    if kind == "cross":
        return CrossFront(settings.get("front_layers") or 1, seed, name="cross_front")
    if kind == "dot":
        dims = [feature.dim if feature.rows else 0 for feature in features]
        pairs = zip(dims, features, strict=True)
        widths = [dim or feature.inputs for dim, feature in pairs]
        return DotFront(widths, dims, name="dot_front")
    return None


def build_encoders(features: Sequence[Feature], settings: dict, seed: int) -> dict:
    """The encoders of the features that are sequences.

    Args:
        features: Learned ones.
        settings: The ``model`` section, whose ``history`` says which.
        seed: Start of the layers' seeds.

    Returns:
        Sequence's name -> the layer that makes its events ``[B, L, D]`` one vector.
    """
    history = settings.get("history") or {}  # none of a model without embeddings
    sequences = [f for f in features if history and f.kind == "sequence"]
    return {
        feature.name: HISTORIES[history["encoder"]](
            f"history_{feature.name}",
            feature.max_values,
            seed + HISTORY_SEEDS + 1_000_000 * i,
            history["blocks"] or HISTORY_BLOCKS,
        )
        for i, feature in enumerate(sequences)
    }


def empty_batch(features: Sequence[Feature]) -> dict:
    """A batch of one row in which everything is missing.

    Args:
        features: Learned ones.

    Returns:
        Feature name -> ``[1]`` or ``[1, several]``: int32 0, float32 NaN of numbers.
    """
    batch = {}
    for feature in features:
        several = feature.ids_per_row or feature.width
        shape = [1, several] if several else [1]
        numeric = feature.kind == "numeric"
        batch[feature.name] = tf.fill(shape, float("nan") if numeric else 0)
    return batch
