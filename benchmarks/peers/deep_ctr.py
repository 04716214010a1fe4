"""DeepCTR: its own models, ``compile`` and ``fit`` of Keras, its default penalty.

``fit`` reads ready batches from ``tf.data``, which is faster than to let it slice
arrays row by row.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import deepctr
import numpy as np
import tensorflow as tf
from deepctr.feature_column import DenseFeat, SparseFeat
from deepctr.models import MMOE, DeepFM

VERSIONS = {"deepctr": deepctr.__version__, "deepctr's tensorflow": tf.__version__}
DIM = 10


class Trainer:
    """Trains on the rows in their order, again and again."""

    def __init__(self, model: str, rows: dict):
        sizes = rows["cardinalities"]
        columns = [SparseFeat(f"C{i}", int(n), DIM) for i, n in enumerate(sizes)]
        columns += [DenseFeat("numbers", rows["dense"].shape[1])]
        if model == "deepfm":
            self.model = DeepFM(columns, columns, dnn_hidden_units=(400, 400, 400))
        else:
            self.model = MMOE(columns, num_experts=4, task_names=("y0", "y1"))
        self.model.compile("adam", "binary_crossentropy")
        self.tasks = 1 if model == "deepfm" else 2
        self.rows, self.datasets = rows, {}

    def train(self, batch_size: int, steps: int) -> float:
        """Take steps; returns their mean loss, without the penalty, which is small."""
        if batch_size not in self.datasets:
            self.datasets[batch_size] = self._dataset(batch_size)
        dataset = self.datasets[batch_size]
        history = self.model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
        return float(history.history["loss"][0])

    def _dataset(self, batch_size: int) -> tf.data.Dataset:
        ids, numbers, labels = (self.rows[n] for n in ("ids", "dense", "labels"))

        def batched(column: np.ndarray) -> np.ndarray:
            return column.reshape(-1, batch_size, 1)

        features = {f"C{i}": batched(column) for i, column in enumerate(ids.T)}
        features["numbers"] = numbers.reshape(-1, batch_size, numbers.shape[1])
        targets = tuple(batched(column) for column in labels.T[: self.tasks])
        pairs = (features, targets if self.tasks > 1 else targets[0])
        return tf.data.Dataset.from_tensor_slices(pairs).repeat().prefetch(2)
