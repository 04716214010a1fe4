"""The two optimizers of a config, and how their rates go."""

from collections.abc import Callable

from steadyrank.components.optimizers.schedules import Rates
from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS
from steadyrank.pipeline.config.sections import DenseOptimizer, RowOptimizer


def make_optimizers(
    dense: DenseOptimizer, embedding: RowOptimizer, rates: Rates, schedule: Callable
) -> tuple:
    """Optimizers of the dense weights, and of the tables.

    Args:
        dense: Section ``train.dense``.
        embedding: Section ``train.embedding``.
        rates: Their rates, L2 and Adam's constants at the batch size in use.
        schedule: Rate, and whether it warms up -> schedule.
    """
    thresholds = {"threshold": dense.threshold} if dense.threshold else {}
    of_dense, of_rows = (
        rates.adam if section.optimizer == "adam" else {} for section in (dense, embedding)
    )
    return (
        DENSE_OPTIMIZERS[dense.optimizer](
            schedule(rates.dense_rate, True),
            clip=dense.clip,
            relative=dense.relative_threshold,
            absolute=dense.absolute_threshold,
            **thresholds,
            **of_dense,
        ),
        ROW_OPTIMIZERS[embedding.optimizer](
            schedule(rates.embedding_rate, getattr(embedding, "warmup", False)),
            clip=embedding.clip,
            r=embedding.r,
            zeta=embedding.zeta,
            l2=rates.embedding_l2,
            semantics=embedding.semantics,
            **of_rows,
        ),
    )
