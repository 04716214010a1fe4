"""Parquet: columns with types, in row groups that are read apart."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.arrow_types import is_wide, plain_table, plain_type
from steadyrank.pipeline.raw_log.columns import is_list
from steadyrank.pipeline.raw_log.formats.base import (
    BATCH_ROWS,
    Batch,
    Format,
    open_file,
    require_different,
)
from steadyrank.pipeline.raw_log.formats.texts import NOT_UTF8, malformed_lines, readable


class Parquet(Format):
    """Apache Parquet; texts of the needed columns are checked to be UTF-8."""

    endings = (".parquet", ".parq", ".pq")

    def look(self, path):
        if self.form.columns:
            raise InputError(
                f"{path}: a Parquet file names its columns. Remove data.columns."
            )
        with open_file(path) as file:
            parquet = _opened(file)
            schema = parquet.schema_arrow
            require_different(path, schema.names)
            groups = list(range(parquet.num_row_groups))
            fields = [(f.name, self._held_type(parquet, f)) for f in schema]
            return groups, pa.schema(fields), parquet.metadata.num_rows

    def read(self, path, part):
        with open_file(path) as file:
            parquet = _opened(file)
            groups = (parquet.metadata.row_group(g).num_rows for g in range(part))
            line = sum(groups) + 1
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[part]):
                yield typed_batch(pa.table(batch), line, self.needed)
                line += len(batch)

    def _held_type(self, parquet: pq.ParquetFile, field: pa.Field) -> pa.DataType:
        """A column's type: int64 where it could hold larger numbers, but does not."""
        kind = plain_type(field.type)
        if (
            field.name in self.needed
            and is_wide(kind)
            and not _has_wide(parquet, field.name)
        ):
            return pa.int64()
        return kind


def typed_batch(table: pa.Table, line: int, needed: tuple[str, ...]) -> Batch:
    """Rows of a file whose columns have types, in the types that we know.

    Args:
        table: Some rows.
        line: The number of the first, from 1.
        needed: Columns that will be read.
    """
    names = [name for name in needed if name in table.column_names]
    table, kept, texts = readable(table, names)
    lines = np.arange(line, line + len(kept))
    others = zip(texts, lines[~kept].tolist(), strict=True)
    bad = malformed_lines([(text, NOT_UTF8, at) for text, at in others])
    return Batch(plain_table(table, names), lines[kept], bad)


def _opened(file) -> pq.ParquetFile:
    """INT96 times in microseconds: in nanoseconds, years before 1677 would wrap."""
    return pq.ParquetFile(file, coerce_int96_timestamp_unit="us")


def _has_wide(parquet: pq.ParquetFile, name: str) -> bool:
    """Whether some number of a column is beyond int64, by its statistics if it has some."""
    leaves = [parquet.schema.column(i).path for i in range(len(parquet.schema))]
    (place,) = (i for i, leaf in enumerate(leaves) if f"{leaf}.".startswith(f"{name}."))
    for group in range(parquet.num_row_groups):
        found = parquet.metadata.row_group(group).column(place).statistics
        if found is not None and found.has_min_max:
            low, high = found.min, found.max
        else:
            (values,) = parquet.read_row_group(group, columns=[name]).columns
            values = pc.list_flatten(values) if is_list(values.type) else values
            low, high = pc.min_max(values).as_py().values()
        if low is not None and not -(2**63) < low <= high < 2**63:
            return True
    return False
