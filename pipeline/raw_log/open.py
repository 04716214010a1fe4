"""Raw logs as Arrow: find the files, look at their columns, read them in pieces.

Files are opened through Beam's file systems, so a path may be local or of any scheme
that the installed Beam knows.
"""

from dataclasses import dataclass

import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from steadyrank.pipeline.files.errors import InputError, fault, near
from steadyrank.pipeline.files.object_store import let_beam_read
from steadyrank.pipeline.raw_log.columns import is_bytes, is_list, is_text
from steadyrank.pipeline.raw_log.formats import format_of
from steadyrank.pipeline.raw_log.formats.base import Form, Piece, unreadable


@dataclass(frozen=True)
class Log:
    """The files of one log, or of one side table.

    Attributes:
        files: Their paths.
        pieces: What to read, in parts.
        schema: Columns of the first file, and their types where a file has values.
        rows: How many there are; for files of text a guess from their size.
    """

    files: tuple[str, ...]
    pieces: tuple[Piece, ...]
    schema: pa.Schema
    rows: int


def open_log(
    patterns: list[str],
    form: Form,
    needs: dict[str, str],
) -> Log:
    """Find a log's files and check their columns, from footers and header lines alone.

    Args:
        patterns: Paths, or patterns with ``*``; a file that several mean is read once.
        form: Of files of text.
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


def _look(path: str, form: Form, needed: tuple[str, ...]) -> tuple[list, pa.Schema, int]:
    format = format_of(path, form, needed)
    try:
        parts, schema, rows = format.look(path)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise unreadable(path, error) from None
    return [Piece(path, format, part) for part in parts], schema, rows


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
