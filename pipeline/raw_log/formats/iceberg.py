"""Iceberg: the rows of a table's snapshot, by its metadata file, in data files.

What a snapshot deleted, or another one wrote again, still lies in its folder: the files
alone are not its rows.  ``pyiceberg`` reads them (the extra ``iceberg``).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.arrow_types import plain_type
from steadyrank.pipeline.raw_log.formats.base import EmptyFile, Format, require_different
from steadyrank.pipeline.raw_log.formats.parquet import typed_batch


class Iceberg(Format):
    """A table of Apache Iceberg: the current snapshot of a ``.metadata.json``."""

    endings = (".metadata.json",)

    @classmethod
    def takes(cls, ending, packed):
        return False  # by its whole name: the ending is that of JSON lines

    def look(self, path):
        if self.form.columns:
            raise InputError(
                f"{path}: an Iceberg table names its columns. Remove data.columns."
            )
        table = _opened(path)
        schema = table.schema().as_arrow()
        require_different(path, schema.names)
        files = [task.file for task in _tasks(path, table)]
        if not files:
            raise EmptyFile(path, "its snapshot has no data file")
        fields = [(field.name, plain_type(field.type)) for field in schema]
        rows = sum(file.record_count for file in files)
        return list(range(len(files))), pa.schema(fields), rows

    def read(self, path, part):
        table = _opened(path)
        tasks = _tasks(path, table)
        line = 1 + sum(task.file.record_count for task in tasks[:part])
        for batch in _batches(path, table, tasks[part]):
            if len(batch):
                yield typed_batch(pa.table(batch), line, self.needed)
                line += len(batch)


def _opened(path: str) -> Any:
    try:
        from pyiceberg.table import StaticTable
    except ImportError:
        raise InputError(
            f"{path}: is an Iceberg table, which needs pyiceberg. Install it: pip install "
            "'steadyrank[iceberg]'; or write the table's rows out as Parquet."
        ) from None
    with _named(path):
        return StaticTable.from_metadata(path)


def _tasks(path: str, table: Any) -> list:
    """The data files of the snapshot, with what is deleted of each; always in one order."""
    with _named(path):
        return sorted(table.scan().plan_files(), key=lambda task: task.file.file_path)


def _batches(path: str, table: Any, task: Any) -> Iterator[pa.RecordBatch]:
    from pyiceberg.expressions import AlwaysTrue
    from pyiceberg.io.pyarrow import ArrowScan

    scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
    with _named(path):
        yield from scan.to_record_batches([task])


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Within: what pyiceberg cannot read is said of the file."""
    try:
        yield
    except Exception as error:
        of_iceberg = type(error).__module__.startswith("pyiceberg.")
        if not (of_iceberg or isinstance(error, NotImplementedError)):
            raise
        raise InputError(
            f"{path}: pyiceberg cannot read this table: {error}. Write its rows out as "
            "Parquet, and read those."
        ) from None
