"""Parquet: columns with types, in row groups that are read apart."""

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats.base import BATCH_ROWS, Format, require_different
from steadyrank.pipeline.raw_log.formats.texts import malformed_lines, readable


class Parquet(Format):
    """Apache Parquet; texts of the needed columns are checked to be UTF-8."""

    endings = (".parquet",)

    def look(self, path):
        if self.form.columns:
            raise InputError(
                f"{path}: a Parquet file names its columns. Remove data.columns."
            )
        with FileSystems.open(path) as file:
            parquet = pq.ParquetFile(file)
            require_different(path, parquet.schema_arrow.names)
            groups = list(range(parquet.num_row_groups))
            return groups, parquet.schema_arrow, parquet.metadata.num_rows

    def read(self, path, part):
        with FileSystems.open(path) as file:
            parquet = pq.ParquetFile(file)
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[part]):
                table, bad = readable(pa.table(batch), list(self.needed))
                yield table, malformed_lines(bad)
