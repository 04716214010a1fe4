"""CSV: lines of text, of which the columns are learned from the first."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats.base import (
    Batch,
    EmptyFile,
    Form,
    Format,
    require_different,
    size_of,
)
from steadyrank.pipeline.raw_log.formats.guess import LOOK_BYTES, rows_in
from steadyrank.pipeline.raw_log.formats.lines import (
    Block,
    blocks,
    delimiter_of,
    record_lines,
    unclosed,
    without_others,
)
from steadyrank.pipeline.raw_log.formats.texts import malformed_lines


class Csv(Format):
    """Comma-separated values, or tab-separated, as the config's ``data`` says."""

    endings = (".csv", ".tsv", ".txt")
    rows_are_lines = True

    @classmethod
    def takes(cls, ending, packed):
        """Kaggle's ``train.gz`` has the ending of its packing alone."""
        return ending in cls.endings or (packed and not ending)

    def look(self, path):
        size = size_of(path)
        if not size:
            raise EmptyFile(path, "0 bytes")
        first = _first_records(path, self.form)
        if self.form.columns:
            names = list(self.form.columns)
            if not self.form.multiline:
                _check_width(path, self.form, first)
        else:
            names = _names(path, first[0])
        schema = pa.schema([(name, pa.string()) for name in names])
        return [None], schema, rows_in(path, self.form, size, header=not self.form.columns)

    def read(self, path, part):
        names = list(self.form.columns)
        for block in blocks(path, self.form):
            if not names:
                names, block = _without_header(path, block, self.form)
            yield self._parsed(path, names, block)

    def _parsed(self, path: str, names: list[str], block: Block) -> Batch:
        data, said = without_others(block, self.form)
        table, bad = _parse(data, names, self.form)
        lines = record_lines(data, block.line, len(table) + len(bad), self.form)
        said += [(text, why, lines[number - 1]) for number, text, why in bad]
        lines = np.delete(lines, [number - 1 for number, *_ in bad])
        return Batch(_delimited(table, self.form), lines, malformed_lines(said))


def _parse(data: bytes, names: list[str], form: Form):
    """Records as a table, and those that are not as wide: number, text and reason."""
    bad: list[tuple[int, str, str]] = []
    if not data.strip(b"\r\n"):
        return pa.table({name: pa.array([], pa.string()) for name in names}), bad

    def keep(row):
        want, got = row.expected_columns, row.actual_columns
        text = row.text.replace(delimiter_of(form), form.delimiter)
        bad.append((row.number, text, f"CSV line has {got} columns instead of {want}"))
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.py_buffer(data),
        pyarrow.csv.ReadOptions(
            column_names=names, use_threads=False, block_size=len(data) + 1
        ),
        _options(form, invalid_row_handler=keep),
        pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=["", *form.null_values],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    return table, bad


def _delimited(table: pa.Table, form: Form) -> pa.Table:
    """With the delimiter again where it stands within a value in quotes."""
    part = delimiter_of(form)
    if part == form.delimiter or not form.quote:
        return table
    for place, name in enumerate(table.column_names):
        if pc.any(pc.match_substring(table[name], part)).as_py():
            whole = pc.replace_substring(table[name], part, form.delimiter)
            table = table.set_column(place, name, whole)
    return table


def _options(form: Form, **more) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(
        delimiter=delimiter_of(form),
        quote_char=form.quote or False,
        escape_char=(not form.quote and form.escape) or False,
        newlines_in_values=form.multiline,
        **more,
    )


def _first_records(path: str, form: Form) -> list[list[str]]:
    """The values of the first two records that are not empty."""
    found = []
    for block in blocks(path, form, LOOK_BYTES):
        for line in block.data.splitlines():
            if line.strip():
                found.append(_values(path, line, form, header=not found))
            if len(found) == 2:
                return found
    if not found:
        raise EmptyFile(path, "no line")
    return found


def _without_header(path: str, block: Block, form: Form) -> tuple[list[str], Block]:
    """The names in a block's first line, and what follows it."""
    start, line = 0, block.line
    for text in block.data.splitlines(keepends=True):
        start, line = start + len(text), line + 1
        if text.strip():
            names = _names(path, _values(path, text, form, header=True))
            return names, Block(block.data[start:], line)
    return [], Block(b"", line)


def _values(path: str, line: bytes, form: Form, header: bool) -> list[str]:
    """The values of one line, as the texts that they are."""
    try:
        text = line.decode(errors="strict" if header else "replace").strip("\r\n")
    except UnicodeDecodeError:
        text = line[:200].decode(errors="replace").strip()
        raise InputError(
            f"{path}: the first line is not UTF-8: {text!r}. Set data.encoding, such as "
            "latin-1 or cp1252."
        ) from None
    if form.quote and text.count(form.quote) % 2:
        raise InputError(unclosed(path, "the first lines", text[:80]))
    wide: list[int] = []
    options = _options(form, invalid_row_handler=lambda row: _count(wide, row))
    names, data = ["0"], text.encode() + b"\n"
    table: pa.Table = ()
    while not len(table):
        table = pyarrow.csv.read_csv(
            pa.py_buffer(data),
            pyarrow.csv.ReadOptions(
                column_names=names, use_threads=False, block_size=len(data) + 1
            ),
            options,
            pyarrow.csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, null_values=[]
            ),
        )
        names = [str(place) for place in range(wide[-1] if wide else 1)]
    part = delimiter_of(form)
    return [column[0].as_py().replace(part, form.delimiter) for column in table.columns]


def _count(found: list[int], row) -> str:
    found.append(row.actual_columns)
    return "skip"


def _names(path: str, values: list[str]) -> list[str]:
    advice = "If the file has no header line, name its columns in data.columns."
    require_different(path, values, advice)
    return values


def _check_width(path: str, form: Form, records: list[list[str]]) -> None:
    """Raise where the names fit neither of a file's first two lines: one may be broken."""
    widths = [len(record) for record in records]
    if len(form.columns) not in widths:
        raise InputError(
            f"{path}: data.columns names {len(form.columns)} columns, but the first line "
            f"has {widths[0]}, parted by {form.delimiter!r}. Name every column in its "
            "order, or mend data.delimiter."
        )
