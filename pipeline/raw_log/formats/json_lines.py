"""JSON lines: one object a line, whose keys are columns."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import is_list
from steadyrank.pipeline.raw_log.formats.base import (
    Batch,
    EmptyFile,
    Form,
    Format,
    size_of,
)
from steadyrank.pipeline.raw_log.formats.guess import rows_in
from steadyrank.pipeline.raw_log.formats.lines import (
    Block,
    blocks,
    record_lines,
    without_others,
)
from steadyrank.pipeline.raw_log.formats.texts import malformed_lines

MOST_BAD = 100  # lines of a block that are no objects; of more, it is no such file
EXACT = 2**53  # up to here reals hold every whole number


class JsonLines(Format):
    """Texts stay texts, whatever they look like; whole numbers stay exact."""

    endings = (".jsonl", ".ndjson", ".json")
    rows_are_lines = True

    @classmethod
    def takes(cls, ending, packed):
        return ending in cls.endings

    def look(self, path):
        size = size_of(path)
        for block in blocks(path, self._plain):
            table = self._parsed(path, block).table
            if len(table):
                return [None], table.schema, rows_in(path, self._plain, size, header=False)
        raise EmptyFile(path, "0 bytes" if not size else "no line")

    def read(self, path, part):
        for block in blocks(path, self._plain):
            yield self._parsed(path, block)

    @property
    def _plain(self) -> Form:
        """Its quotes are none of CSV."""
        return Form(quote=None, encoding=self.form.encoding)

    def _parsed(self, path: str, block: Block) -> Batch:
        if block.line == 1 and block.data.lstrip().startswith(b"["):
            raise InputError(
                f"{path}: is one JSON array. Write one object a line, without commas "
                "between them."
            )
        data, said = without_others(block, self._plain)
        lines = record_lines(data, block.line, -1, self._plain)
        kept = np.ones(len(lines), bool)
        while True:
            try:
                table = _read(data)
                if len(table) != kept.sum():  # a line of blanks is no row
                    full = [bool(text.strip()) for text in data.splitlines()]
                    lines = block.line + np.flatnonzero(full)
                    kept = np.ones(len(lines), bool)
                return Batch(table, lines[kept], malformed_lines(said))
            except pa.ArrowInvalid as error:
                place = _place(error)
                if place is None or len(said) >= MOST_BAD:
                    raise
                at = int(lines[kept][place])
                data, text = _without_line(data, at - block.line)
                kept[np.flatnonzero(kept)[place]] = False
                why = str(error).removeprefix("JSON parse error: ").rpartition(" in row")[0]
                said.append((text, f"no JSON as the lines before: {why}", at))


def _read(data: bytes) -> pa.Table:
    """Lines as a table: read again where Arrow made of values what they are not."""
    if not data.strip():
        return pa.table({})
    table = _parse(data)
    wanted = pa.schema([(f.name, _held(f.type, table[f.name])) for f in table.schema])
    if wanted.equals(table.schema):
        return table
    return _parse(data, wanted)


def _parse(data: bytes, schema: pa.Schema | None = None) -> pa.Table:
    return pyarrow.json.read_json(
        pa.py_buffer(data),
        pyarrow.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
        pyarrow.json.ParseOptions(explicit_schema=schema),
    )


def _held(kind: pa.DataType, values: pa.ChunkedArray | None) -> pa.DataType:
    """The type that a guessed one stands for: moments were texts, some reals whole."""
    if pa.types.is_timestamp(kind):
        return pa.string()
    if is_list(kind):
        return pa.list_(_held(kind.value_type, pc.list_flatten(values)))
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _held(f.type, None)) for f in kind])
    if pa.types.is_floating(kind) and values is not None:
        whole = pc.all(pc.equal(pc.floor(values), values)).as_py()
        large = pc.any(pc.greater_equal(pc.abs(values), float(EXACT))).as_py()
        top = pc.max(pc.abs(values)).as_py() if whole and large else None
        return pa.decimal128(38, 0) if top is not None and top < 1e37 else kind
    return kind


def _place(error: pa.ArrowInvalid) -> int | None:
    """The number of the row, from 0, that an error is about."""
    found = re.search(r" in row (\d+)", str(error))
    return found and int(found[1])


def _without_line(data: bytes, number: int) -> tuple[bytes, str]:
    """Without the text of one of the lines, and that text."""
    lines = data.splitlines(keepends=True)
    text = lines[number].rstrip(b"\r\n")
    lines[number] = lines[number][len(text) :]
    return b"".join(lines), text.decode(errors="replace")
