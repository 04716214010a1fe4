"""Why a batch made training diverge: what each task, layer, feature and id asked for.

``diagnose`` looks at one batch through one model and changes nothing.  Training calls it
when a loss has not come back; ``steadyrank replay`` calls it for any step, later.

    steadyrank replay --config C --examples DIR --train DIR --epoch E --batch B
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.models.ranker import RankingModel
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.dataset import training_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.train.model import compiled_model, load_best_or_latest
from steadyrank.pipeline.train.warm_start import WarmStart

WORST = 5


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
    )
    for features, labels, masks, window in dataset.take(1):
        names = list(examples.windows("train"))
        return (features, labels, masks), names[int(tf.reduce_max(window))]
    raise InputError(f"epoch {epoch} has no batch {batch}; batches are counted from 0.")


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
        losses = model.task_losses(labels, masks, model.from_inputs(vectors, wide))
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
        "layers": _largest_layers(model.dense_variables, layers),
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


def _largest_layers(variables: Sequence, gradients: Sequence) -> dict[str, float]:
    norms = {
        v.name.split(":")[0]: float(tf.norm(g))
        for v, g in zip(variables, gradients, strict=True)
        if g is not None
    }
    return dict(sorted(norms.items(), key=lambda item: -np.nan_to_num(item[1], nan=np.inf)))


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


def _largest_ids(model: RankingModel, gradients: Sequence) -> list[dict]:
    """The rows of the tables with the largest gradients: feature and id."""
    found = []
    tables = model.inputs_layer.readers.values()
    for group, gradient in zip(tables, gradients, strict=True):
        group = [feature for feature in group if not feature.table]
        rows, inverse = np.unique(np.asarray(gradient.indices), return_inverse=True)
        summed = np.zeros((len(rows), gradient.values.shape[1]))
        np.add.at(summed, inverse, np.asarray(gradient.values, np.float64))
        norms = np.linalg.norm(summed, axis=1)
        starts = np.cumsum([0, *(feature.rows for feature in group)])
        for place in np.argsort(-np.nan_to_num(norms, nan=np.inf))[:WORST]:
            owner = int(np.searchsorted(starts, rows[place], side="right")) - 1
            name, row = group[owner].name, int(rows[place] - starts[owner])
            found.append({"feature": name, "id": row, "gradient_norm": float(norms[place])})
    return sorted(found, key=lambda item: -np.nan_to_num(item["gradient_norm"], nan=np.inf))


def first_clipped(lines: Sequence[dict], step: int, before: int = 10) -> str | None:
    """The layer whose clipping factor fell first before a jump: below half its median.

    Args:
        lines: Lines of the log up to the jump.
        step: The jump's step.
        before: Steps before the jump that count as its onset.

    Returns:
        The layer's name, or None where no factor fell.
    """
    steps = [line for line in lines if "clipping" in line]
    usual = [line["clipping"] for line in steps if line["step"] < step - before][-100:]
    for line in steps:
        if usual and step - before <= line["step"] <= step and line["clipping"]:
            fallen = {
                name: factor / np.median([factors.get(name, 1.0) for factors in usual])
                for name, factor in line["clipping"].items()
            }
            name = min(fallen, key=fallen.get)
            if fallen[name] < 0.5:
                return name
    return None


def replay(
    config: Config, examples_path: Path, train_path: Path, epoch: int, batch: int
) -> dict:
    """Look again at a batch of a training run, through that run's best weights.

    A run that has not ended is seen through its last checkpoint: of one that diverged,
    that is from before the loss jumped.

    Args:
        config: The run's config.
        examples_path: The example set it was trained on.
        train_path: What ``train`` wrote, or its ``.partial`` folder.
        epoch: Number of the pass, from 0; the log has it.
        batch: Number of the batch in the pass, from 0; the log has it.

    Returns:
        What ``diagnose`` gives, and the batch's window.

    Raises:
        InputError: There is no such batch, or no model of this config.
    """
    if not 0 <= epoch < config.train.epochs:
        raise InputError(
            f"--epoch must be one of the run's {config.train.epochs}, counted from 0. "
            f"Received: {epoch}."
        )
    examples = ExampleSet.open(examples_path)
    path = Path(train_path) / "schema.json"
    Schema.from_dict(read_json(path, "a trained model"), path)  # no next-item model's
    start = WarmStart.read(Path(train_path))
    examples = examples.only(start.windows) if start else examples
    model = compiled_model(config, agree(config, examples.schema))
    load_best_or_latest(model, Path(train_path))
    data, window = read_batch(config, examples, epoch, batch)
    return {"epoch": epoch, "batch": batch, "window": window, **diagnose(model, data)}
