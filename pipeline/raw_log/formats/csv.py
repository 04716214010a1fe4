"""CSV: lines of text, of which the columns are learned from the first."""

import itertools

import pyarrow as pa
import pyarrow.csv
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats.base import PACKED, Form, Format, require_different
from steadyrank.pipeline.raw_log.formats.texts import as_text, malformed_lines

CSV_BLOCK_BYTES = 16 << 20
LOOK_BYTES = 65_536  # of a file, to learn its columns
BYTES_A_ROW = 64  # to guess a file's rows from its size


class Csv(Format):
    """Comma-separated values, or tab-separated, as the config's ``data`` says."""

    endings = (".csv", ".tsv", ".txt")

    @classmethod
    def takes(cls, ending, packed):
        """Kaggle's ``train.gz`` has the ending of its packing alone."""
        return ending in cls.endings or (packed and not ending)

    def look(self, path):
        names = self.form.columns or _csv_header(path, self.form)
        if self.form.columns and not self.form.multiline:
            _check_width(path, self.form)
        schema = pa.schema([(name, pa.string()) for name in names])
        size = FileSystems.match([path])[0].metadata_list[0].size_in_bytes
        return [None], schema, size // BYTES_A_ROW

    def read(self, path, part):
        try:
            yield from self._texts(path)
        except pa.ArrowInvalid as error:
            if "out of sync" in str(error):  # Arrow's word for it
                raise InputError(_unclosed(path, "near a block's end")) from None
            raise

    def _texts(self, path):
        """Texts; from the first block on that is not UTF-8, bytes that become texts."""
        batches = lines = 0
        try:
            for table, malformed in self._as(pa.string(), path):
                yield table, malformed
                batches += 1
                lines += 0 if malformed is None else len(malformed)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):  # a header line that nothing ends
                return
            if "invalid UTF8" not in str(error):
                raise
            yield from self._as(pa.binary(), path, batches, lines)

    def _as(self, kind: pa.DataType, path: str, batches: int = 0, lines: int = 0):
        """As ``read``, but for the first batches and malformed lines of the file."""
        malformed = []

        def keep(row):
            want, got = row.expected_columns, row.actual_columns
            malformed.append((row.text, f"CSV line has {got} columns instead of {want}"))
            return "skip"

        names = self.form.columns or _csv_header(path, self.form)
        rows = 0
        with _open_csv(path) as file:
            reader = pyarrow.csv.open_csv(
                file,
                pyarrow.csv.ReadOptions(
                    block_size=CSV_BLOCK_BYTES, column_names=list(self.form.columns)
                ),
                _options(self.form, invalid_row_handler=keep),
                pyarrow.csv.ConvertOptions(
                    column_types={name: kind for name in names},
                    null_values=[""],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=True,
                ),
            )
            empty = pa.record_batch({name: pa.array([], pa.string()) for name in names})
            for number, batch in enumerate(itertools.chain(reader, [empty])):
                rows += len(batch)
                if number < batches:
                    continue
                bad, length, ends = malformed[lines:], len(batch), batch is empty
                del malformed[lines : lines + len(bad)]
                if kind == pa.binary():
                    batch, others = as_text(batch, self.form.delimiter)
                    bad += others
                if not self.form.multiline:
                    _require_lines(path, batch, bad, rows - length)
                if bad or not ends:
                    yield pa.table(batch), malformed_lines(bad)


def _require_lines(path: str, batch: pa.RecordBatch, malformed: list, rows: int) -> None:
    """Raise where a row goes over several lines: mostly, a quote was never closed.

    All that it swallowed would be one row.  The look at every byte costs next to
    nothing: there is no line break to be found.
    """
    for text, *_ in malformed:
        if _breaks(text.encode()):
            where = f"about row {rows + 1:,} or later"
            raise InputError(_unclosed(path, where, text))
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        data = column.buffers()[2]
        if data is None or not _breaks(data.to_pybytes()):
            continue
        for place, value in enumerate(column.to_pylist()):
            if value and _breaks(value.encode()):
                where = f"row {rows + place + 1:,}, column {name!r}"
                raise InputError(_unclosed(path, where, value))


def _breaks(text: bytes) -> bool:
    return b"\n" in text or b"\r" in text


def _options(form: Form, **more) -> pyarrow.csv.ParseOptions:
    return pyarrow.csv.ParseOptions(
        delimiter=form.delimiter,
        quote_char=form.quote or False,
        newlines_in_values=form.multiline,
        **more,
    )


def _open_csv(path: str):
    """Beam's own unpacking is not one that Arrow can read from, and hides a cut end."""
    raw = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    codec = PACKED.get(f".{path.rpartition('.')[2]}")
    return pa.CompressedInputStream(pa.PythonFile(raw), codec) if codec else raw


def _first_lines(path: str) -> list[bytes]:
    with _open_csv(path) as file:
        lines = file.read(LOOK_BYTES).splitlines()
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise InputError(f"{path}: the file is empty.")
    return lines


def _one_line(path: str, line: bytes, form: Form) -> pa.Table:
    try:
        return pyarrow.csv.read_csv(
            pa.py_buffer(line + b"\n"),
            pyarrow.csv.ReadOptions(autogenerate_column_names=True),
            _options(form),
            pyarrow.csv.ConvertOptions(strings_can_be_null=False, null_values=[]),
        )
    except pa.ArrowInvalid:
        text = line.decode(errors="replace")
        raise InputError(_unclosed(path, "the first lines", text)) from None


def _check_width(path: str, form: Form) -> None:
    """Raise where the names fit neither of a file's first two lines: one may be broken."""
    lines = _first_lines(path)[:2]
    widths = [len(_one_line(path, line, form).schema) for line in lines]
    if len(form.columns) not in widths:
        raise InputError(
            f"{path}: data.columns names {len(form.columns)} columns, but the first line "
            f"has {widths[0]}, parted by {form.delimiter!r}. Name every column in its "
            "order, or mend data.delimiter."
        )


def _csv_header(path: str, form: Form) -> list[str]:
    table = _one_line(path, _first_lines(path)[0], form)
    names = [str(column[0].as_py()).removeprefix("\ufeff") for column in table.columns]
    advice = " If the file has no header line, name its columns in data.columns."
    require_different(path, names, advice)
    return names


def _unclosed(path: str, where: str, text: str = "") -> str:
    begins = f": {text[:80]!r}" if text else ""
    return (
        f"{path}: {where}: a value or a broken row goes over several lines{begins}. "
        "Mostly, a quote was never closed. If the file does not quote values, set "
        "data.quote: null; if its quoted values may hold line breaks, data.multiline: true."
    )
