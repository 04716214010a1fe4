"""A config's ranking model, compiled."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from steadyrank.components.optimizers.schedules import Backoff, WarmUp, scale
from steadyrank.models.build import build_model
from steadyrank.models.ranker import RankingModel
from steadyrank.models.task_weighting import TaskWeighting
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.train.optimizers import make_optimizers
from steadyrank.pipeline.train.warm_start import Stretch
from steadyrank.pipeline.train.weights import load_weights


def compiled_model(
    config: Config,
    schema: Schema,
    backoff=1.0,
    steps: int | None = None,
    *,
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
        dense_rate=dense.learning_rate,
        dense_optimizer=dense.optimizer,
    )

    def rate(value: float, warms_up: bool) -> Backoff:
        end = steps if settings.decay == "linear" else None
        warmup = settings.warmup if warms_up else 0
        return Backoff(WarmUp(value, warmup, end=end, begin=begin), backoff)

    model = build_model(
        schema.features,
        schema.tasks,
        schema.score,
        config.model.model_dump(),
        seed=settings.seed,
        precision=settings.precision,
    )
    rates = rates._replace(
        dense_rate=rate(rates.dense_rate, True),
        embedding_rate=rate(rates.embedding_rate, embedding.warmup),
    )
    optimizers = make_optimizers(dense, embedding, rates)
    weighting = task_weighting(config, model, steps)
    further = {"spike_guard": settings.spike_guard, "average": settings.average}
    model.compile(*optimizers, weighting, **further)
    return model


def best_model(config: Config, schema: Schema, trained: Path) -> RankingModel:
    """A trained model with the weights that did best, not compiled."""
    model = build_model(
        schema.features,
        schema.tasks,
        schema.score,
        config.model.model_dump(),
        seed=config.train.seed,
    )
    load_weights(model, trained / "best")
    return model


def shared_rows(
    model: RankingModel, before: Schema, moved: Mapping | None = None
) -> list[tuple]:
    """Rows that a model has in common with one of fewer known values.

    Args:
        model: The model.
        before: The other's schema, of the same features.
        moved: Feature -> lines of its vocabulary that are of another value now.

    Returns:
        ``pipeline.train.warm_start.Tables``: each table's parts, a feature each.
    """
    old, readers, found = {f.name: f for f in before.features}, model.table_readers, []
    for name, table in model.table_layers.items():
        own = [feature for feature in readers[name] if not feature.table]
        sizes = [(old[feature.name].rows, feature.rows) for feature in own]
        starts = np.cumsum([(0, 0), *sizes], axis=0)[:-1].tolist()
        others = [
            tuple(f.ids.of_line(line) for line in (moved or {}).get(f.name, ()))
            for f in own
        ]
        rows = zip(starts, sizes, others, strict=True)
        parts = [Stretch(*start, *size, lines) for start, size, lines in rows]
        found.append((table.embeddings, parts))
    return found


def task_weighting(config: Config, model: RankingModel, steps: int | None):
    """How the tasks' weights change, by the config; epochs are counted in steps."""
    settings = config.train.task_weights.model_dump()
    period = max((steps or 0) // config.train.epochs, 1)
    return TaskWeighting(model.tasks, settings.pop("method"), period, settings)
