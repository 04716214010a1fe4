"""torch-rechub: its own models and the epoch of its own trainers.

Their models have batch normalisation in every layer; their DeepFM reads its linear part
from the embeddings and has no weights of single ids.  Batches are ready in memory: no
``DataLoader`` collates them.  Adam with weight decay, as the trainers set it.
"""

import importlib.metadata
import os

import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE
from torch_rechub.models.ranking import DeepFM
from torch_rechub.trainers import CTRTrainer, MTLTrainer

VERSIONS = {
    "torch": torch.__version__,
    "torch-rechub": importlib.metadata.version("torch-rechub"),
}
DIM = 10

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))


class Trainer:
    """Trains on the rows in their order, again and again."""

    def __init__(self, model: str, rows: dict):
        sizes = rows["cardinalities"]
        sparse = [SparseFeature(f"C{i}", int(n), DIM) for i, n in enumerate(sizes)]
        features = [*sparse, DenseFeature("numbers", rows["dense"].shape[1])]
        self.single = model == "deepfm"
        if self.single:
            net = DeepFM(features, sparse, {"dims": [400, 400, 400]})
            self.trainer = CTRTrainer(net)
        else:
            kinds, towers = ["classification"] * 2, [{"dims": [64]}] * 2
            net = MMOE(features, kinds, 4, {"dims": [256, 128]}, towers)
            self.trainer = MTLTrainer(net, kinds)
        self.rows, self.batches = rows, {}

    def train(self, batch_size: int, steps: int) -> float:
        """Take steps; returns their mean loss."""
        if batch_size not in self.batches:
            self.batches[batch_size] = self._batches(batch_size)
        batches = self.batches[batch_size]
        some = [batches[step % len(batches)] for step in range(steps)]
        done = self.trainer.train_one_epoch(some)
        return float(np.mean(done))  # of two tasks a loss each

    def _batches(self, batch_size: int) -> list:
        ids = torch.from_numpy(self.rows["ids"].T.astype("int64"))
        numbers = torch.from_numpy(self.rows["dense"])
        labels = torch.from_numpy(self.rows["labels"])
        batches = []
        for start in range(0, len(labels), batch_size):
            part = slice(start, start + batch_size)
            features = {f"C{i}": column[part].clone() for i, column in enumerate(ids)}
            features["numbers"] = numbers[part].clone()
            batches.append((features, labels[part, 0] if self.single else labels[part]))
        return batches
