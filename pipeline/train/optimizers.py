"""The two optimizers of a config."""

from steadyrank.components.optimizers.schedules import Rates
from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS
from steadyrank.pipeline.config.training import DenseOptimizer, RowOptimizer


def make_optimizers(dense: DenseOptimizer, embedding: RowOptimizer, rates: Rates) -> tuple:
    """Optimizers of the dense weights, and of the tables.

    Args:
        dense: Section ``train.dense``.
        embedding: Section ``train.embedding``.
        rates: Their rates, numbers or schedules, L2 and Adam's constants, all of them at
            the batch size in use.
    """
    thresholds = {"threshold": dense.threshold} if dense.threshold else {}
    of_dense, of_rows = (
        rates.adam if section.optimizer == "adam" else {} for section in (dense, embedding)
    )
    return (
        DENSE_OPTIMIZERS[dense.optimizer](
            rates.dense_rate,
            clip=dense.clip,
            relative=dense.relative_threshold,
            absolute=dense.absolute_threshold,
            **thresholds,
            **of_dense,
        ),
        ROW_OPTIMIZERS[embedding.optimizer](
            rates.embedding_rate,
            clip=embedding.clip,
            r=embedding.r,
            zeta=embedding.zeta,
            l2=rates.embedding_l2,
            semantics=embedding.semantics,
            **of_rows,
        ),
    )
