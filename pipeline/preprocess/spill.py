"""The shuffle: rows of the log go by file, and where they stand goes through Beam.

A load is some pieces of the log that one worker reads, into one file.  The rows of each
key stand there by *range*: equal first bits of the fingerprint.  Ranges follow one another
in the final order of a shard and hold all duplicates of a row together, so that a shard
can be made final some ranges at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.preprocess.blocks import (
    Block,
    BlockFile,
    read_block,
)
from steadyrank.pipeline.preprocess.rows import HIGH, alike
from steadyrank.pipeline.raw_log.columns import in_one_piece, to_integers
from steadyrank.pipeline.raw_log.fingerprint import mix
from steadyrank.pipeline.raw_log.formats.base import Piece
from steadyrank.pipeline.raw_log.join import ROW

NEWEST = "newest/"  # in the counts: the last moment of a day; the largest counts
SPILL = "spill"  # the folder of such files, until the job has ended
NO_FILE = ""  # in place of a file of the log: whose rows are events alone
EVENTS_ALONE = "events"  # in place of a key: they are no rows
LOAD_ROWS = 1_000_000  # about so many a load, and
LOADS = 16  # at least so many loads, to share out
BUFFER_BYTES = 64 << 20  # of rows that wait for others of their key
PART_ROWS = 2048  # at least, where a key has as many: below, headers outweigh rows
RANGE_BITS = 10
SETTLED_ROWS = 32_768  # at least, that are made final at a time


class Asked(Protocol):
    """Something that is found by bucket for each row; see ``side_join`` and ``past``."""

    number: int
    looks_back: bool  # on events, which are rows or not

    @property
    def bytes_each(self) -> int:
        """About what is carried back to a row."""

    def taken(self, table: pa.Table) -> pa.Table:
        """The columns of some rows that are asked with."""

    def wanted(self, tables: Iterable[pa.Table]) -> tuple[pa.Table, np.ndarray]:
        """Some tables' rows as they are asked with, with ``ROW``, and their buckets."""

    def newest(self, rows: pa.Table) -> dict[str, int]:
        """``NEWEST`` and a day, and the last moment of such rows on it."""


class Part(NamedTuple):
    """Rows of one key in a file, of ``width`` ranges from ``first``.

    ``beside`` has more columns of the same rows, where side tables are joined by bucket.
    """

    first: int
    width: int
    block: Block
    beside: Block | None = None

    def read(self) -> pa.Table:
        """The rows."""
        table = read_block(self.block)
        if self.beside:
            more = read_block(self.beside)
            for name in more.column_names:
                table = table.append_column(name, more[name])
        return table


@dataclass(frozen=True)
class Spread:
    """A side table that is joined by bucket; see ``side_join``.

    Attributes:
        number: Of the join, in the config.
        on: The key, a column of whole numbers.
        names: Its columns that are read, the key first.
        bits: Of a key's hash, that say which bucket it is in.
    """

    number: int
    on: str
    names: tuple[str, ...]
    bits: int

    bytes_each = 0  # numbers, and few
    looks_back = False

    def taken(self, table: pa.Table) -> pa.Table:
        """The key of some rows."""
        return table.select([self.on])

    def wanted(self, tables: Iterable[pa.Table]) -> tuple[pa.Table, np.ndarray]:
        """Keys of some tables, one after the other, numbered, and the bucket of each."""
        columns = (whole_keys(table[self.on]) for table in tables)
        values, there = map(np.concatenate, zip(*columns, strict=True))
        keys = pa.array(values, mask=~there)
        table = pa.table({self.on: keys, ROW: np.arange(len(values))})
        return table, buckets_of(values, self.bits)

    def newest(self, rows: pa.Table) -> dict[str, int]:
        """Keys have no time."""
        return {}


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
        folder: Where its files stand.
        spreads: Side tables and histories, of which the keys are written by bucket.

    Attributes:
        parts: Key and ``Part`` of what was written; to be announced after the end.
        wanted: ``(join, bucket)`` and, of rows of a file, its path and the block of their
            keys and ``ROW``s, which count the rows of all its parts.
        newest: What ``Asked.newest`` gives, of all rows.
    """

    def __init__(self, folder: str, spreads: Sequence[Asked] = ()):
        self._folder, self._spreads = folder, spreads
        self._held: dict[object, list[pa.Table]] = {}
        self._bytes, self._each = 0, sum(each.bytes_each for each in spreads)
        self.parts: list[tuple[object, Part]] = []
        self.wanted: list[tuple[tuple[int, int], tuple[str, Block]]] = []
        self.newest: dict[str, int] = {}

    def __enter__(self) -> "Spill":
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._write()

    def add(self, keyed: dict[object, pa.Table]) -> None:
        """Add rows by their keys; those of ``EVENTS_ALONE`` are looked back on alone."""
        for key, table in keyed.items():
            self._held.setdefault(key, []).append(table)
            self._bytes += table.nbytes + len(table) * self._each
        if self._bytes >= BUFFER_BYTES:
            self._write()

    def _write(self) -> None:
        rows: list[list[pa.Table]] = [[] for _ in self._spreads]
        with BlockFile(self._folder) as file:
            events = self._held.pop(EVENTS_ALONE, [])
            for asked in self._spreads if events else ():
                if asked.looks_back:
                    self._want(asked, [*map(asked.taken, events)], file, NO_FILE)
            for key in list(self._held):
                for table in alike(self._held.pop(key)):
                    for first, width, some in by_range(table):
                        part = Part(first, width, file.append(some))
                        self.parts.append((key, part))
                        for asked, held in zip(self._spreads, rows, strict=True):
                            held.append(asked.taken(some))
            for asked, held in zip(self._spreads, rows, strict=True):
                if held:
                    self._want(asked, held, file, file.path)
        self._bytes = 0

    def _want(self, asked: Asked, tables: list[pa.Table], file: BlockFile, of: str) -> None:
        rows, buckets = asked.wanted(tables)
        newest = asked.newest(rows) if of != NO_FILE else {}
        for day, ms in newest.items():
            self.newest[day] = max(ms, self.newest.get(day, ms))
        for bucket, some in by_bucket(rows, buckets):
            place = asked.number, bucket
            self.wanted.append((place, (of, file.append(some))))


def whole_keys(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers as int64, and where there is one."""
    values, _ = to_integers(in_one_piece(column))
    there = values.is_valid().to_numpy(zero_copy_only=False)
    return values.fill_null(0).to_numpy(), there


def buckets_of(keys: np.ndarray, bits: int) -> np.ndarray:
    """The bucket of each key, int64: the first bits of its hash."""
    return (mix(keys.view(np.uint64)) >> np.uint64(64 - bits)).astype(np.uint16)


def by_bucket(table: pa.Table, number: np.ndarray) -> Iterator[tuple[int, pa.Table]]:
    """Rows by their numbers, uint16; those of one number stay in their order."""
    table = table.combine_chunks().take(pa.array(np.argsort(number, kind="stable")))
    start = 0
    for bucket, rows in enumerate(np.bincount(number).tolist()):
        if rows:
            yield bucket, table.slice(start, rows)
        start += rows


def by_range(table: pa.Table, rows: int = 0) -> Iterator[tuple[int, int, pa.Table]]:
    """Rows cut by the first bits of their fingerprints: as many as leave enough in each.

    Args:
        table: With ``HIGH``.
        rows: How many are enough; 0: ``PART_ROWS``.

    Yields:
        First range, how many there are, and their rows, some.
    """
    bits = max(0, min(RANGE_BITS, (len(table) // (rows or PART_ROWS)).bit_length() - 1))
    width = 1 << (RANGE_BITS - bits)
    if not bits:
        yield 0, width, table
        return
    number = (table[HIGH].to_numpy() >> np.uint64(64 - bits)).astype(np.uint16)
    for place, some in by_bucket(table, number):
        yield place * width, width, some


def gather(parts: Iterable[Part], rows: int = 0) -> Iterator[list[pa.Table]]:
    """All rows of a key in the order of their ranges.

    Args:
        parts: In any order.
        rows: How many at least to give at once; 0: ``SETTLED_ROWS``.

    Yields:
        The tables of ranges that none after them has rows of.
    """
    held: list[Part] = []
    end = found = 0
    for part in sorted(parts):
        if part.first >= end and found >= (rows or SETTLED_ROWS):
            yield [each.read() for each in held]
            held, found = [], 0
        held.append(part)
        end, found = max(end, part.first + part.width), found + part.block.rows
    if held:
        yield [each.read() for each in held]
