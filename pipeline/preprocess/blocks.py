"""Rows in files between the steps of preprocessing: what Beam carries is where they stand.

A file is a row of blocks.  A block is a table in Arrow's stream format, lz4, whole in
itself: files may hold tables of several types.  A file has a random name and is announced
once it is closed, so that a step that is tried again disturbs nothing that was announced.
"""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

BLOCK_ROWS = 32_768  # that a step holds at once: a multiple of those of a record


class Block(NamedTuple):
    """Some rows in a file."""

    path: str
    start: int
    bytes: int
    rows: int


class BlockFile:
    """A new file of blocks; a context manager.

    Args:
        folder: Where it stands; it is made.
    """

    def __init__(self, folder: str):
        self.path = f"{folder}/{secrets.token_hex(8)}.arrows"
        self._file: Any = None

    def __enter__(self) -> "BlockFile":
        return self

    def __exit__(self, *_) -> None:
        if self._file:
            self._file.close()

    def append(self, table: pa.Table, packed: bool = True) -> Block:
        """Write some rows; what is not packed is read in place, as far as it is touched."""
        if not self._file:  # most steps reject nothing: no file for that
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            self._file = pa.OSFile(self.path, "wb")
        start = self._file.tell()
        _write(table.combine_chunks(), self._file, "lz4" if packed else None)
        return Block(self.path, start, self._file.tell() - start, len(table))


def read_block(block: Block, columns: Sequence[int] | None = None) -> pa.Table:
    """Rows of a block, or some of its columns, by their numbers, without the others."""
    options = pa.ipc.IpcReadOptions(included_fields=columns and list(columns))
    with pa.memory_map(block.path) as file:
        file.seek(block.start)
        data = file.read_buffer(block.bytes)
        return pa.ipc.open_stream(data, options=options).read_all()


def schema_of(block: Block) -> pa.Schema:
    """Names and types of a block's columns."""
    with pa.memory_map(block.path) as file:
        file.seek(block.start)
        return pa.ipc.open_stream(file.read_buffer(block.bytes)).schema


def groups_of(blocks: Iterable[Block], rows: int = 0) -> Iterator[list[Block]]:
    """Blocks that follow one another, together as many rows as are asked for.

    Args:
        blocks: In order.
        rows: How many at least; 0: ``BLOCK_ROWS``.
    """
    held, found = [], 0
    for block in blocks:
        held.append(block)
        found += block.rows
        if found >= (rows or BLOCK_ROWS):
            yield held
            held, found = [], 0
    if held:
        yield held


@dataclass(frozen=True)
class Stored:
    """A table in a file, in blocks of ``BLOCK_ROWS``; small, it travels in its place.

    Attributes:
        names: Its columns.
        parts: Its blocks, in order.
    """

    names: tuple[str, ...]
    parts: tuple[Block, ...]

    def __len__(self) -> int:
        return sum(part.rows for part in self.parts)

    def blocks(self) -> Iterator[pa.Table]:
        """The table, a block at a time."""
        return map(read_block, self.parts)

    def arrays(self, name: str) -> Iterator[pa.Array]:
        """A column, a block at a time."""
        place = [self.names.index(name)]
        for part in self.parts:
            yield read_block(part, place)[name].combine_chunks()

    def select(self, names: Sequence[str]) -> pa.Table:
        """Some columns as a table."""
        places = sorted(map(self.names.index, names))
        tables = [read_block(part, places) for part in self.parts]
        return pa.concat_tables(tables).select(list(names))

    def table(self) -> pa.Table:
        """All of it."""
        return pa.concat_tables(self.blocks())


class Store:
    """Writes rows that come in pieces of any length as a ``Stored`` table.

    Args:
        file: Where to.
    """

    def __init__(self, file: BlockFile):
        self._file, self._held, self._rows, self._parts = file, [], 0, []
        self._names: tuple[str, ...] = ()

    def add(self, table: pa.Table) -> None:
        """Add rows; what makes up a block is written."""
        self._names = tuple(table.column_names)
        self._held.append(table)
        self._rows += len(table)
        while self._rows >= BLOCK_ROWS:
            self._write(BLOCK_ROWS)

    def finish(self) -> Stored:
        """Write what is left."""
        if self._rows:
            self._write(self._rows)
        return Stored(self._names, tuple(self._parts))

    def _write(self, rows: int) -> None:
        held = pa.concat_tables(self._held)
        self._parts.append(self._file.append(held.slice(0, rows)))
        self._held, self._rows = [held.slice(rows)], self._rows - rows


def _write(table: pa.Table, sink: pa.NativeFile, packing: str | None) -> None:
    fast = pa.ipc.IpcWriteOptions(compression=packing, unify_dictionaries=True)
    with pa.ipc.new_stream(sink, table.schema, options=fast) as writer:
        writer.write_table(table)
