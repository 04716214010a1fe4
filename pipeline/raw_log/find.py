"""Which files a config's patterns mean; whatever else they match is named, with why."""

import difflib
import fnmatch
import itertools
import os
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems

from steadyrank.pipeline.files.errors import InputError, fault
from steadyrank.pipeline.files.object_store import let_beam_read, starting_with

WILD = re.compile(r"[*?\[]")
TABLES = {"_delta_log": "Delta", ".hoodie": "Hudi"}
ICEBERG = re.compile(r"(.*)/metadata/v?(\d+)[^/]*\.metadata\.json")
MOST_NAMES = 10_000  # of a folder, that are looked through for a hint
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Found:
    """What patterns matched.

    Attributes:
        files: To be read, each once.
        passed_over: Path -> why it is none of them.
    """

    files: tuple[str, ...] = ()
    passed_over: dict[str, str] = field(default_factory=dict)


def find(patterns: list[str], key: str = "") -> Found:
    """The files that some names, folders or patterns mean.

    Hidden files (``_SUCCESS``, ``.part.crc``) are passed over, and so are those of
    folders that a pattern does not go into.

    Args:
        patterns: The names.
        key: Of the config, that has them, for the message.

    Raises:
        InputError: A pattern matches nothing that can be read, or a folder is a table
            whose files are not its rows.
    """
    files, passed_over = {}, {}
    for pattern in patterns:
        found = look_for(pattern)
        if not found.files:
            others = ", ".join(f"{p} ({why})" for p, why in found.passed_over.items())
            raise InputError(
                f"{key}{': ' * bool(key)}{pattern}: no such file."
                + (f" Passed over: {others[:500]}." if others else _nearest(pattern))
            )
        files |= dict.fromkeys(found.files)
        passed_over |= found.passed_over
    over = {path: why for path, why in passed_over.items() if path not in files}
    return Found(tuple(files), over)


def _nearest(pattern: str) -> str:
    """What stands beside a name that was not found: the folder, and the nearest name."""
    if "://" in pattern:
        return ""
    folder = Path(WILD.split(pattern)[0] or ".")
    folder, wanted = folder.parent.absolute(), folder.name
    while not folder.is_dir():
        folder, wanted = folder.parent, folder.name
    with os.scandir(folder) as entries:
        names = [entry.name for entry in itertools.islice(entries, MOST_NAMES)]
    close = difflib.get_close_matches(Path(pattern).name, names, n=1, cutoff=0.5)
    close = close or difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    hint = f" Did you mean {folder / close[0]}?" if close else ""
    return f" Looked in {folder}, which holds {len(names) or 'no'} names.{hint}"


def look_for(pattern: str) -> Found:
    """What one name, folder or pattern means; nothing where there is nothing.

    A name that exists is that file or folder, whatever characters it has.
    """
    let_beam_read(pattern)
    local = "://" not in pattern
    if local and os.path.isfile(pattern):
        return Found((pattern,))
    wild = _literal(pattern, local)
    inside = f"{wild.rstrip('/')}/**"
    if local and os.path.isdir(pattern):
        paths, below = _match(inside), []
    else:
        paths = _match(wild)
        below = [p for p in _match(inside) if p not in paths] if paths and local else []
        paths = paths or _match(inside)
    stem = WILD.split(pattern)[0].rpartition("/")[0]
    hidden = {path: _why_hidden(path.removeprefix(stem)) for path in [*paths, *below]}
    for path, why in hidden.items():
        if why in TABLES.values():
            raise InputError(
                f"{pattern}: is a table of {why}: its files hold rows that it does not. "
                f"Received: {path}. Write its rows out as Parquet, and read those."
            )
    files = [path for path in paths if not hidden[path] or path == pattern]
    files, of_tables = _of_iceberg(files)
    others = of_tables | dict.fromkeys(
        below, "in a folder that the pattern does not go into"
    )
    others |= {path: why for path, why in hidden.items() if why and path not in files}
    return Found(tuple(files), others)


def _of_iceberg(paths: list[str]) -> tuple[list[str], dict[str, str]]:
    """Of each Iceberg table among some files its newest metadata alone.

    Returns:
        The files, and each table's folder with what became of its other files.
    """
    newest: dict[str, tuple[int, str]] = {}
    for path in paths:
        if found := ICEBERG.fullmatch(path):
            table, version = found[1], (int(found[2]), path)
            newest[table] = max(newest.get(table, version), version)
    if not newest:
        return paths, {}
    within = tuple(f"{table}/" for table in newest)
    others = [path for path in paths if not path.startswith(within)]
    tables = dict.fromkeys(newest, "files of an Iceberg table: as its metadata says")
    return [*others, *(path for _, path in newest.values())], tables


def is_meant(path: str, pattern: str) -> bool:
    """Whether a file of a log is one that a name, folder or pattern means."""
    if path == pattern or path.startswith(pattern.rstrip("/") + "/"):
        return True
    return fnmatch.fnmatch(path, _literal(pattern, "://" not in pattern))


def partitions(path: str) -> dict[str, str | None]:
    """Column -> value, of folders called ``dt=2026-01-01``, as Hive names them."""
    found = {}
    for folder in path.split("/")[:-1]:
        name, equals, value = folder.partition("=")
        if equals and name.isidentifier():
            value = urllib.parse.unquote(value)
            found[name] = None if value in (NO_VALUE, "") else value
    return found


def _match(pattern: str) -> list[str]:
    """The files of a pattern, in which ``[[]`` is ``[``, as Beam does not have it."""
    if pattern.startswith("s3://"):
        return _match_objects(pattern)
    try:
        found = FileSystems.match([pattern.replace("[[]", "?")])[0].metadata_list
    except Exception as error:  # each file system has errors of its own
        raise fault(f"cannot look for {pattern}: {error}", error) from None
    paths = sorted(metadata.path for metadata in found if metadata.path[-1:] != "/")
    return [p for p in paths if "[[]" not in pattern or fnmatch.fnmatchcase(p, pattern)]


def _match_objects(pattern: str) -> list[str]:
    """The same of S3, whose answers are waited for as long as everywhere."""
    wild = re.compile(FileSystem.translate_pattern(pattern.replace("[[]", "?")))
    paths = sorted(starting_with(WILD.split(pattern)[0]))
    found = [path for path in paths if wild.fullmatch(path) and path[-1] != "/"]
    return [p for p in found if "[[]" not in pattern or fnmatch.fnmatchcase(p, pattern)]


def _literal(pattern: str, local: bool) -> str:
    """A pattern in which ``[`` is itself wherever a file or a folder is called so."""
    if "[" not in pattern or not local:
        return pattern
    parts, literal = pattern.split("/"), []
    for place, part in enumerate(parts):
        exists = os.path.exists("/".join(parts[: place + 1]) or "/")
        literal.append(part.replace("[", "[[]") if exists else part)
    return "/".join(literal)


def _why_hidden(path: str) -> str:
    """Why a file is no part of a log, from the names below a pattern; ``""``: it is."""
    for name in path.split("/"):
        if name in TABLES:
            return TABLES[name]
        if name.startswith(".") or name.endswith(".crc"):
            return "hidden"
        if name.startswith("_") and "=" not in name:
            return "hidden"
    return ""
