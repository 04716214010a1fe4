"""Avro: records with a schema, one after the other.

Arrow does not read it.  fastavro, which Beam brings along, decodes records in C, and Arrow
makes columns of them, which is slower than Parquet; by how much was not measured.
"""

import itertools

import fastavro
import pyarrow as pa

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.raw_log.arrow_types import plain_type
from steadyrank.pipeline.raw_log.formats.base import (
    BATCH_ROWS,
    EmptyFile,
    Format,
    open_file,
    require_different,
    size_of,
)
from steadyrank.pipeline.raw_log.formats.parquet import typed_batch

BYTES_A_ROW = 64  # to guess a file's rows from its size
PRIMITIVE = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
    "enum": pa.string(),
}
LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", "UTC"),
    "timestamp-micros": pa.timestamp("us", "UTC"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "uuid": pa.uuid(),
}


class Avro(Format):
    """Apache Avro's object container files."""

    endings = (".avro",)

    def look(self, path):
        if self.form.columns:
            raise InputError(
                f"{path}: an Avro file names its columns. Remove data.columns."
            )
        size = size_of(path)
        if not size:
            raise EmptyFile(path, "0 bytes")
        with open_file(path) as file:
            schema = _columns(path, fastavro.reader(file).writer_schema)
        require_different(path, schema.names)
        fields = [(field.name, plain_type(field.type)) for field in schema]
        return [None], pa.schema(fields), size // BYTES_A_ROW

    def read(self, path, part):
        with open_file(path) as file:
            records, line = fastavro.reader(file), 1
            schema = _columns(path, records.writer_schema)
            while some := self._taken(records):
                table = pa.Table.from_pylist(some, schema)
                yield typed_batch(table, line, self.needed)
                line += len(some)

    def _taken(self, records) -> list[dict]:
        try:
            return list(itertools.islice(records, BATCH_ROWS))
        except (OSError, InputError, PassingError):
            raise
        except Exception as error:  # each codec has errors of its own
            raise ValueError(f"{type(error).__name__}: {error}") from None


def _columns(path: str, schema: dict) -> pa.Schema:
    """The columns of a file's records."""
    if not isinstance(schema, dict) or schema.get("type") != "record":
        kind = schema.get("type") if isinstance(schema, dict) else schema
        raise InputError(
            f"{path}: an Avro file must hold records with fields. Received: {kind!r}. "
            "Write each row as a record."
        )
    return pa.schema(
        [(f["name"], _kind(path, f["name"], f["type"])) for f in schema["fields"]]
    )


def _kind(path: str, name: str, of) -> pa.DataType:
    if isinstance(of, list):
        kinds = [kind for kind in of if kind != "null"]
        if len(kinds) == 1:
            return _kind(path, name, kinds[0])
        found = {_kind(path, name, kind) for kind in kinds}
        numbers = {pa.int32(), pa.int64()}
        if found <= numbers:
            return pa.int64()
        if found <= numbers | {pa.float32(), pa.float64()}:
            return pa.float64()
        raise InputError(
            f"{path}: column {name!r} is a union of {kinds}. Allowed: one "
            "type, or null and one. Give it one type."
        )
    if isinstance(of, str):
        return PRIMITIVE.get(of) or pa.struct([])
    logical, kind = of.get("logicalType"), of["type"]
    if logical == "decimal":
        return pa.decimal128(of["precision"], of.get("scale", 0))
    if logical in LOGICAL:
        return LOGICAL[logical]
    if kind == "array":
        return pa.list_(_kind(path, name, of["items"]))
    if kind == "fixed":
        return pa.binary(of["size"])
    if kind == "record":
        return pa.struct([(f["name"], _kind(path, name, f["type"])) for f in of["fields"]])
    if kind == "map":
        return pa.map_(pa.string(), _kind(path, name, of["values"]))
    return _kind(path, name, kind)
