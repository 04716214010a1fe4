"""A model's weights on disk, without its optimizers."""

import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.models.trained import TrainedModel
from steadyrank.pipeline.files.errors import fault
from steadyrank.pipeline.files.publish import replace
from steadyrank.pipeline.train.checkpoints import UNREADABLE, found_in


def save_weights(model: TrainedModel, folder: Path) -> None:
    """Save a model's weights; the folder is replaced whole."""
    fresh = folder.with_name(folder.name + ".fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    saved = tf.train.Checkpoint(weights=model.saved_weights())
    saved.write(str(fresh / "weights"))
    replace(fresh, folder)


def load_weights(model: TrainedModel, folder: Path) -> None:
    """Load what ``save_weights`` saved.

    Raises:
        InputError: Nothing, or something else, is there.
    """
    weights = tf.train.Checkpoint(weights=model.saved_weights())
    try:
        status = weights.read(str(folder / "weights"))
        status.assert_existing_objects_matched().expect_partial()
    except UNREADABLE as error:
        first = str(error).strip().splitlines()[0]
        said = f"{folder} does not hold this model's weights: {first}"
        raise fault(said, error) from None


def load_best_or_latest(model: TrainedModel, folder: Path, ended: bool) -> None:
    """Load a phase's best weights; before it has ended, those of its last checkpoint.

    A run that diverged may have had its best epoch after the jump.

    Args:
        model: Compiled.
        folder: Of the phase.
        ended: Whether the run has.

    Raises:
        InputError: Neither is there, or they are another model's.
    """
    latest = next(iter(found_in(folder / "checkpoints")), None)
    if ended or latest is None:
        load_weights(model, folder / "best")
        return
    try:
        status = tf.train.Checkpoint(model=model).restore(latest)
        status.assert_existing_objects_matched().expect_partial()
    except UNREADABLE as error:
        first = str(error).strip().splitlines()[0]
        raise fault(f"{latest} does not hold this model: {first}", error) from None
    model.catch_up()


def parameter_counts(model: TrainedModel) -> dict[str, int]:
    """Dense and embedding parameters."""
    return {
        "dense": sum(int(np.prod(v.shape)) for v in model.dense_variables),
        "embedding": sum(int(np.prod(v.shape)) for v in model.embedding_variables),
    }
