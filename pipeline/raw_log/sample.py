"""A sample of a log, from all over it."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.open import Log

SAMPLE_ROWS, PIECES, BATCHES = 200_000, 32, 64
LAST = 4  # pieces that every sample has: of the days that validation and test are of
MOST_ROWS = 200_000  # of a batch, about: those of text have the most


def sampled(log: Log) -> Iterator[tuple[str, Batch]]:
    """Files, and some of their rows: of pieces from all over the log every so many.

    Every piece is read as far as every other, so that no later one is left out.

    Args:
        log: Any.
    """
    chosen, step = _chosen(len(log.pieces)), _step(log)
    for place in chosen:
        piece = log.pieces[place]
        for batch in itertools.islice(piece.batches(), _batches(log)):
            places = np.arange(0, len(batch.table), step)
            malformed = batch.malformed
            if malformed is not None:
                malformed = malformed.take(np.arange(0, len(malformed), step))
            yield (
                piece.path,
                Batch(batch.table.take(places), batch.lines[places], malformed),
            )


def is_whole(log: Log, batches: Sequence[tuple[str, Batch]]) -> bool:
    """Whether a sample is certain to be all rows of a log."""
    return is_of_all_batches(log, batches) and _step(log) == 1


def is_of_all_batches(log: Log, batches: Sequence[tuple[str, Batch]]) -> bool:
    """Whether a sample is certain to have rows of every batch of a log."""
    read = Counter(path for path, _ in batches)
    pieces = Counter(piece.path for piece in log.pieces)
    ended = all(count < _batches(log) * pieces[path] for path, count in read.items())
    return len(log.pieces) <= PIECES and ended


def _chosen(pieces: int) -> list[int]:
    """Which pieces are read, rising: spread over all, and the last ones."""
    if pieces <= PIECES:
        return list(range(pieces))
    spread = np.linspace(0, pieces - 1, PIECES - LAST).astype(int)
    return np.union1d(spread, np.arange(pieces - LAST, pieces)).tolist()


def _batches(log: Log) -> int:
    """How many batches of each piece are read, at most."""
    return BATCHES // min(PIECES, len(log.pieces))


def _step(log: Log) -> int:
    """Of so many rows one is taken."""
    rows = log.rows * min(PIECES, len(log.pieces)) / len(log.pieces)
    return max(1, round(min(rows, BATCHES * MOST_ROWS) / SAMPLE_ROWS))
