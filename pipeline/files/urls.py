"""Places: local paths and URLs of object storage, under the names that a user gave them."""

import functools
import re
from pathlib import Path

from steadyrank.pipeline.files.errors import InputError

SCHEMES = ("s3://", "gs://", "hdfs://")
UNPUBLISHED = re.compile(r"^\.(.+)\.partial-[0-9a-f]{16}$")  # as ``publish`` names them


class Url(str):
    """A place on object storage; ``/`` goes below it, as with a ``Path``."""

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        return self.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "Url":
        return Url(self.rstrip("/").rpartition("/")[0])


def locate(text: str) -> Path | Url:
    """What a path on the command line means.

    Raises:
        InputError: It is a URL of another scheme, or holds a zero byte.
    """
    if "\0" in text:
        raise InputError(
            f"a path must not hold a zero byte. Received: {text!r}. Take it out."
        )
    if text.startswith(SCHEMES):
        return Url(text)
    if "://" in text:
        raise InputError(
            f"{text}: unknown scheme. Allowed: {', '.join(SCHEMES)} and local paths."
        )
    return Path(text)


def within(folder: Path | Url, path: str) -> str:
    """A path of a config: itself where it is a URL, else relative to a folder."""
    return path if path.startswith(SCHEMES) else str(folder / path)


def partial_of(place: Path | Url) -> Path | Url:
    """Where training writes until it has ended, beside a local path or a URL."""
    return place.parent / f"{place.name}.partial"


def remember_origin(local: Path, url: Url) -> None:
    """Note beside a local stand-in what it stands in for: any process can look it up."""
    local.parent.mkdir(parents=True, exist_ok=True)
    _note_beside(local).write_text(url, encoding="utf-8")


def original(path: Path) -> str:
    """What a user calls a place: the URL that it stands in for, else the path as it is.

    A place in a folder that is still being written is called as it will be when that
    folder is published.
    """
    path = Path(*(UNPUBLISHED.sub(r"\1", part) for part in path.parts))
    for above in (path, *path.parents):
        note = _note_beside(above)
        if note.is_file():
            below = path.relative_to(above).parts
            url = Url(note.read_text(encoding="utf-8"))
            return str(functools.reduce(Url.__truediv__, below, url))
    return str(path)


def _note_beside(local: Path) -> Path:
    return local.parent / f".{local.name}.origin"
