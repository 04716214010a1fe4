"""A sample of a log, from all over it."""

import itertools
from collections.abc import Iterator

import numpy as np

from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.open import Log

SAMPLE_ROWS, PIECES, BATCHES = 200_000, 12, 64


def sampled(log: Log) -> Iterator[tuple[str, Batch]]:
    """Files, and some of their rows: every so many of pieces from all over the log.

    Args:
        log: Any.
    """
    chosen = np.unique(np.linspace(0, len(log.pieces) - 1, PIECES).astype(int))
    step = _step(log)
    pieces = (log.pieces[place] for place in chosen.tolist())
    batches = ((piece.path, batch) for piece in pieces for batch in piece.batches())
    for path, batch in itertools.islice(batches, BATCHES):
        places = np.arange(0, len(batch.table), step)
        malformed = batch.malformed
        if malformed is not None:
            malformed = malformed.take(np.arange(0, len(malformed), step))
        yield path, Batch(batch.table.take(places), batch.lines[places], malformed)


def is_whole(log: Log, batches: int) -> bool:
    """Whether a sample of so many batches is all rows of a log."""
    return len(log.pieces) <= PIECES and _step(log) == 1 and batches < BATCHES


def _step(log: Log) -> int:
    """Of so many rows one is taken."""
    rows = log.rows * min(PIECES, len(log.pieces)) / len(log.pieces)
    return max(1, round(rows / SAMPLE_ROWS))
