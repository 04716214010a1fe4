"""Why a batch made training diverge: what each task, layer and id asked for.

A kind's ``diagnose`` looks at one batch through one model and changes nothing.  Training
calls it when a loss has not come back; ``steadyrank replay`` calls it for any step, later.

    steadyrank replay --config C --examples DIR --train DIR --epoch E --batch B
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.models.trained import TrainedModel
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.kinds.protocol import Kind, Setting
from steadyrank.pipeline.train.weights import load_best_or_latest

WORST = 5


def layer_norms(model: TrainedModel, gradients: Sequence) -> dict[str, float]:
    """Gradient norm of each dense variable, the largest first."""
    norms = {
        model.log_name(v): float(tf.norm(g))
        for v, g in zip(model.dense_variables, gradients, strict=True)
        if g is not None
    }
    return dict(sorted(norms.items(), key=lambda item: -np.nan_to_num(item[1], nan=np.inf)))


def row_norms(rows, gradients) -> list[tuple[int, float]]:
    """The rows of a table with the largest gradients, and how large these are.

    Args:
        rows: int ``[N]``, repeated ones too.
        gradients: float ``[N, D]``.
    """
    unique, inverse = np.unique(np.asarray(rows), return_inverse=True)
    summed = np.zeros((len(unique), gradients.shape[1]))
    np.add.at(summed, inverse, np.asarray(gradients, np.float64))
    norms = np.linalg.norm(summed, axis=1)
    places = np.argsort(-np.nan_to_num(norms, nan=np.inf))[:WORST]
    return [(int(unique[place]), float(norms[place])) for place in places]


def largest_first(found: list[dict]) -> list[dict]:
    """Entries with a ``gradient_norm`` in order, NaN before all."""
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
    config,
    examples_path: Path,
    train_path: Path,
    *,
    kind: Kind,
    epoch: int,
    batch: int,
    phase: int | None = None,
) -> dict:
    """Look again at a batch of a training run, through that run's best weights.

    A run that has not ended is seen through its last checkpoint: of one that diverged,
    that is from before the loss jumped.

    Args:
        config: The run's config.
        examples_path: The examples it was trained on.
        train_path: What ``train`` wrote, or its ``.partial`` folder.
        kind: Of the model.
        epoch: Number of the pass, from 0; the log has it.
        batch: Number of the batch in the pass, from 0; the log has it.
        phase: Of a run in phases, its number, from 0; None: the last that has begun.

    Returns:
        What the kind's ``diagnose`` gives, and the batch's place.

    Raises:
        InputError: There is no such batch, or no model of this config.
    """
    examples, trained = kind.open_examples(examples_path), Path(train_path)
    path = trained / "schema.json"
    kind.read_schema(read_json(path, "a trained model"), path)  # of the same kind
    schema, strategy = kind.agree(config, examples.schema), tf.distribute.get_strategy()
    setting = Setting(config, schema, examples, trained, strategy)
    chosen = _chosen(kind.phases(setting), phase)
    if epoch < 0 or (chosen.epochs is not None and epoch >= chosen.epochs):
        raise InputError(
            f"--epoch must be one of the run's {chosen.epochs}, counted from 0. "
            f"Received: {epoch}."
        )
    learner = kind.learner(setting, chosen, 1.0)
    ended = (trained / "train.json").exists()
    load_best_or_latest(learner.model, chosen.folder, ended)
    return {"epoch": epoch, "batch": batch, **learner.diagnose(epoch, batch)}


def _chosen(phases: Sequence, number: int | None):
    begun = [phase for phase in phases if (phase.folder / "checkpoints").exists()]
    if number is None:
        return (begun or phases)[-1]
    found = [phase for phase in begun if phase.number == number]
    if not found:
        known = [phase.number for phase in begun if phase.number is not None]
        raise InputError(
            f"--phase must be one of those that have begun: {known or 'none'}. "
            f"Received: {number}."
        )
    return found[0]


def headline(record: dict) -> str:
    """That it diverged, and where, in a sentence."""
    loss = "not finite" if record["loss"] is None else f"{record['loss']:.4g}"
    return (
        f"Training diverged: at step {record['step']} the loss was {loss}, after a median "
        f"of {record['median'] or float('nan'):.4g}, and did not come back."
    )


def explain(record: dict, folder: Path, number: int) -> str:
    """Why it diverged, what to change, and where the diagnosis is: the ``number``-th."""
    worst = max(record["tasks"], key=lambda task: record["tasks"][task]["gradient_norm"])
    layer = record["first_clipped"]
    phase = f"phase {record['phase']}, " if "phase" in record else ""
    fell = f" The clipping factor of {layer} fell first." if layer else ""
    return (
        f"{headline(record)} It began in {phase}epoch {record['epoch']}, batch "
        f"{record['batch']}, window {record['window']}; task {worst} pulled hardest."
        f"{fell} Lower "
        "train.dense.learning_rate, or clip (train.dense.clip: clippy). "
        f"{original(folder)}: divergence-{number}.json has the diagnosis."
    )
