"""MovieLens-small as sequences: by user, in the order of time, split and left-padded."""

import csv
from pathlib import Path

import numpy as np

from benchmarks.stacking_trials import Split

SHARES = (0.8, 0.1)  # of the sequences for training and validation; the rest is test


def movielens_split(
    path: Path, length: int = 20, min_count: int = 5, shortest: int = 5, seed: int = 10
) -> Split:
    """Whole sequences go to one part each, drawn at random, as in StackRec's code.

    Unlike there, validation and test are different sequences.

    Args:
        path: ``ratings.csv``.
        length: T; a longer history is cut into pieces, the newest of which is whole.
        min_count: Rated less often, a movie is left out.
        shortest: Shorter pieces are left out.
        seed: Of the draw.

    Returns:
        Parts ``[N, T]``; ids 1 to V by falling number of ratings, 0 is padding.
    """
    with path.open(encoding="utf-8") as file:
        rows = [
            (int(r["userId"]), int(r["timestamp"]), int(r["movieId"]))
            for r in csv.DictReader(file)
        ]
    user, _, movie = np.array(sorted(rows)).T
    movies, counts = np.unique(movie, return_counts=True)
    order = np.argsort(-counts, kind="stable")[: np.sum(counts >= min_count)]
    ids = np.zeros(movies.max() + 1, np.int32)
    ids[movies[order]] = np.arange(len(order)) + 1
    kept = ids[movie] > 0
    starts = np.flatnonzero(np.diff(user[kept])) + 1
    pieces = [
        piece
        for history in np.split(ids[movie[kept]], starts)
        for piece in cut(history, length)
        if np.count_nonzero(piece) >= shortest
    ]
    pieces = np.stack(pieces)[np.random.default_rng(seed).permutation(len(pieces))]
    ends = np.cumsum([int(share * len(pieces)) for share in SHARES])
    return Split(*np.split(pieces, ends), items=len(order))


def cut(history: np.ndarray, length: int) -> np.ndarray:
    """A history in pieces ``[N, T]`` from its end, the oldest padded with 0 on the left."""
    short = -len(history) % length
    return np.pad(history, [short, 0]).reshape(-1, length)
