"""This project's side: the step that ``train`` runs, on batches in memory."""

import steadyrank.components  # noqa: F401  (sets TensorFlow's environment: comes first)

# isort: split
import tensorflow as tf

from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from steadyrank.models.features import Feature, Task
from steadyrank.models.ranker import RankingModel
from steadyrank.pipeline.train.logged_step import LoggedStep

VERSIONS = {"tensorflow": tf.__version__}
DIM = 10
MODELS = {
    "deepfm": {
        "trunk": "deepfm",
        "embedding_dim": DIM,
        "deep_units": [400, 400, 400],
        "tower_units": [],
    },
    "mmoe": {
        "trunk": "mmoe",
        "embedding_dim": DIM,
        "experts": 4,
        "expert_units": [256, 128],
        "tower_units": [64],
    },
}
TASKS = {"deepfm": [Task("y0", mean=0.25)]}
TASKS["mmoe"] = [*TASKS["deepfm"], Task("y1", mean=0.125)]
SEED = 1


def build(model: str, cardinalities) -> RankingModel:
    """The model, its weights at their start.

    Args:
        model: ``"deepfm"`` or ``"mmoe"``.
        cardinalities: Ids of each categorical field, at least 2.
    """
    # of the rows of a table two are those of missing and of unknown values
    features = [
        Feature(f"C{i}", "categorical", DIM, "integer", vocabulary_size=int(size) - 2)
        for i, size in enumerate(cardinalities)
    ]
    features += [Feature(f"I{i}", "numeric") for i in range(13)]
    tasks = TASKS[model]
    score = " * ".join(task.name for task in tasks)
    return build_model(features, tasks, score, MODELS[model], seed=SEED)


class Trainer:
    """Trains on the rows in their order, again and again."""

    def __init__(self, model: str, rows: dict):
        self.model = build(model, rows["cardinalities"])
        self.model.compile(
            DENSE_OPTIMIZERS["adam"](1e-3, clip="none"),
            ROW_OPTIMIZERS["adam"](1e-3, clip="cowclip", l2=1e-5),
        )
        self.step = LoggedStep(self.model, tf.distribute.get_strategy())
        self.rows, self.batches = rows, {}

    def train(self, batch_size: int, steps: int) -> float:
        """Take steps; returns their mean loss."""
        if batch_size not in self.batches:
            self.batches[batch_size] = self._batches(batch_size)
        batches, lines = self.batches[batch_size], []
        for step in range(steps):
            lines.append(self.step(batches[step % len(batches)]))
        told = [self.step.line(values, [""]) for values in tf.stack(lines).numpy()]
        return sum(line["loss"] for line in told) / steps

    def _batches(self, batch_size: int) -> list:
        ids, numbers, labels = (self.rows[n] for n in ("ids", "numbers", "labels"))
        names = [task.name for task in self.model.tasks]
        batches = []
        for start in range(0, len(ids), batch_size):
            part = slice(start, start + batch_size)
            features = {f"C{i}": tf.constant(ids[part, i]) for i in range(ids.shape[1])}
            features |= {f"I{i}": tf.constant(numbers[part, i]) for i in range(13)}
            targets = {n: tf.constant(labels[part, i]) for i, n in enumerate(names)}
            masks = {name: tf.ones([batch_size]) for name in names}
            windows = tf.zeros([batch_size], tf.int32)
            batches.append((features, targets, masks, windows))
        return batches
