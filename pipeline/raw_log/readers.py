"""Raw logs as Arrow: find the files, look at their columns, read them in pieces.

Files are opened through Beam's file systems, so a path may be local or of any scheme
that the installed Beam knows.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from steadyrank.pipeline.files.errors import InputError, PassingError, fault, near
from steadyrank.pipeline.files.object_storage import let_beam_read
from steadyrank.pipeline.raw_log.columns import is_bytes, is_list, is_text

BATCH_ROWS = 65_536
NOT_UTF8 = "not UTF-8"
CSV_BLOCK_BYTES = 16 << 20
CSV_SUFFIXES = (".csv", ".tsv", ".txt")  # each also packed
CODECS = {"gz": "gzip", "bz2": "bz2"}
LOOK_BYTES = 65_536  # of a CSV file, to learn its columns


@dataclass(frozen=True)
class CsvForm:
    """How CSV files are written: keys of a config's ``data``.

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
    def of(cls, data) -> "CsvForm":
        """As a config's ``data`` says of the log."""
        return cls(data.delimiter, data.quote, data.multiline, tuple(data.columns))

    def options(self, **more) -> pyarrow.csv.ParseOptions:
        """The same for Arrow."""
        return pyarrow.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote or False,
            newlines_in_values=self.multiline,
            **more,
        )


@dataclass(frozen=True)
class Piece:
    """A part of a log that one worker reads: a Parquet row group, or a CSV file.

    Attributes:
        path: Of the file.
        row_group: None for a CSV file.
        form: Of a CSV file.
        needed: Columns of a Parquet file whose texts must be UTF-8.
    """

    path: str
    row_group: int | None
    form: CsvForm = CsvForm()
    needed: tuple[str, ...] = ()

    def batches(self) -> Iterator[tuple[pa.Table, pa.Table | None]]:
        """Read the piece.

        Yields:
            A table of up to ``BATCH_ROWS`` rows or one CSV block, and the lines that
            could not be split into columns and the rows that are not UTF-8 (``text``
            and ``reason``), where there are any.

        Raises:
            InputError: The file cannot be read; the message names it.
        """
        read = self._csv if self.row_group is None else self._parquet
        try:
            yield from read()
        except (pa.ArrowException, OSError, EOFError, ValueError) as error:
            if "out of sync" in str(error):  # Arrow's word for it
                raise InputError(_unclosed(self.path, "near a block's end")) from None
            raise _unreadable(self.path, error) from None

    def _parquet(self):
        with FileSystems.open(self.path) as file:
            parquet = pq.ParquetFile(file)
            groups = [self.row_group]
            for batch in parquet.iter_batches(BATCH_ROWS, row_groups=groups):
                table, bad = _readable(pa.table(batch), list(self.needed))
                yield table, _malformed(bad)

    def _csv(self):
        """Texts; from the first block on that is not UTF-8, bytes that become texts."""
        batches = lines = 0
        try:
            for table, malformed in self._csv_of(pa.string()):
                yield table, malformed
                batches += 1
                lines += 0 if malformed is None else len(malformed)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):  # a header line that nothing ends
                return
            if "invalid UTF8" not in str(error):
                raise
            yield from self._csv_of(pa.binary(), batches, lines)

    def _csv_of(self, kind: pa.DataType, batches: int = 0, lines: int = 0):
        """As ``batches``, but for the first batches and malformed lines of the file."""
        malformed = []

        def keep(row):
            want, got = row.expected_columns, row.actual_columns
            malformed.append((row.text, f"CSV line has {got} columns instead of {want}"))
            return "skip"

        names = self.form.columns or _csv_header(self.path, self.form)
        rows = 0
        with _open_csv(self.path) as file:
            reader = pyarrow.csv.open_csv(
                file,
                pyarrow.csv.ReadOptions(
                    block_size=CSV_BLOCK_BYTES, column_names=list(self.form.columns)
                ),
                self.form.options(invalid_row_handler=keep),
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
                    batch, others = _as_text(batch, self.form.delimiter)
                    bad += others
                if not self.form.multiline:
                    self._require_lines(batch, bad, rows - length)
                if bad or not ends:
                    yield pa.table(batch), _malformed(bad)

    def _require_lines(self, batch: pa.RecordBatch, malformed: list, rows: int) -> None:
        """Raise where a row goes over several lines: mostly, a quote was never closed.

        All that it swallowed would be one row.  The look at every byte costs next to
        nothing: there is no line break to be found.
        """
        for text, *_ in malformed:
            if _breaks(text.encode()):
                where = f"about row {rows + 1:,} or later"
                raise InputError(_unclosed(self.path, where, text))
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            data = column.buffers()[2]
            if data is None or not _breaks(data.to_pybytes()):
                continue
            for place, value in enumerate(column.to_pylist()):
                if value and _breaks(value.encode()):
                    where = f"row {rows + place + 1:,}, column {name!r}"
                    raise InputError(_unclosed(self.path, where, value))


def _breaks(text: bytes) -> bool:
    return b"\n" in text or b"\r" in text


def _as_text(batch: pa.RecordBatch, delimiter: str) -> tuple[pa.RecordBatch, list]:
    """Bytes as texts, and the rows that are none, as lines with a reason."""
    bad = np.zeros(len(batch), bool)
    for column in batch.columns:
        try:
            column.cast(pa.string())
        except pa.ArrowInvalid:
            bad |= [_is_not_utf8(value) for value in column.to_pylist()]
    lines = [
        (delimiter.join(map(_shown, row)), NOT_UTF8)
        for row in zip(*(c.filter(pa.array(bad)).to_pylist() for c in batch), strict=True)
    ]
    good = [column.filter(pa.array(~bad)).cast(pa.string()) for column in batch]
    return pa.record_batch(good, batch.schema.names), lines


def _readable(table: pa.Table, names: list[str]) -> tuple[pa.Table, list]:
    """The rows whose texts are UTF-8, and the others, as lines with a reason."""
    try:
        table.select(names).validate(full=True)
        return table, []
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise
    rows = list(zip(*(_with_bytes(table[n]).to_pylist() for n in names), strict=True))
    bad = np.array([any(map(_is_not_utf8, row)) for row in rows])
    lines = [
        (", ".join(f"{n}: {_shown(v)}" for n, v in zip(names, row, strict=True)), NOT_UTF8)
        for row in itertools.compress(rows, bad)
    ]
    return table.filter(pa.array(~bad)), lines


def _with_bytes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts, or lists of them, as bytes, which Python holds whatever they are."""
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array([part.dictionary_decode() for part in column.chunks])
    if is_list(column.type) and is_text(column.type.value_type):
        return column.cast(pa.list_(pa.large_binary()))
    return column.cast(pa.large_binary()) if is_text(column.type) else column


def _is_not_utf8(value) -> bool:
    if isinstance(value, list):
        return any(map(_is_not_utf8, value))
    try:
        return isinstance(value, bytes) and value.decode() is None
    except UnicodeDecodeError:
        return True


def _shown(value) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def _malformed(lines: list[tuple[str, str]]) -> pa.Table | None:
    if not lines:
        return None
    texts, reasons = zip(*lines, strict=True)
    return pa.table({"text": texts, "reason": reasons})


@dataclass(frozen=True)
class Log:
    """The files of one log, or of one side table.

    Attributes:
        files: Their paths.
        pieces: What to read, in parts.
        schema: Columns of the first file, and their types where a file has values.
        rows: How many there are; for CSV files a guess from their size.
    """

    files: tuple[str, ...]
    pieces: tuple[Piece, ...]
    schema: pa.Schema
    rows: int


def open_log(
    patterns: list[str],
    form: CsvForm,
    needs: dict[str, str],
) -> Log:
    """Find a log's files and check their columns, from footers and header lines alone.

    Args:
        patterns: Paths, or patterns with ``*``; a file that several mean is read once.
        form: Of CSV files.
        needs: Column -> which key of the config wants it.

    Returns:
        The log.

    Raises:
        InputError: A pattern matches nothing, a file is empty, unreadable or of an
            unknown format, or lacks a column that is needed; a needed column is
            called as ours are, or of different kinds; or the form's ``columns`` are
            not the number of columns that a file has.
    """
    for name, key in needs.items():
        if name.startswith("__"):
            raise InputError(
                f"{key}: column {name!r} begins with '__', as columns do that "
                "preprocessing adds. Rename it in the log."
            )
    files = list(dict.fromkeys(path for pattern in patterns for path in _match(pattern)))
    pieces, names, types, rows = [], None, {}, 0
    for path in files:
        its_pieces, schema, its_rows = _look(path, form, tuple(needs))
        require_columns(path, schema.names, needs)
        _same_types(types, path, schema, needs)
        for field in schema:
            if field.name not in types or _untyped(types[field.name][1]):
                types[field.name] = path, field.type
        names = names or schema.names
        pieces += its_pieces
        rows += its_rows
    if not pieces:
        raise InputError(f"{', '.join(files)}: no rows.")
    schema = pa.schema([(name, types[name][1]) for name in names])
    return Log(tuple(files), tuple(pieces), schema, rows)


def read_all(log: Log, columns: list[str]) -> pa.Table:
    """Some columns of a whole log as one table: for side tables."""
    tables = []
    for piece in log.pieces:
        for table, malformed in piece.batches():
            if malformed is not None:
                reason = malformed["reason"][0].as_py()
                raise InputError(
                    f"{piece.path}: {reason}: {malformed['text'][0].as_py()!r}"
                )
            tables.append(table.select(columns))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        files = ", ".join(log.files)
        raise InputError(f"{files}: the files of a side table differ: {error}") from None


def require_columns(path: str, names: list[str], needs: dict[str, str]) -> None:
    """Raise where a needed column is missing, with the nearest one that is there."""
    for name, wanted_by in needs.items():
        if name not in names:
            raise InputError(
                f"{path}: no column {name!r}, which {wanted_by} needs. {near(name, names)}"
            )


def files_of(pattern: str) -> list[str]:
    """The files that a name or a pattern means, in order; none where there are none."""
    let_beam_read(pattern)
    try:
        found = FileSystems.match([pattern])[0].metadata_list
    except Exception as error:  # each file system has errors of its own
        raise fault(f"cannot look for {pattern}: {error}", error) from None
    return sorted(metadata.path for metadata in found)


def _match(pattern: str) -> list[str]:
    found = files_of(pattern)
    if not found:
        raise InputError(f"{pattern}: no such file.")
    return found


def _look(
    path: str, form: CsvForm, needed: tuple[str, ...]
) -> tuple[list[Piece], pa.Schema, int]:
    try:
        if path.endswith(".parquet"):
            if form.columns:
                raise InputError(
                    f"{path}: a Parquet file names its columns. Remove data.columns."
                )
            with FileSystems.open(path) as file:
                parquet = pq.ParquetFile(file)
                _require_different(path, parquet.schema_arrow.names)
                rows = parquet.metadata.num_rows
                groups = range(parquet.num_row_groups)
                pieces = [Piece(path, group, form, needed) for group in groups]
                return pieces, parquet.schema_arrow, rows
        if _is_csv(path):
            names = form.columns or _csv_header(path, form)
            if form.columns and not form.multiline:
                _check_width(path, form)
            schema = pa.schema([(name, pa.string()) for name in names])
            size = FileSystems.match([path])[0].metadata_list[0].size_in_bytes
            return [Piece(path, None, form)], schema, size // 64
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise _unreadable(path, error) from None
    raise InputError(
        f"{path}: unknown format. Allowed: .parquet, {', '.join(CSV_SUFFIXES)}, and "
        "these three packed: .gz, .bz2."
    )


def _is_csv(path: str) -> bool:
    """By its name: Kaggle's ``train.gz`` has the ending of its packing alone."""
    file = PurePosixPath(path.replace("\\", "/"))
    packed = file.suffix[1:] in CODECS
    suffix = file.with_suffix("").suffix if packed else file.suffix
    return suffix in CSV_SUFFIXES or (packed and not suffix)


def _open_csv(path: str):
    """Beam's own unpacking is not one that Arrow can read from, and hides a cut end."""
    raw = FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    codec = CODECS.get(path.rpartition(".")[2])
    return pa.CompressedInputStream(pa.PythonFile(raw), codec) if codec else raw


def _first_lines(path: str) -> list[bytes]:
    with _open_csv(path) as file:
        lines = file.read(LOOK_BYTES).splitlines()
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise InputError(f"{path}: the file is empty.")
    return lines


def _one_line(path: str, line: bytes, form: CsvForm) -> pa.Table:
    try:
        return pyarrow.csv.read_csv(
            pa.py_buffer(line + b"\n"),
            pyarrow.csv.ReadOptions(autogenerate_column_names=True),
            form.options(),
            pyarrow.csv.ConvertOptions(strings_can_be_null=False, null_values=[]),
        )
    except pa.ArrowInvalid:
        text = line.decode(errors="replace")
        raise InputError(_unclosed(path, "the first lines", text)) from None


def _check_width(path: str, form: CsvForm) -> None:
    """Raise where the names fit neither of a file's first two lines: one may be broken."""
    lines = _first_lines(path)[:2]
    widths = [len(_one_line(path, line, form).schema) for line in lines]
    if len(form.columns) not in widths:
        raise InputError(
            f"{path}: data.columns names {len(form.columns)} columns, but the first line "
            f"has {widths[0]}, parted by {form.delimiter!r}. Name every column in its "
            "order, or mend data.delimiter."
        )


def _csv_header(path: str, form: CsvForm) -> list[str]:
    table = _one_line(path, _first_lines(path)[0], form)
    names = [str(column[0].as_py()).removeprefix("\ufeff") for column in table.columns]
    advice = " If the file has no header line, name its columns in data.columns."
    _require_different(path, names, advice)
    return names


def _require_different(path: str, names: list[str], advice: str = "") -> None:
    if len(set(names)) < len(names):
        raise InputError(f"{path}: column names must differ. Received: {names}.{advice}")


def _same_types(types: dict[str, tuple], path: str, schema: pa.Schema, needs) -> None:
    """Raise where a column is of another kind than in the files before."""
    for name in needs:
        first, one = types.get(name, (path, pa.null()))
        two = schema.field(name).type
        if pa.types.is_null(one) or pa.types.is_null(two):  # no value that could differ
            continue
        timed = needs[name] in ("data.time", "data.sequences.time")  # numbers, too
        if _kind(one, timed) != _kind(two, timed):
            raise InputError(
                f"{path}: column {name!r} is {two}, but {one} in {first}. "
                "All files of a log must agree."
            )


def _untyped(kind: pa.DataType) -> bool:
    """Whether a column holds no value, or nothing but empty lists."""
    return pa.types.is_null(kind.value_type if is_list(kind) else kind)


def _kind(column: pa.DataType, timed: bool) -> tuple[bool, ...]:
    """What two files must agree on: text or not, a list or not, mostly a time or not;
    and whether its values, or those of its lists, are structures or bytes."""
    value = column.value_type if is_list(column) else column
    time, nested = not timed and pa.types.is_temporal(column), pa.types.is_nested(value)
    return is_text(column), is_list(column), time, nested, is_bytes(value)


def _unclosed(path: str, where: str, text: str = "") -> str:
    begins = f": {text[:80]!r}" if text else ""
    return (
        f"{path}: {where}: a value or a broken row goes over several lines{begins}. "
        "Mostly, a quote was never closed. If the file does not quote values, set "
        "data.quote: null; if its quoted values may hold line breaks, data.multiline: true."
    )


def _unreadable(path: str, error: Exception) -> InputError | PassingError:
    if isinstance(error, InputError):
        return error
    found = fault(f"{path}: cannot be read, it may be corrupt or cut off: {error}", error)
    if isinstance(found, PassingError):
        return PassingError(f"{path}: cannot be read now: {error}. Try again.")
    return found
