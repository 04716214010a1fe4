"""Scratch folders: held while their process lives, swept by others when it has died.

A process holds the kernel's lock (``flock``) on the folder itself, which goes with the
process however it ends.  On a file system without locks nothing is swept.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from steadyrank.pipeline.files.durable import make_folders
from steadyrank.pipeline.files.errors import InputError, no_space

RANDOM_BYTES = 8
STAGING = "steadyrank-"  # begins the name of a folder in the system's temporary one


@contextlib.contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    """An empty folder that goes at the end, whatever happens; dead ones go at the start.

    Args:
        folder: Where it stands; it is made.
        name: What its name begins with; eight random bytes follow.  No process id: in
            containers, all jobs on a volume are process 1.

    Yields:
        The folder. It may be moved away.
    """
    sweep(folder, name)
    path, lock = _make(folder, name)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def set_aside(path: Path, folder: Path) -> None:
    """Move what cannot be removed out of a scratch folder, which is to be published: to a
    name beside it that is swept as such folders are.

    Args:
        path: What could not be removed.
        folder: The scratch folder.
    """
    begins = folder.name[: -2 * RANDOM_BYTES]
    path.rename(folder.with_name(f"{begins}{secrets.token_hex(RANDOM_BYTES)}"))


def temporary() -> contextlib.AbstractContextManager[Path]:
    """One among the system's temporary folders."""
    return scratch(_temporary_folder(), STAGING)


@contextlib.contextmanager
def unlinked() -> Iterator[BinaryIO]:
    """A temporary file without a name, which is there until nobody has it open or mapped.

    Raises:
        InputError: There is no folder for such files.
        PassingError: It is full.
    """
    folder = _temporary_folder()
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            yield file
            file.flush()
    except OSError as error:
        mend = "set TMPDIR to a folder with more room"
        if full := no_space(error, f"a temporary file in {folder}", mend):
            raise full from None
        raise


def _temporary_folder() -> Path:
    """The system's.

    Raises:
        InputError: None can be written to.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise InputError(
            f"no folder for temporary files can be written to: {error.strerror}. Set "
            "TMPDIR to one."
        ) from None


def sweep(folder: Path, name: str) -> None:
    """Remove scratch folders of a name whose processes have died, and no others.

    What only begins with the name (``/tmp/steadyrank-results``) is somebody's own.
    """
    made = re.compile(re.escape(name) + f"[0-9a-f]{{{2 * RANDOM_BYTES}}}")
    for path in folder.iterdir() if folder.is_dir() else ():
        if not made.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError):  # another sweeps, too
            if not path.is_dir() or path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            lock = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _make(folder: Path, name: str) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock."""
    while True:
        path = folder / f"{name}{secrets.token_hex(RANDOM_BYTES)}"
        make_folders(folder)
        path.mkdir()
        try:
            lock = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # swept between its making and its opening
            continue
        with contextlib.suppress(OSError):  # no locks here: nobody sweeps, either
            fcntl.flock(lock, fcntl.LOCK_EX)
        if path.is_dir():
            return path, lock
        os.close(lock)  # swept between its making and its lock
