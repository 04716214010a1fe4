"""The shuffle: rows of the log go by file, and where they stand goes through Beam.

A load is some pieces of the log that one worker reads, into one file.  The rows of each
key stand there by *range*: equal first bits of the fingerprint.  Ranges follow one another
in the final order of a shard and hold all duplicates of a row together, so that a shard
can be made final some ranges at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.preprocess.blocks import (
    BLOCK_ROWS,
    Block,
    BlockFile,
    read_block,
)
from steadyrank.pipeline.preprocess.rows import HIGH, alike
from steadyrank.pipeline.raw_log.formats.base import Piece

SPILL = "spill"  # the folder of such files, until the job has ended
LOAD_ROWS = 1_000_000  # about so many a load, and
LOADS = 16  # at least so many loads, to share out
BUFFER_BYTES = 64 << 20  # of rows that wait for others of their key
PART_ROWS = 2048  # at least, where a key has as many: below, headers outweigh rows
RANGE_BITS = 10


class Part(NamedTuple):
    """Rows of one key in a file, of ``width`` ranges from ``first``."""

    first: int
    width: int
    block: Block


def loads_of(pieces: Sequence[Piece], rows: int) -> list[Sequence[Piece]]:
    """The pieces of a log, some million rows together.

    Args:
        pieces: Which are taken to have as many rows, one as another.
        rows: Of the log.
    """
    wanted = max(LOADS, -(-rows // LOAD_ROWS))
    each = max(1, len(pieces) // wanted)
    return [pieces[start : start + each] for start in range(0, len(pieces), each)]


class Spill:
    """Writes the rows of a load; a context manager.

    Args:
        folder: Where its file stands.

    Attributes:
        parts: Key and ``Part`` of what was written; to be announced after the end.
    """

    def __init__(self, folder: str):
        self._file = BlockFile(folder)
        self._held: dict[object, list[pa.Table]] = {}
        self._bytes = 0
        self.parts: list[tuple[object, Part]] = []

    def __enter__(self) -> "Spill":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._write()
        self._file.__exit__()

    def add(self, keyed: dict[object, pa.Table]) -> None:
        """Add rows by their keys."""
        for key, table in keyed.items():
            self._held.setdefault(key, []).append(table)
            self._bytes += table.nbytes
        if self._bytes >= BUFFER_BYTES:
            self._write()

    def _write(self) -> None:
        for key in list(self._held):
            for table in alike(self._held.pop(key)):
                for first, width, some in by_range(table):
                    part = Part(first, width, self._file.append(some))
                    self.parts.append((key, part))
        self._bytes = 0


def by_range(table: pa.Table) -> Iterator[tuple[int, int, pa.Table]]:
    """Rows cut by the first bits of their fingerprints: as many as leave enough in each.

    Yields:
        First range, how many there are, and their rows, some.
    """
    bits = max(0, min(RANGE_BITS, (len(table) // PART_ROWS).bit_length() - 1))
    width = 1 << (RANGE_BITS - bits)
    if not bits:
        yield 0, width, table
        return
    table = table.combine_chunks()
    number = (table[HIGH].to_numpy() >> np.uint64(64 - bits)).astype(np.uint16)
    table = table.take(pa.array(np.argsort(number, kind="stable")))
    ends = np.cumsum(np.bincount(number, minlength=1 << bits))
    start = 0
    for place, end in enumerate(ends.tolist()):
        if end > start:
            yield place * width, width, table.slice(start, end - start)
        start = end


def gather(parts: Iterable[Part], rows: int = 0) -> Iterator[list[pa.Table]]:
    """All rows of a key in the order of their ranges.

    Args:
        parts: In any order.
        rows: How many at least to give at once; 0: a block's.

    Yields:
        The tables of ranges that none after them has rows of.
    """
    held: list[Part] = []
    end = found = 0
    for part in sorted(parts):
        if part.first >= end and found >= (rows or BLOCK_ROWS):
            yield [read_block(each.block) for each in held]
            held, found = [], 0
        held.append(part)
        end, found = max(end, part.first + part.width), found + part.block.rows
    if held:
        yield [read_block(each.block) for each in held]
