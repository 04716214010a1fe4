"""What any model must beat: rankings by counts of the training split. NumPy alone.

V known items, ids 1 to V; 0 is padding, V + 1 the unknown item.
"""

from collections.abc import Iterable

import numpy as np

PENDING = 1 << 20  # pairs that wait, at least, before they are put with the others


class Popularity:
    """Scores of all items by how often each was seen.

    Args:
        counts: ``[V]``.
    """

    def __init__(self, counts: np.ndarray):
        self._counts = np.append(counts, 0.0).astype(np.float32)

    def __call__(self, history: np.ndarray) -> np.ndarray:
        """float32 ``[B, V + 1]`` for histories ``[B, T]``; all alike."""
        return np.tile(self._counts, [len(history), 1])


class Transitions:
    """Scores by how often each item came right after the newest one of the history.

    Items that came equally often are in the order of their popularity, and so are all
    after an item that nothing followed: the count is the whole number of a score, the
    popularity its fraction.  Rows are held by the pairs that there are, not as V by V.

    Args:
        parts: Training sequences, int ``[N, T]`` each, padded with 0 on the left.
        counts: ``[V]``, how often each item was seen.
    """

    def __init__(self, parts: Iterable[np.ndarray], counts: np.ndarray):
        items = len(counts)
        pairs, self._times = _counted(_pairs(rows, items) for rows in parts)
        first, self._after = np.divmod(pairs, items + 1)
        self._starts = np.searchsorted(first, np.arange(items + 3))
        popular = np.append(counts, 0.0).astype(np.float32)
        self._fraction = popular / (1.0 + popular.max(initial=0.0))

    def __call__(self, history: np.ndarray) -> np.ndarray:
        """float32 ``[B, V + 1]`` for histories ``[B, T]``, the newest item last."""
        newest = history[:, -1]
        scores = np.tile(self._fraction, [len(history), 1])
        starts, ends = self._starts[newest], self._starts[newest + 1]
        rows = np.repeat(np.arange(len(history)), ends - starts)
        begun = np.repeat(np.cumsum(ends - starts) - (ends - starts), ends - starts)
        place = np.arange(len(rows)) - begun + np.repeat(starts, ends - starts)
        scores[rows, self._after[place] - 1] += self._times[place]
        return scores


def _pairs(rows: np.ndarray, items: int) -> np.ndarray:
    """Known items of which one comes right after the other, each pair as one number."""
    before, after = rows[:, :-1].ravel(), rows[:, 1:].ravel()
    known = (before > 0) & (after > 0) & (before <= items) & (after <= items)
    return before[known].astype(np.int64) * (items + 1) + after[known]


def _counted(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The different numbers of all parts, ascending, and how often each comes."""
    values, times = np.zeros(0, np.int64), np.zeros(0, np.int64)
    waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def together() -> tuple[np.ndarray, np.ndarray]:
        every = np.concatenate([values, *(each for each, _ in waiting)])
        counts = np.concatenate([times, *(each for _, each in waiting)])
        order = np.argsort(every, kind="stable")
        every, counts = every[order], counts[order]
        first = np.flatnonzero(np.diff(every, prepend=-1))
        return every[first], np.add.reduceat(counts, first) if len(first) else counts

    for part in parts:
        waiting.append(np.unique(part, return_counts=True))
        if sum(len(each) for each, _ in waiting) > PENDING + len(values):
            values, times = together()
            waiting.clear()
    return together()
