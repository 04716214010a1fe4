"""What one batch asks of a ranking model: of its tasks, layers, features and ids."""

import numpy as np
import tensorflow as tf

from steadyrank.models.ranker import RankingModel
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.dataset import training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.train.diagnosis import largest_first, layer_norms, row_norms


def read_batch(config: Config, examples: ExampleSet, epoch: int, batch: int):
    """The very batch that training saw: its place in the input and the seed say which.

    Raises:
        InputError: The epoch has no such batch.
    """
    settings = config.train
    dataset = training_dataset(
        examples,
        epoch=epoch,
        batch_size=settings.batch_size,
        seed=settings.seed,
        shuffle_rows=settings.shuffle_rows,
        skip_batches=batch,
        grouped=config.ranks_groups,
    )
    for features, labels, masks, window in dataset.take(1):
        names = list(examples.windows("train"))
        return (features, labels, masks), names[int(tf.reduce_max(window))]
    raise InputError(
        f"epoch {epoch} has no batch {batch}; batches are counted from 0. "
        "Take a smaller --batch."
    )


def diagnose(model: RankingModel, data) -> dict:
    """Measure what a batch asks of a model.

    Args:
        model: A model.
        data: ``(features, labels, masks)``.

    Returns:
        ``tasks``: loss, rows and gradient norm of each task at the vector that all
        tasks read; ``cosines``: between the tasks' gradients there; ``layers``: gradient
        norm of each dense variable, the largest first; ``numbers``: the range of each
        numeric feature; ``ids``: the rows of the tables with the largest gradients.
    """
    features, labels, masks = data
    with tf.GradientTape(persistent=True) as tape:
        vectors = model.inputs_layer(features)
        wide = model.wide_logits(features)
        # a linear model has no vectors: there the tasks meet at the logits
        shared = tf.stack(list(wide.values()), axis=1) if vectors is None else vectors
        tape.watch(shared)
        if vectors is None:
            wide = dict(zip(wide, tf.unstack(shared, axis=1), strict=True))
        outputs = model.biased(model.from_inputs(vectors, wide), features)
        losses = model.task_losses(labels, masks, outputs)
        total = tf.add_n([task.weight * losses[task.name] for task in model.tasks])
    at_shared = {name: tape.gradient(loss, shared) for name, loss in losses.items()}
    layers = tape.gradient(total, model.dense_variables)
    tables = tape.gradient(total, model.embedding_variables)
    flat = {n: np.asarray(g, np.float64).ravel() for n, g in at_shared.items()}
    norms = {name: float(np.linalg.norm(g)) for name, g in flat.items()}
    return {
        "tasks": {
            name: {
                "loss": float(loss),
                "rows": int(tf.math.count_nonzero(masks[name])),
                "gradient_norm": norms[name],
            }
            for name, loss in losses.items()
        },
        "cosines": _cosines(flat, norms),
        "layers": layer_norms(model, layers),
        "numbers": _ranges(model, features),
        "ids": _largest_ids(model, tables),
    }


def _cosines(flat: dict[str, np.ndarray], norms: dict[str, float]) -> dict[str, float]:
    names = list(flat)
    return {
        f"{a} {b}": float(flat[a] @ flat[b] / (norms[a] * norms[b]))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
        if norms[a] * norms[b] > 0
    }


def _ranges(model: RankingModel, features: dict) -> dict[str, dict]:
    """Least and largest value of each numeric feature, and how many are missing."""
    ranges = {}
    for feature in model.inputs_layer.features:
        if feature.kind == "numeric":
            values = np.asarray(features[feature.name], np.float64)
            known = values[~np.isnan(values)]
            if len(known):
                ranges[feature.name] = {
                    "min": float(known.min()),
                    "max": float(known.max()),
                    "missing": len(values) - len(known),
                }
    return ranges


def _largest_ids(model: RankingModel, gradients: list) -> list[dict]:
    """The rows of the tables with the largest gradients: feature and id."""
    found = []
    tables = model.table_readers.values()
    for group, gradient in zip(tables, gradients, strict=True):
        group = [feature for feature in group if not feature.table]
        starts = np.cumsum([0, *(feature.rows for feature in group)])
        for row, norm in row_norms(gradient.indices, gradient.values):
            owner = int(np.searchsorted(starts, row, side="right")) - 1
            place = {"feature": group[owner].name, "id": int(row - starts[owner])}
            found.append({**place, "gradient_norm": norm})
    return largest_first(found)
