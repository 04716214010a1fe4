"""Whether a place can be written to and has room, before hours of work are put there."""

import os
import secrets
import shutil
from pathlib import Path

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.object_store import delete, sizes, write_bytes
from steadyrank.pipeline.files.places import Place
from steadyrank.pipeline.files.urls import Url, original

PROBE = ".probe-"


def require_writable(place: Place) -> str:
    """Raise unless a place, which need not be there yet, can be written to.

    Object storage is asked by an object that goes at once.

    Args:
        place: A folder, or a URL.

    Returns:
        What was looked at.

    Raises:
        InputError: It cannot be reached, or not be written to.
        PassingError: The storage does not answer now.
    """
    if isinstance(place, Url):
        sizes(place)
        probe = place / f"{PROBE}{secrets.token_hex(8)}"
        write_bytes(probe, b"can this be written?")
        delete([probe])
        return f"output: {place} can be written to"
    above = _standing(place)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(
            f"cannot write {place}: {above} is no folder to write to. Choose another, or "
            "mend its rights."
        )
    return f"output: {place}, {in_gb(shutil.disk_usage(above).free)} free"


def require_room(folder: Path, size: int, what: str) -> str:
    """Raise unless a local folder has room for what will be written into it.

    Args:
        folder: It need not be there yet.
        size: Bytes, about.
        what: Will be written, for the message.

    Returns:
        What was looked at.

    Raises:
        InputError: It has not.
    """
    free = shutil.disk_usage(_standing(folder)).free
    if free < size:
        raise InputError(
            f"{original(folder)}: about {in_gb(size)} of {what} will be written, and "
            f"{in_gb(free)} are free there. Make room, or choose another --output."
        )
    return f"room: {in_gb(free)} free, about {in_gb(size)} of {what}"


def _standing(place: Path) -> Path:
    """The folder that is there already, above a place."""
    return next(p for p in (place.absolute(), *place.absolute().parents) if p.exists())


def in_gb(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e9:.1f} GB"
