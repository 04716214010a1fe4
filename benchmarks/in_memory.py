"""Criteo-shaped rows in memory, and models that train on them: for studies of batch size.

What ``train`` does is done here without files: the same models, optimizers and step.
"""

import time
from collections.abc import Iterator, Mapping

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import numpy as np
import tensorflow as tf

from benchmarks.criteo import CriteoShaped
from steadyrank.components.batch_function import BatchFunction
from steadyrank.components.metrics import grouped as metrics
from steadyrank.models.build import build_model
from steadyrank.models.features import Feature, Task, transform_numbers
from steadyrank.models.ranker import RankingModel

DIM = 10
TASK = "click"
EVALUATION_ROWS = 16_384


def features_of(data: CriteoShaped, rows: int) -> list[Feature]:
    """Features, their statistics from the first rows alone."""
    features = []
    for i, column in enumerate(data.numbers[:rows].T):
        known = transform_numbers("log1p", column[~np.isnan(column)], np)
        statistics = {"mean": float(known.mean()), "std": float(known.std())}
        features.append(Feature(f"I{i}", "numeric", transform="log1p", **statistics))
    for i, size in enumerate(data.cardinalities):
        # of the rows of a table two are those of missing and of unknown values
        known = {"raw": "integer", "vocabulary_size": int(size) - 2}
        features.append(Feature(f"C{i}", "categorical", DIM, **known))
    return features


def model_of(features: list[Feature], settings: Mapping, seed: int) -> RankingModel:
    """A model of one task with all its weights, not compiled."""
    task = Task(TASK, mean=0.25)
    settings = {"embedding_dim": DIM, "tower_units": [], **settings}
    return build_model(features, [task], TASK, settings, seed=seed)


def named(ids, numbers) -> dict:
    """The batch of a model: int ``[B, 26]`` and float ``[B, 13]``, by feature."""
    batch = {f"I{i}": each for i, each in enumerate(tf.unstack(numbers, axis=1))}
    batch.update({f"C{i}": each for i, each in enumerate(tf.unstack(ids, axis=1))})
    return batch


class Trainer:
    """Trains a compiled model on rows in memory.

    Args:
        model: The model.
        data: The rows.
    """

    def __init__(self, model: RankingModel, data: CriteoShaped):
        self.model, self.data = model, data
        self._step = BatchFunction(self._take)
        self._score = BatchFunction(lambda ids, numbers: model(named(ids, numbers))[TASK])

    def _take(self, ids, numbers, labels):
        masks = {TASK: tf.ones_like(labels)}
        logs = self.model.train_step((named(ids, numbers), {TASK: labels}, masks))
        return logs["loss"], tf.stack(list(logs["clipped_rows"].values()))

    def step(self, rows: np.ndarray):
        """One step on some rows: the loss, and the clipped fraction of each table."""
        data = self.data
        return self._step(data.ids[rows], data.numbers[rows], data.labels[rows])

    def epoch(self, rows: range, batch_size: int, seed: int) -> dict:
        """One pass in a random order, the remainder left out.

        Returns:
            ``seconds``, ``loss`` and ``clipped_rows``, means over the steps.
        """
        began, found = time.monotonic(), []
        for batch in batches(rows, batch_size, seed):
            found.append(self.step(batch))
        losses, clipped = (np.mean([f[i] for f in found], axis=0) for i in (0, 1))
        tables = self.model.inputs_layer.tables
        return {
            "seconds": time.monotonic() - began,
            "loss": float(losses),
            "clipped_rows": dict(zip(tables, np.atleast_1d(clipped).tolist(), strict=True)),
        }

    def auc(self, rows: range) -> float:
        """AUC on some rows, of the weights as they are."""
        self.model.catch_up()
        scores = [
            self._score(self.data.ids[start:end], self.data.numbers[start:end])
            for start in range(rows.start, rows.stop, EVALUATION_ROWS)
            for end in [min(start + EVALUATION_ROWS, rows.stop)]
        ]
        return metrics.auc(self.data.labels[rows.start : rows.stop], np.concatenate(scores))


def batches(rows: range, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Places of the rows of each whole batch, in a random order."""
    order = np.random.default_rng(seed).permutation(len(rows)) + rows.start
    for start in range(0, len(rows) - batch_size + 1, batch_size):
        yield order[start : start + batch_size]
