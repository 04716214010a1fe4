"""A release folder on object storage, mirrored: its shape is local, its bytes are not."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from steadyrank.pipeline.files.object_store import read_bytes, sizes, write_bytes
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.files.whole_folders import move, send

BLESSED, WITHDRAWN = "blessed.json", "withdrawn"


@contextlib.contextmanager
def mirrored(place: Url, local: Path) -> Iterator[Path]:
    """A release folder; all files in its versions are empty, but for a new one's.

    That is sent before ``blessed.json`` names it.  What was withdrawn is copied to
    ``withdrawn/`` before it goes.
    """
    _mirror_release(place, local)
    before = {path.name for path in local.iterdir()}
    yield local
    for path in sorted(local.iterdir()):
        if path.name.isdigit() and path.name not in before:
            send(path, place / path.name)
    for path in sorted((local / WITHDRAWN).glob("*"), key=lambda path: int(path.name)):
        if path.name in before:
            move(place / path.name, place / WITHDRAWN / path.name)
    write_bytes(place / BLESSED, (local / BLESSED).read_bytes())


def _mirror_release(place: Url, local: Path) -> None:
    """A release folder's shape: its versions, withdrawn ones too, with empty files."""
    local.mkdir(parents=True)
    found = sizes(place)
    if BLESSED in found:
        (local / BLESSED).write_bytes(read_bytes(place / BLESSED))
    for parts in (name.split("/") for name in found):
        folder = parts[: 2 if parts[0] == WITHDRAWN else 1]
        if folder[-1].isdigit() and len(parts) > len(folder):
            local.joinpath(*parts[:-1]).mkdir(parents=True, exist_ok=True)
            local.joinpath(*parts).touch()
