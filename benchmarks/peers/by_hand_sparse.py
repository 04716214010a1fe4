"""PyTorch by hand where only the rows of a batch are touched: its fastest on many ids.

All fields lie in one table, so that a batch is one look-up and its gradient one sparse
tensor; ``SparseAdam`` updates the rows that it holds, the fused Adam the rest.  SparseAdam
has no weight decay: L2 is on the vectors that a batch reads, in the loss.
"""

import torch
from torch import nn

from benchmarks.peers import by_hand

VERSIONS = by_hand.VERSIONS
L2 = 1e-5


class OneTable(nn.Module):
    """The rows of all fields, one field after the other."""

    def __init__(self, sizes, dim: int):
        super().__init__()
        self.table = nn.Embedding(int(sum(sizes)), dim, sparse=True)
        nn.init.normal_(self.table.weight, std=1e-2)
        counts = torch.tensor([0, *(int(size) for size in sizes[:-1])])
        self.register_buffer("firsts", counts.cumsum(0))

    def forward(self, ids):
        """``[B, fields]`` to ``[B, fields, dim]``."""
        self.read = self.table(ids + self.firsts)
        return self.read


class Trainer(by_hand.Trainer):
    """The same models and rows."""

    FIELDS = OneTable

    def _optimizers(self, tables: list, dense: list) -> list:
        self.fields = [each for each in self.net.modules() if isinstance(each, OneTable)]
        return [
            torch.optim.SparseAdam(tables, lr=1e-3),
            torch.optim.Adam(dense, lr=1e-3, fused=True),
        ]

    def penalty(self):
        """L2 of what the batch read, once a reading, over its rows."""
        return L2 * sum(each.read.square().sum() / len(each.read) for each in self.fields)
