"""Folders on object storage that are whole or absent.

What a stage wrote is sent when it is done: ``_COMPLETE.json`` last, which names every
object and its size.  A folder without it, or with an object missing or of another size,
was left half-written and is refused.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from steadyrank.pipeline.files.documents import parse
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.object_store import (
    delete,
    read_bytes,
    read_into,
    sizes,
    write_bytes,
    write_from,
)
from steadyrank.pipeline.files.publish import heal
from steadyrank.pipeline.files.scratch import unlinked
from steadyrank.pipeline.files.shapes import Complete
from steadyrank.pipeline.files.urls import Url

MARKER = "_COMPLETE.json"


def exists(place: Path | Url) -> bool:
    """Whether something whole stands there."""
    if isinstance(place, Url):
        return MARKER in sizes(place)
    heal(place)
    return place.exists()


def any_version(place: Path | Url) -> bool:
    """Whether a folder of versions, or of snapshots, holds a whole one."""
    return bool(versions_at(place)) if isinstance(place, Url) else place.exists()


def clear(place: Path | Url) -> None:
    """Remove what stands there, if anything does."""
    if isinstance(place, Url):
        remove(place)
    else:
        shutil.rmtree(place, ignore_errors=True)


def require_whole(url: Url, found: dict[str, int]) -> None:
    """Raise unless all objects that the marker names are there, with their sizes.

    Raises:
        InputError: The folder is half-written, or was not written by a stage.
    """
    if MARKER not in found:
        what = f"holds {len(found)} objects" if found else "holds nothing"
        raise InputError(
            f"{url} is not whole: it {what} and no {MARKER}, which is written last. Run "
            "the stage that writes it again."
        )
    wanted = parse(read_bytes(url / MARKER), Complete, url / MARKER)["bytes"]
    wrong = [name for name, size in wanted.items() if found.get(name) != size]
    if wrong:
        name = wrong[0]
        raise InputError(
            f"{url / name} must hold {wanted[name]} bytes. Received: "
            f"{found.get(name, 'no such object')}. Run the stage that writes it again."
        )


def fetch(url: Url, folder: Path, takes: Callable[[str], bool] = lambda name: True) -> None:
    """Copy what a stage wrote into a local folder.

    Args:
        url: What a stage wrote.
        folder: Where to; it is made.
        takes: Which names to copy.

    Raises:
        InputError: It is not whole, or cannot be read.
    """
    found = sizes(url)
    require_whole(url, found)
    folder.mkdir(parents=True)
    for name in sorted(found):
        if name != MARKER and takes(name):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                _require_size(url / name, read_into(url / name, file), found[name])


def _require_size(url: Url, received: int, wanted: int) -> None:
    if received != wanted:
        raise PassingError(
            f"{url} must hold {wanted} bytes, and {received} came. It was replaced, or cut "
            "off on its way: try again."
        )


def send(folder: Path, url: Url) -> None:
    """Copy a finished folder to a URL, the marker last; what was there is removed.

    Raises:
        PassingError: Less came than was sent.
    """
    remove(url)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    for name, path in names.items():
        with path.open("rb") as source:
            write_from(source, url / name)
    marker = {"bytes": {name: path.stat().st_size for name, path in names.items()}}
    held = sizes(url)
    for name, size in marker["bytes"].items():
        _require_size(url / name, held.get(name, 0), size)
    write_bytes(url / MARKER, json.dumps(marker, indent=1).encode())


def remove(url: Url) -> None:
    """Delete all objects below a URL: the marker first, so that no half looks whole."""
    found = sizes(url)
    for names in ([n for n in found if n == MARKER], [n for n in found if n != MARKER]):
        delete([url / name for name in names])


def move(url: Url, to: Url) -> None:
    """Move a folder, whole or not: the marker is written last and removed first."""
    for name in sorted(sizes(url), key=lambda name: name == MARKER):
        with unlinked() as file:
            read_into(url / name, file)
            file.seek(0)
            write_from(file, to / name)
    remove(url)


def versions_at(url: Url) -> list[int]:
    """The whole versions in a folder, rising; so that a half-written one is not taken."""
    names = [name.split("/") for name in sizes(url)]
    return sorted(int(n[0]) for n in names if n[0].isdigit() and n[1:] == [MARKER])
