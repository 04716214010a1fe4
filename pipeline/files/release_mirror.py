"""A release folder on object storage, mirrored: its shape is local, its bytes are not.

Two releases at once: a version's number is claimed by an object that only one process
can make, and ``blessed.json`` is replaced only where it is still the one that was read.
The service must know conditional writes, as S3 does; where it does not (gs://, hdfs://),
one release at a time is for the caller to see to.
"""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from steadyrank.pipeline.files.documents import parse
from steadyrank.pipeline.files.errors import PassingError
from steadyrank.pipeline.files.object_store import (
    ABSENT,
    read_tagged,
    sizes,
    write_bytes_if,
)
from steadyrank.pipeline.files.shapes import Blessed
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.files.whole_folders import move, send

BLESSED, WITHDRAWN, CLAIMS = "blessed.json", "withdrawn", "claims"


@contextlib.contextmanager
def mirrored(place: Url, local: Path) -> Iterator[Path]:
    """A release folder; all files in its versions are empty, but for a new one's.

    That is sent before ``blessed.json`` names it, and what was withdrawn goes after
    ``blessed.json`` stopped naming it: an interruption leaves nothing that the next
    release or rollback does not end.

    Raises:
        PassingError: Another release or rollback came in between.
    """
    tag = _mirror_release(place, local)
    before = {path.name for path in local.iterdir()}
    yield local
    for path in sorted(local.iterdir()):
        if path.name.isdigit() and path.name not in before:
            _claim(place, path.name)
            send(path, place / path.name)
    content = (local / BLESSED).read_bytes()
    parse(content, Blessed, local / BLESSED)  # what is read by half names nothing
    if not write_bytes_if(place / BLESSED, content, tag):
        raise PassingError(
            f"{place}: another release or rollback came first, and nothing was named. Try "
            "again."
        )
    gone = [name for name in before if name.isdigit() and not (local / name).exists()]
    for name in sorted(gone, key=int):
        move(place / name, place / WITHDRAWN / name)


def _claim(place: Url, version: str) -> None:
    ours = secrets.token_bytes(16)  # told from another's where an answer was lost
    if not write_bytes_if(place / CLAIMS / version, ours, ABSENT):
        raise PassingError(
            f"{place}: another release takes version {version}, and nothing was sent. Try "
            "again."
        )


def _mirror_release(place: Url, local: Path) -> str | None:
    """A release folder's shape: its versions, withdrawn ones too, with empty files.

    A number that was claimed and never sent stands among the withdrawn: it is used up.

    Returns:
        The tag of ``blessed.json``, as it was read.
    """
    local.mkdir(parents=True)
    content, tag = read_tagged(place / BLESSED)
    if content is not None:
        (local / BLESSED).write_bytes(content)
    found = [name.split("/") for name in sizes(place)]
    for parts in found:
        folder = parts[: 2 if parts[0] == WITHDRAWN else 1]
        if folder[-1].isdigit() and len(parts) > len(folder):
            local.joinpath(*parts[:-1]).mkdir(parents=True, exist_ok=True)
            local.joinpath(*parts).touch()
    for parts in found:
        if parts[0] == CLAIMS and not (local / parts[-1]).exists():
            (local / WITHDRAWN / parts[-1]).mkdir(parents=True, exist_ok=True)
    return tag
