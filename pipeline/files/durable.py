"""On the disk before it is named: what a power cut leaves is the old state or the new."""

import contextlib
import ctypes
import errno
import os
from pathlib import Path

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux
NOT_HERE = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to the disk."""
    with contextlib.suppress(PermissionError):  # of a folder that is not to be read
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in NOT_HERE:  # some file systems cannot sync a folder
                raise
        finally:
            os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring a folder and all below it to the disk, names after what they name."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            file = Path(path, name)
            if not file.is_symlink():
                sync(file)
        sync(Path(path))


def make_folders(path: Path) -> None:
    """Make a folder and those above it, their names on the disk; it may be there."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in made:
        sync(folder.parent)


def exchange(one: Path, two: Path) -> bool:
    """Let two names of one folder change places at once: none is missing in between.

    Returns:
        Whether the file system can; where it cannot, nothing has changed.
    """
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    names = os.fsencode(one), os.fsencode(two)
    if rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in NOT_HERE:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(two))
