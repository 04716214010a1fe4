"""What a format of raw logs must offer."""

import abc
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.files.errors import (
    InputError,
    NoRowsError,
    PassingError,
    fault,
)
from steadyrank.pipeline.files.object_store import open_object
from steadyrank.pipeline.raw_log.columns import is_text, without_markers

BATCH_ROWS = 65_536
PACKED = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".zst": "zstd",
}  # endings -> Arrow's name of the codec


@dataclass(frozen=True)
class Form:
    """How files of text are written: keys of a config's ``data``.

    Attributes:
        delimiter: Between values.
        quote: Around values that may hold the delimiter; None: there are no quotes.
        multiline: Whether a value in quotes may hold line breaks.
        columns: Names of the columns where a file has no header line.
        escape: Before a quote within quotes; without quotes, before a delimiter.
        encoding: Of files of text, but UTF-8; ``""``: UTF-8.
        null_values: Texts that stand for a missing value, as the empty one does.
    """

    delimiter: str = ","
    quote: str | None = '"'
    multiline: bool = False
    columns: tuple[str, ...] = ()
    escape: str = ""
    encoding: str = ""
    null_values: tuple[str, ...] = ()

    @classmethod
    def of(cls, data) -> "Form":
        """As a config's ``data`` says of the log."""
        return cls(
            delimiter=data.delimiter,
            quote=data.quote,
            multiline=data.multiline,
            columns=tuple(data.columns),
            escape=data.escape or "",
            encoding=data.encoding or "",
            null_values=tuple(data.null_values),
        )


@dataclass(frozen=True)
class Batch:
    """Some rows of a file.

    Attributes:
        table: With all columns of the file.
        lines: int64 ``[rows]``: where each row begins, from 1; its line in a file of
            text, elsewhere its number.
        malformed: What could not be split into columns or is not UTF-8: ``text``,
            ``reason`` and ``line``; None: nothing.
    """

    table: pa.Table
    lines: np.ndarray
    malformed: pa.Table | None = None


@dataclass(frozen=True)
class Format(abc.ABC):
    """A way of writing tables; small and pickled, it travels to the workers.

    Attributes:
        form: How the config says that files are written.
        needed: Columns that will be read.
    """

    form: Form = Form()
    needed: tuple[str, ...] = ()
    endings: ClassVar[tuple[str, ...]] = ()
    rows_are_lines: ClassVar[bool] = False  # of a file of text

    @classmethod
    def takes(cls, ending: str, packed: bool) -> bool:
        """Whether a file is of this format.

        Args:
            ending: Of its name, without that of the packing: ``".csv"``.
            packed: Whether it is packed.
        """
        return ending in cls.endings and not packed

    @abc.abstractmethod
    def look(self, path: str) -> tuple[list[int | None], pa.Schema, int]:
        """Look at a file without reading it.

        Returns:
            Its parts, each for one worker; its columns; and about how many rows it has.
        """

    @abc.abstractmethod
    def read(self, path: str, part: int | None) -> Iterator[Batch]:
        """Read a part; see ``Piece.batches``."""


@dataclass(frozen=True)
class Piece:
    """A part of a log that one worker reads.

    Attributes:
        path: Of the file.
        format: Of the file.
        part: One of those that the format parted it into.
        folders: Columns that the names of folders give all rows, and their value.
    """

    path: str
    format: Format
    part: int | None = None
    folders: tuple[tuple[str, str | None], ...] = ()

    def batches(self) -> Iterator[Batch]:
        """Read the piece: up to ``BATCH_ROWS`` rows at once, or one block of text.

        Raises:
            InputError: The file cannot be read; the message names it.
        """
        try:
            for batch in self.format.read(self.path, self.part):
                yield replace(batch, table=self._completed(batch.table))
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            raise unreadable(self.path, error) from None

    def _completed(self, table: pa.Table) -> pa.Table:
        """With the columns that the folders give, and those that this file lacks."""
        for name, value in self.folders:
            constant = pa.repeat(pa.scalar(value, pa.string()), len(table))
            table = table.append_column(name, constant)
        for name in self.format.needed:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table)))
        if self.format.rows_are_lines:  # its parser has seen to them
            return table
        return without_null_values(table, self.format)


def without_null_values(table: pa.Table, format: Format) -> pa.Table:
    """Texts of needed columns that stand for a missing value become one."""
    for name in format.needed if format.form.null_values else ():
        if is_text(table[name].type):
            texts = table[name].combine_chunks()
            if pa.types.is_dictionary(texts.type):
                texts = texts.dictionary_decode()
            place = table.column_names.index(name)
            texts = without_markers(texts, format.form.null_values)
            table = table.set_column(place, name, texts)
    return table


class EmptyFile(NoRowsError):
    """A file without a row, or even a header: one of many may be so."""

    def __init__(self, path: str, why: str):
        super().__init__(f"{path}: the file is empty ({why}).")
        self.why = why


def open_file(path: str):
    """A file, or an object, as it is: packed where it is."""
    return open_object(path) if "://" in path else open(path, "rb")  # noqa: SIM115


def size_of(path: str) -> int:
    """Bytes of a file."""
    if "://" not in path:
        return os.path.getsize(path)
    with open_file(path) as file:
        return file.seek(0, os.SEEK_END)


def require_different(path: str, names: list[str], advice: str = "") -> None:
    """Raise where two columns of a file have one name."""
    if len(set(names)) < len(names):
        raise InputError(
            f"{path}: column names must differ. Received: {names}. "
            f"{advice or 'Rename one in whatever writes the file.'}"
        )


def unreadable(path: str, error: Exception) -> InputError | PassingError:
    """The error to raise where a file could not be read."""
    if isinstance(error, InputError):
        return error
    found = fault(f"{path}: cannot be read, it may be corrupt or cut off: {error}", error)
    if isinstance(found, PassingError):
        return PassingError(f"{path}: cannot be read now: {error}. Try again.")
    return found
