"""One process at a time, by a lock that dies with the process that holds it."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from steadyrank.pipeline.files.durable import make_folders
from steadyrank.pipeline.files.errors import PassingError, fault, unwritable


@contextlib.contextmanager
def locked(path: Path, what: Path | None = None, needed: bool = True) -> Iterator[None]:
    """Hold a file's lock; its content says who does.

    The kernel lets go of the lock when its process ends, however it ends: what a dead
    process left in the file is overwritten.  The file itself stays.

    Args:
        path: The lock file.
        what: What it is for, to name in the message; None: the folder that it stands in.
        needed: Whether a file system without locks will not do.

    Raises:
        PassingError: Another process holds the lock; it is named.
        InputError: There can be no such file, or no lock.
    """
    try:
        make_folders(path.parent)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise unwritable(path.parent, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise PassingError(
                f"{what or path.parent} is in use by {_holder(file.read())}. One at a "
                "time: wait for it, or end it."
            ) from None
        except OSError as error:
            if needed:
                said = (
                    f"cannot lock {path}: {error.strerror}. Choose a file system that has "
                )
                raise fault(f"{said}locks (flock).", error) from None
        file.truncate(0)
        json.dump(_ourselves(), file)
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def alone(output: Path | str) -> contextlib.AbstractContextManager:
    """One process at a time that writes to a place; on object storage there is no lock.

    Two would write to the same ``.partial``, or clear what the other makes.
    """
    if not isinstance(output, Path):
        return contextlib.nullcontext()
    output = output.absolute()
    return locked(output.with_name(f".{output.name}.lock"), output, needed=False)


def _ourselves() -> dict:
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now}


def _holder(text: str) -> str:
    try:
        found = json.loads(text)
        return f"process {found['pid']} on {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
