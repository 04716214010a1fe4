"""Sequences whose next item depends on items at known distances: the truth is known.

N sequences, T positions, V items, numbered 1 to V.
"""

from dataclasses import dataclass

import numpy as np

from steadyrank.components.metrics.top_k import TopKMetrics


@dataclass(frozen=True)
class Planted:
    """``x_t = pi_j(x_{t - lag_j})`` with probability p_j, else an item by its popularity.

    The permutations pi_j are drawn once.  The first items, which have nothing so far
    behind them, come by popularity in that case: ``1 / (rank + 5)``, ids by rank.

    Args:
        items: V.
        length: T.
        lags: Distances, rising; the last is the reach of the structure.
        shares: p_j of each.
        seed: Of the permutations.
    """

    items: int = 200
    length: int = 48
    lags: tuple[int, ...] = (2, 20, 40)
    shares: tuple[float, ...] = (0.2, 0.25, 0.45)
    seed: int = 0

    @property
    def maps(self) -> np.ndarray:
        """The permutations, ``[lags, V]``, item i at i - 1."""
        random = np.random.default_rng(self.seed)
        return np.stack([random.permutation(self.items) + 1 for _ in self.lags])

    @property
    def popularity(self) -> np.ndarray:
        """Probability of each item where nothing else decides, ``[V]``."""
        weights = 1 / (np.arange(self.items) + 5.0)
        return weights / weights.sum()

    def sequences(self, count: int, seed: int) -> np.ndarray:
        """Sequences drawn from the truth: int32 ``[N, T]``."""
        random = np.random.default_rng([self.seed, seed])
        maps, x = self.maps, np.zeros([count, self.length], np.int32)
        for t in range(self.length):
            x[:, t] = random.choice(self.items, count, p=self.popularity) + 1
            chosen = np.searchsorted(np.cumsum(self.shares), random.random(count), "right")
            for j, lag in enumerate(self.lags):
                rows = np.flatnonzero(chosen == j) if lag <= t else []
                if len(rows):
                    x[rows, t] = maps[j][x[rows, t - lag] - 1]
        return x

    def probabilities(self, history: np.ndarray) -> np.ndarray:
        """True probability of each item to come next.

        Args:
            history: int ``[N, t]``.

        Returns:
            float64 ``[N, V]``.
        """
        count, t = history.shape
        rest = 1 - sum(p for p, lag in zip(self.shares, self.lags, strict=True) if lag <= t)
        found = np.tile(rest * self.popularity, [count, 1])
        for j, (lag, share) in enumerate(zip(self.lags, self.shares, strict=True)):
            if lag <= t:
                follows = self.maps[j][history[:, -lag] - 1]
                np.add.at(found, (np.arange(count), follows - 1), share)
        return found

    def next_items(self, history: np.ndarray, seed: int) -> np.ndarray:
        """The next item of each history, drawn from the truth: int32 ``[N]``.

        The history may come from other maps: then this is the item of another domain
        that depends on the same places of it.

        Args:
            history: int ``[N, t]``.
            seed: Of the draw.
        """
        chances = np.cumsum(self.probabilities(history), axis=1)
        drawn = np.random.default_rng([self.seed, seed]).random([len(history), 1])
        found = np.sum(chances < drawn * chances[:, -1:], axis=1)
        return (found + 1).astype(np.int32)

    def best(self, history: np.ndarray, reach: int | None = None, k: int = 5) -> dict:
        """Metrics that a ranking by the truth is expected to have, by name.

        Args:
            history: int ``[N, t]``.
            reach: How many of the last items the ranking may look at; None: all.
            k: As for ``TopKMetrics``.

        Returns:
            As ``TopKMetrics.result``.
        """
        truth = self.probabilities(history)
        known = tuple(
            share if reach is None or lag <= reach else 0.0
            for share, lag in zip(self.shares, self.lags, strict=True)
        )
        seen = Planted(self.items, self.length, self.lags, known, self.seed)
        order = np.argsort(-seen.probabilities(history), axis=1, kind="stable")[:, :k]
        chances = np.take_along_axis(truth, order, axis=1).mean(axis=0)
        metrics, total = TopKMetrics(k), np.zeros(3)
        for rank, chance in enumerate(chances):
            one = TopKMetrics(k)
            one.update([rank])
            total += chance * one.sums
        metrics.sums, metrics.rows = total, 1
        return metrics.result()
