"""Raw logs as Arrow: find the files, look at their columns, read them in pieces.

Files are opened through Beam's file systems, so a path may be local or of any scheme
that the installed Beam knows.
"""

from dataclasses import dataclass, field

import pyarrow as pa

from steadyrank.pipeline.files.errors import InputError, NoRowsError, near
from steadyrank.pipeline.raw_log.absent import renamed_in
from steadyrank.pipeline.raw_log.arrow_types import is_wide
from steadyrank.pipeline.raw_log.columns import is_bytes, is_list, is_text
from steadyrank.pipeline.raw_log.find import find, look_for, partitions
from steadyrank.pipeline.raw_log.formats import format_of, has_delimiter
from steadyrank.pipeline.raw_log.formats.base import EmptyFile, Form, Piece, unreadable

VITAL = (
    "data.time",
    "data.sequences",
    "data.join",
    "data.split",
)  # keys of columns that no file lacks


@dataclass(frozen=True)
class Log:
    """The files of one log, or of one side table.

    Attributes:
        files: Their paths.
        pieces: What to read, in parts.
        schema: Columns of all files, and the widest type that each has.
        rows: How many there are; for files of text a guess from their size.
        passed_over: Path -> why it is not read, of what the patterns matched.
        absent: Needed column -> the files that lack it, in whose rows it is null.
        renamed: Needed column -> what it may be called in the first of these.
    """

    files: tuple[str, ...]
    pieces: tuple[Piece, ...]
    schema: pa.Schema
    rows: int
    passed_over: dict[str, str] = field(default_factory=dict)
    absent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)


def open_log(
    patterns: list[str],
    form: Form,
    needs: dict[str, str],
    key: str = "",
) -> Log:
    """Find a log's files and check their columns, from footers and header lines alone.

    Args:
        patterns: Paths, folders, or patterns with ``*``; a file that several mean is
            read once.
        form: Of files of text.
        needs: Column -> which key of the config wants it.
        key: Of the config, that has the patterns.

    Returns:
        The log.

    Raises:
        InputError: A pattern matches nothing, all files are empty, one is unreadable or
            of an unknown format, lacks a column that none may lack, or all that are
            needed; a needed column is called as ours are, is in no file, or is of
            different kinds; or the form's ``columns`` are not the number of columns
            that a file has.
    """
    for name, wanted_by in needs.items():
        if name.startswith("__"):
            raise InputError(
                f"{wanted_by}: column {name!r} begins with '__', as columns do that "
                "preprocessing adds. Rename it in the log."
            )
    found = find(patterns, key)
    passed_over, files = dict(found.passed_over), []
    pieces, types, rows = [], {}, 0
    for path in found.files:
        try:
            its_pieces, schema, its_rows = _look(path, form, tuple(needs))
        except EmptyFile as error:
            if len(found.files) == 1:
                raise
            passed_over[path] = error.why
            continue
        _require_enough(path, schema.names, needs)
        _same_types(types, path, schema, needs)
        for column in schema:
            if column.name not in types or _wider(column.type, types[column.name][1]):
                types[column.name] = path, column.type
        files.append((path, schema.names))
        pieces += its_pieces
        rows += its_rows
    if not pieces:
        raise NoRowsError(
            f"{', '.join(found.files)}: no rows. Mend data.input, or wait for the log."
        )
    require_columns(files[0][0], list(types), needs)
    schema = pa.schema([(name, kind) for name, (_, kind) in types.items()])
    absent = {n: tuple(path for path, names in files if n not in names) for n in needs}
    absent = {name: paths for name, paths in absent.items() if paths}
    return Log(
        tuple(path for path, _ in files),
        tuple(pieces),
        schema,
        rows,
        passed_over,
        absent,
        renamed_in(dict(files), absent),
    )


def read_all(log: Log, columns: list[str]) -> pa.Table:
    """Some columns of a whole log as one table: for side tables."""
    tables = []
    for piece in log.pieces:
        for batch in piece.batches():
            if batch.malformed is not None:
                raise first_malformed(piece.path, batch.malformed)
            tables.append(batch.table.select(columns))
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        files = ", ".join(log.files)
        raise InputError(
            f"{files}: the files of a side table differ: {error}. Write "
            f"{', '.join(columns)} in one type in all of them."
        ) from None


def first_malformed(path: str, malformed: pa.Table) -> InputError:
    """The error to raise where a side table has lines that cannot be read."""
    text, reason, line = (column[0].as_py() for column in malformed.columns)
    return InputError(f"{path}: line {line:,}: {reason}: {text!r}. Mend the side table.")


def require_columns(path: str, names: list[str], needs: dict[str, str]) -> None:
    """Raise where a needed column is missing, with the nearest one that is there."""
    for name, wanted_by in needs.items():
        if name not in names:
            raise InputError(
                f"{path}: no column {name!r}, which {wanted_by} needs. {near(name, names)}"
            )


def files_of(pattern: str) -> list[str]:
    """The files that a name, a folder or a pattern means; none where there are none."""
    return list(look_for(pattern).files)


def _look(path: str, form: Form, needed: tuple[str, ...]) -> tuple[list, pa.Schema, int]:
    format = format_of(path, form, needed)
    try:
        parts, schema, rows = format.look(path)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise unreadable(path, error) from None
    folders = {n: v for n, v in partitions(path).items() if n not in schema.names}
    for name in folders:
        schema = schema.append(pa.field(name, pa.string()))
    more = tuple(folders.items())
    return [Piece(path, format, part, more) for part in parts], schema, rows


DELIMITERS = "\t,;|"


def _require_enough(path: str, names: list[str], needs: dict[str, str]) -> None:
    """Raise where a file lacks what none may lack, or all that is needed."""
    _require_parted(path, names, needs)
    vital = {n: k for n, k in needs.items() if k.startswith(VITAL)}
    require_columns(path, names, vital)
    if not {*names} & {*needs}:
        require_columns(path, names, needs)


def _require_parted(path: str, names: list[str], needs: dict[str, str]) -> None:
    """Raise where the name of a column is those of several that the file should have."""
    for name in names if has_delimiter(path) else ():
        for mark in DELIMITERS:
            held = [part for part in name.split(mark) if part in needs]
            if len(held) > 1 and name not in needs:
                raise InputError(
                    f"{path}: its values seem to be parted by {mark!r}: one column is "
                    f"{name[:80]!r}. Mend data.delimiter, which holds for all files of a "
                    "log, or write the file as the others are."
                )


def _wider(kind: pa.DataType, than: pa.DataType) -> bool:
    """Whether a column of another file holds what the first ones' type does not."""
    if _untyped(than):
        return not _untyped(kind)
    value, other = (k.value_type if is_list(k) else k for k in (kind, than))
    return is_wide(value) and not is_wide(other)


def _same_types(types: dict[str, tuple], path: str, schema: pa.Schema, needs) -> None:
    """Raise where columns are of another kind than in the files before."""
    differ = []
    for name in needs:
        if name not in schema.names:
            continue
        first, one = types.get(name, (path, pa.null()))
        two = schema.field(name).type
        if pa.types.is_null(one) or pa.types.is_null(two):  # no value that could differ
            continue
        if is_list(one) and is_list(two) and (_untyped(one) or _untyped(two)):
            continue
        timed = needs[name] in ("data.time", "data.sequences.time")  # numbers, too
        if _kind(one, timed) != _kind(two, timed):
            differ.append((name, two, one, first))
    if differ:
        said = "; ".join(
            f"column {name!r} is {two}, but {one} in {first}"
            for name, two, one, first in differ
        )
        raise InputError(
            f"{path}: {said}. All files of a log must agree.{_remedy(path, differ)}"
        )


def _remedy(path: str, differ: list[tuple]) -> str:
    """What mends a log of files of CSV, whose columns are texts, and of typed ones."""
    first = differ[0][3]
    for text, typed in ((path, first), (first, path)):
        if has_delimiter(text) and not has_delimiter(typed):
            names = ", ".join(column for column, *_ in differ)
            return (
                f" In CSV every column is text: write {text}, and the log's other files of "
                f"CSV, in the types of {typed} (Parquet), or these columns of {typed} as "
                f"texts: {names}."
            )
    return ""


def _untyped(kind: pa.DataType) -> bool:
    """Whether a column holds no value, or nothing but empty lists."""
    return pa.types.is_null(kind.value_type if is_list(kind) else kind)


def _kind(column: pa.DataType, timed: bool) -> tuple:
    """What two files must agree on: text or not, a list or not, mostly which sort of
    time, with a zone or not; and whether values, or those of lists, are structures."""
    value = column.value_type if is_list(column) else column
    time = () if timed else (_sort_of_time(column), getattr(column, "tz", None) is None)
    text = is_text(value) or is_bytes(value)
    return text, is_list(column), time, pa.types.is_nested(value)


def _sort_of_time(kind: pa.DataType) -> str:
    sorts = {"date": pa.types.is_date, "time": pa.types.is_time}
    sorts |= {"timestamp": pa.types.is_timestamp, "other": pa.types.is_temporal}
    return next((name for name, holds in sorts.items() if holds(kind)), "")
