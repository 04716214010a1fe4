"""Columns that some files of a log lack, and what they may be called there."""

import difflib
from collections.abc import Mapping, Sequence

NEAR = 0.75  # of 1, how alike two names must be


def renamed_in(
    files: Mapping[str, Sequence[str]], absent: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Needed column -> the nearest of those that the first file without it has instead.

    Args:
        files: Path -> the names of its columns.
        absent: Needed column -> the files that lack it.
    """
    found = {}
    for name, paths in absent.items():
        others = {n for names in files.values() if name in names for n in names}
        instead = [n for n in files[paths[0]] if n not in others] if paths else []
        if close := difflib.get_close_matches(name, instead, n=1, cutoff=NEAR):
            found[name] = close[0]
    return found


def said_of(absent: Mapping[str, Sequence[str]], renamed: Mapping[str, str]) -> list[str]:
    """A warning of each column that some files lack.

    Args:
        absent: Needed column -> the files that lack it.
        renamed: What ``renamed_in`` found.
    """
    said = []
    for name, paths in absent.items():
        first = f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}"
        instead = f" (it has {renamed[name]!r}: a new name?)" if name in renamed else ""
        said.append(f"warning: column {name} is missing in {first}: null there{instead}")
    return said
