"""PyTorch by hand, in the form in which such models are mostly written.

``nn.Embedding`` for each field, a dense gradient for each table and Adam over all
weights: so FuxiCTR trains, for one.  In the favour of this side, Adam is the fused one,
which PyTorch does not choose by itself on a CPU, L2 is its weight decay, and there is
no clipping of the gradient's norm, another pass over all weights.
"""

import os

import torch
from torch import nn

VERSIONS = {"torch": torch.__version__}
DIM = 10
NUMBERS = 26  # with the flags of those that are missing

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))


def mlp(inputs: int, units: list[int], final: bool = True) -> nn.Sequential:
    layers = []
    for width in units:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, *([nn.Linear(inputs, 1)] if final else []))


class Fields(nn.Module):
    """A table for each field."""

    def __init__(self, sizes, dim: int):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(int(size), dim) for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=1e-2)

    def forward(self, ids):
        """``[B, fields]`` to ``[B, fields, dim]``."""
        return torch.stack([table(ids[:, i]) for i, table in enumerate(self.tables)], 1)


class DeepFM(nn.Module):
    """Linear, factorisation machine and network, added up (Guo et al., IJCAI'17)."""

    def __init__(self, sizes, fields=Fields):
        super().__init__()
        self.embed, self.linear = fields(sizes, DIM), fields(sizes, 1)
        self.numbers = nn.Linear(NUMBERS, 1)
        self.deep = mlp(len(sizes) * DIM + NUMBERS, [400, 400, 400])

    def forward(self, ids, numbers):
        """``[B, 1]`` logits."""
        vectors = self.embed(ids)
        squares = vectors.sum(1).square() - vectors.square().sum(1)
        linear = self.linear(ids).sum(1) + self.numbers(numbers)
        deep = self.deep(torch.cat([vectors.flatten(1), numbers], 1))
        return linear + 0.5 * squares.sum(1, keepdim=True) + deep


class MMoE(nn.Module):
    """Two tasks with a gate each over four experts (Ma et al., KDD'18)."""

    def __init__(self, sizes, fields=Fields):
        super().__init__()
        self.embed, inputs = fields(sizes, DIM), len(sizes) * DIM + NUMBERS
        self.experts = nn.ModuleList(mlp(inputs, [256, 128], False) for _ in range(4))
        self.gates = nn.ModuleList(nn.Linear(inputs, 4, bias=False) for _ in range(2))
        self.towers = nn.ModuleList(mlp(128, [64]) for _ in range(2))

    def forward(self, ids, numbers):
        """``[B, 2]`` logits."""
        inputs = torch.cat([self.embed(ids).flatten(1), numbers], 1)
        experts = torch.stack([expert(inputs) for expert in self.experts], 1)
        logits = []
        for gate, tower in zip(self.gates, self.towers, strict=True):
            weights = gate(inputs).softmax(1).unsqueeze(1)
            logits.append(tower((weights @ experts).squeeze(1)))
        return torch.cat(logits, 1)


class Trainer:
    """Trains on the rows in their order, again and again."""

    FIELDS = Fields

    def __init__(self, model: str, rows: dict):
        self.tasks = 1 if model == "deepfm" else 2
        made = {"deepfm": DeepFM, "mmoe": MMoE}[model]
        self.net = made(rows["cardinalities"], self.FIELDS)
        fields = [each for each in self.net.modules() if isinstance(each, self.FIELDS)]
        tables = [weights for each in fields for weights in each.parameters()]
        known = {id(table) for table in tables}
        dense = [p for p in self.net.parameters() if id(p) not in known]
        self.optimizers = self._optimizers(tables, dense)
        self.loss = nn.BCEWithLogitsLoss()
        self.rows, self.batches = rows, {}

    def _optimizers(self, tables: list, dense: list) -> list:
        groups = [{"params": tables, "weight_decay": 2e-5}, {"params": dense}]
        return [torch.optim.Adam(groups, lr=1e-3, fused=True)]

    def penalty(self):
        """What is added to the loss: the optimizer sees to L2."""
        return 0.0

    def train(self, batch_size: int, steps: int) -> float:
        """Take steps; returns their mean loss."""
        if batch_size not in self.batches:
            self.batches[batch_size] = self._batches(batch_size)
        batches, total = self.batches[batch_size], torch.zeros(())
        for step in range(steps):
            ids, numbers, labels = batches[step % len(batches)]
            loss = self.loss(self.net(ids, numbers), labels)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            (loss + self.penalty()).backward()
            for optimizer in self.optimizers:
                optimizer.step()
            total += loss.detach()
        return float(total) / steps

    def _batches(self, batch_size: int) -> list:
        ids = torch.from_numpy(self.rows["ids"].astype("int64"))
        numbers = torch.from_numpy(self.rows["dense"])
        labels = torch.from_numpy(self.rows["labels"][:, : self.tasks].copy())
        parts = (tensor.split(batch_size) for tensor in (ids, numbers, labels))
        return list(zip(*parts, strict=True))
