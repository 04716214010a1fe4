"""Formats of raw logs: one class each, chosen once by a file's name.

A new one is a class of ``base.Format`` in a file of its own, and its name below.
"""

from pathlib import PurePosixPath

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats.avro import Avro
from steadyrank.pipeline.raw_log.formats.base import PACKED, Form, Format
from steadyrank.pipeline.raw_log.formats.csv import Csv
from steadyrank.pipeline.raw_log.formats.iceberg import Iceberg
from steadyrank.pipeline.raw_log.formats.json_lines import JsonLines
from steadyrank.pipeline.raw_log.formats.orc import Orc
from steadyrank.pipeline.raw_log.formats.parquet import Parquet

FORMATS: tuple[type[Format], ...] = (Parquet, Csv, JsonLines, Avro, Orc, Iceberg)


def format_of(path: str, form: Form, needed: tuple[str, ...]) -> Format:
    """The format of a file, by the ending of its name.

    Args:
        path: Of the file.
        form: How the config says that files are written.
        needed: Columns that will be read.

    Raises:
        InputError: No format has that ending.
    """
    kind = _kind_of(path)
    if kind:
        return kind(form, needed)
    endings = ", ".join(ending for kind in FORMATS for ending in kind.endings)
    raise InputError(
        f"{path}: unknown format. Allowed: {endings}; of texts also packed: "
        f"{', '.join(PACKED)}."
    )


def rows_are_lines(path: str) -> bool:
    """Whether the rows of a file are told by the lines on which they begin."""
    kind = _kind_of(path)
    return kind is not None and kind.rows_are_lines


def has_delimiter(path: str) -> bool:
    """Whether the values of a file's rows are parted as ``Form.delimiter`` says."""
    return _kind_of(path) is Csv


def _kind_of(path: str) -> type[Format] | None:
    file = PurePosixPath(path.replace("\\", "/").lower())
    if file.name.endswith(Iceberg.endings):
        return Iceberg
    packed = file.suffix in PACKED
    ending = file.with_suffix("").suffix if packed else file.suffix
    return next((kind for kind in FORMATS if kind.takes(ending, packed)), None)
