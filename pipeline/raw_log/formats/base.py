"""What a format of raw logs must offer."""

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from steadyrank.pipeline.files.errors import InputError, PassingError, fault

BATCH_ROWS = 65_536
PACKED = {".gz": "gzip", ".bz2": "bz2"}  # endings -> Arrow's name of the codec


@dataclass(frozen=True)
class Form:
    """How files of text are written: keys of a config's ``data``.

    Attributes:
        delimiter: Between values.
        quote: Around values that may hold the delimiter; None: there are no quotes.
        multiline: Whether a value in quotes may hold line breaks.
        columns: Names of the columns where a file has no header line.
    """

    delimiter: str = ","
    quote: str | None = '"'
    multiline: bool = False
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, data) -> "Form":
        """As a config's ``data`` says of the log."""
        return cls(data.delimiter, data.quote, data.multiline, tuple(data.columns))


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
    def read(
        self, path: str, part: int | None
    ) -> Iterator[tuple[pa.Table, pa.Table | None]]:
        """Read a part; see ``Piece.batches``."""


@dataclass(frozen=True)
class Piece:
    """A part of a log that one worker reads.

    Attributes:
        path: Of the file.
        format: Of the file.
        part: One of those that the format parted it into.
    """

    path: str
    format: Format
    part: int | None = None

    def batches(self) -> Iterator[tuple[pa.Table, pa.Table | None]]:
        """Read the piece.

        Yields:
            A table of up to ``BATCH_ROWS`` rows or one block of text, and the lines that
            could not be split into columns and the rows that are not UTF-8 (``text``
            and ``reason``), where there are any.

        Raises:
            InputError: The file cannot be read; the message names it.
        """
        try:
            yield from self.format.read(self.path, self.part)
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            raise unreadable(self.path, error) from None


def require_different(path: str, names: list[str], advice: str = "") -> None:
    """Raise where two columns of a file have one name."""
    if len(set(names)) < len(names):
        raise InputError(f"{path}: column names must differ. Received: {names}.{advice}")


def unreadable(path: str, error: Exception) -> InputError | PassingError:
    """The error to raise where a file could not be read."""
    if isinstance(error, InputError):
        return error
    found = fault(f"{path}: cannot be read, it may be corrupt or cut off: {error}", error)
    if isinstance(found, PassingError):
        return PassingError(f"{path}: cannot be read now: {error}. Try again.")
    return found
