"""ORC: columns with types, in stripes that are read apart."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.orc

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.arrow_types import is_wide, plain_type
from steadyrank.pipeline.raw_log.columns import is_list
from steadyrank.pipeline.raw_log.formats.base import Format, open_file, require_different
from steadyrank.pipeline.raw_log.formats.parquet import typed_batch


class Orc(Format):
    """Apache ORC, as Hive and Spark write it."""

    endings = (".orc",)

    def look(self, path):
        if self.form.columns:
            raise InputError(f"{path}: an ORC file names its columns. Remove data.columns.")
        with open_file(path) as file:
            orc = pyarrow.orc.ORCFile(file)
            require_different(path, orc.schema.names)
            fields = [(f.name, self._held_type(orc, f)) for f in orc.schema]
            return list(range(orc.nstripes)), pa.schema(fields), orc.nrows

    def read(self, path, part):
        with open_file(path) as file:
            orc = pyarrow.orc.ORCFile(file)
            # a stripe does not say how many rows the ones before it have
            line = 1 + sum(len(orc.read_stripe(n, columns=[])) for n in range(part))
            yield typed_batch(pa.table(orc.read_stripe(part)), line, self.needed)

    def _held_type(self, orc, field: pa.Field) -> pa.DataType:
        """A column's type: int64 where it could hold larger numbers, but does not."""
        kind = plain_type(field.type)
        if field.name not in self.needed or not is_wide(kind) or is_list(kind):
            return kind
        for stripe in range(orc.nstripes):
            values = orc.read_stripe(stripe, columns=[field.name]).column(0)
            low, high = pc.min_max(values).as_py().values()
            if low is not None and not -(2**63) < low <= high < 2**63:
                return kind
        return pa.int64()
