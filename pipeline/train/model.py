"""A config's model, compiled, and its weights on disk."""

import re
import shutil
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.components.optimizers.schedules import Backoff, WarmUp, scale
from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from steadyrank.models.ranker import RankingModel
from steadyrank.models.task_weighting import TaskWeighting
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import replace


def compiled_model(
    config: Config,
    schema: Schema,
    backoff=1.0,
    steps: int | None = None,
    begin: int = 0,
) -> RankingModel:
    """Build a model and its two optimizers, rates scaled to the batch size.

    Args:
        config: The run's config.
        schema: The model's schema.
        backoff: A variable that multiplies both learning rates, or a number.
        steps: Steps that training will take, for rates that decay.
        begin: Steps that the optimizers took in the run that this one continues.

    Returns:
        The compiled model, its weights at their start.
    """
    settings = config.train
    dense, embedding = settings.dense, settings.embedding
    rates = scale(
        settings.scaling,
        settings.batch_scale,
        embedding.learning_rate,
        embedding.l2,
        dense.learning_rate,
        dense.optimizer,
    )

    def rate(value: float, warms_up: bool = True) -> Backoff:
        end = steps if settings.decay == "linear" else None
        warmup = settings.warmup if warms_up else 0
        return Backoff(WarmUp(value, warmup, end=end, begin=begin), backoff)

    model = build_model(
        schema.features,
        schema.tasks,
        schema.score,
        config.model.model_dump(),
        settings.seed,
    )
    thresholds = {"threshold": dense.threshold} if dense.threshold else {}
    of_dense, of_rows = (
        rates.adam if section.optimizer == "adam" else {} for section in (dense, embedding)
    )
    model.compile(
        DENSE_OPTIMIZERS[dense.optimizer](
            rate(rates.dense_rate),
            clip=dense.clip,
            relative=dense.relative_threshold,
            absolute=dense.absolute_threshold,
            **thresholds,
            **of_dense,
        ),
        ROW_OPTIMIZERS[embedding.optimizer](
            rate(rates.embedding_rate, embedding.warmup),
            clip=embedding.clip,
            r=embedding.r,
            zeta=embedding.zeta,
            l2=rates.embedding_l2,
            semantics=embedding.semantics,
            **of_rows,
        ),
        task_weighting(config, model, steps),
    )
    return model


def task_weighting(config: Config, model: RankingModel, steps: int | None):
    """How the tasks' weights change, by the config; epochs are counted in steps."""
    settings = config.train.task_weights.model_dump()
    period = max((steps or 0) // config.train.epochs, 1)
    return TaskWeighting(model.tasks, settings.pop("method"), period, settings)


def save_weights(model: RankingModel, folder: Path) -> None:
    """Save a model's weights without its optimizers; the folder is replaced whole."""
    save_variables(_by_path(model), folder)


def save_variables(variables: dict[str, tf.Variable], folder: Path) -> None:
    """Save variables under their names; the folder is replaced whole."""
    fresh = folder.with_name(folder.name + ".fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    tf.train.Checkpoint(weights=variables).write(str(fresh / "weights"))
    replace(fresh, folder)


def load_weights(model: RankingModel, folder: Path) -> None:
    """Load what ``save_weights`` saved.

    Raises:
        InputError: Nothing, or something else, is there.
    """
    load_variables(_by_path(model), folder)


def load_best_or_latest(model: RankingModel, trained: Path) -> None:
    """Load a run's best weights; of one that has not ended, those of its last checkpoint.

    A run that diverged may have had its best epoch after the jump.

    Args:
        model: Compiled.
        trained: What ``train`` wrote, or its ``.partial`` folder.

    Raises:
        InputError: Neither is there, or they are another model's.
    """
    latest = tf.train.latest_checkpoint(str(trained / "checkpoints"))
    if (trained / "train.json").exists() or latest is None:
        load_weights(model, trained / "best")
        return
    try:
        status = tf.train.Checkpoint(model=model).restore(latest)
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{latest} does not hold this model: {first}") from None
    model.catch_up()


def load_variables(variables: dict[str, tf.Variable], folder: Path) -> None:
    """Load what ``save_variables`` saved; see ``load_weights``."""
    weights = tf.train.Checkpoint(weights=variables)
    try:
        status = weights.read(str(folder / "weights"))
        status.assert_existing_objects_matched().expect_partial()
    except (tf.errors.OpError, AssertionError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{folder} does not hold this model's weights: {first}") from None


def _by_path(model: RankingModel) -> dict[str, tf.Variable]:
    # layers within layers of other libraries are numbered by Keras, process by process
    variables = [*model.dense_variables, *model.embedding_variables]
    names = [re.sub(r"_\d+(?=/)", "", v.name.split(":")[0]) for v in variables]
    return {
        f"{i}/{name}": v for i, (name, v) in enumerate(zip(names, variables, strict=True))
    }


def parameter_counts(model: RankingModel) -> dict[str, int]:
    """Dense and embedding parameters."""
    return {
        "dense": sum(int(np.prod(v.shape)) for v in model.dense_variables),
        "embedding": sum(int(np.prod(v.shape)) for v in model.embedding_variables),
    }
