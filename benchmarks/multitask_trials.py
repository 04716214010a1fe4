"""Training runs of the multitask study: a split in memory, a model, epochs, measures."""

import dataclasses
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from models.ranker import RankingModel
from pipeline.config import Config
from pipeline.dataset import evaluation_dataset
from pipeline.example_set import ExampleSet, Schema
from pipeline.measure import measure
from pipeline.model import compiled_model

EVALUATION_ROWS = 16_384


@dataclasses.dataclass(frozen=True)
class Columns:
    """A split in memory: features, labels and masks by name, ``[rows, ...]``."""

    features: dict
    labels: dict
    masks: dict

    @classmethod
    def read(cls, examples: ExampleSet, split: str) -> "Columns":
        batches = list(evaluation_dataset(examples, split, EVALUATION_ROWS))
        return cls(*tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *batches))

    @property
    def rows(self) -> int:
        return int(next(iter(self.labels.values())).shape[0])

    def of(self, schema: Schema) -> tuple[dict, dict, dict]:
        """What a model of some of the features and tasks reads."""
        tasks = [task.name for task in schema.tasks]
        return (
            {f.name: self.features[f.name] for f in schema.features},
            {name: self.labels[name] for name in tasks},
            {name: self.masks[name] for name in tasks},
        )


class Trial:
    """One model on one training split.

    Args:
        config: What to build and how to train it.
        schema: The model's schema.
        columns: Split -> its rows.
    """

    def __init__(self, config: Config, schema: Schema, columns: dict[str, Columns]):
        self.config, self.schema = config, schema
        self.columns = {name: split.of(schema) for name, split in columns.items()}
        self.rows = columns["train"].rows
        settings = config.train
        self.per_epoch = -(-self.rows // settings.batch_size)
        steps = self.per_epoch * settings.epochs
        self.model: RankingModel = compiled_model(config, schema, steps=steps)
        self._step = tf.function(self._step_on, autograph=False, reduce_retracing=True)
        self._predict = tf.function(
            self.model.predict_tasks, autograph=False, reduce_retracing=True
        )

    def _step_on(self, rows):
        batch = tf.nest.map_structure(
            lambda values: tf.gather(values, rows), self.columns["train"]
        )
        return self.model.train_step(batch)["loss"]

    def epochs(self, splits=("validation", "test")) -> Iterator[dict]:
        """Train, and after each epoch give every split's measures by task."""
        size, began = self.config.train.batch_size, time.monotonic()
        for epoch in range(self.config.train.epochs):
            random = np.random.default_rng([self.config.train.seed, epoch])
            order = tf.constant(random.permutation(self.rows), tf.int32)
            losses = [
                self._step(order[start : start + size])
                for start in range(0, self.rows, size)
            ]
            loss = float(tf.reduce_mean(tf.stack(losses)))
            seconds = round(time.monotonic() - began, 1)
            found = {split: self.measure(split) for split in splits}
            yield {"epoch": epoch + 1, "loss": loss, "seconds": seconds, **found}

    def outputs(self, split: str) -> dict[str, np.ndarray]:
        """Predictions of a split by task."""
        features, parts = self.columns[split][0], []
        rows = int(next(iter(features.values())).shape[0])
        for start in range(0, rows, EVALUATION_ROWS):
            batch = {k: v[start : start + EVALUATION_ROWS] for k, v in features.items()}
            parts.append({k: v.numpy() for k, v in self._predict(batch).items()})
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def measure(self, split: str) -> dict[str, dict]:
        """Task -> its metrics on a split."""
        _, labels, masks = self.columns[split]
        labels, masks = (
            {k: v.numpy() for k, v in part.items()} for part in (labels, masks)
        )
        return measure(self.schema.tasks, labels, masks, self.outputs(split))
