"""Operations on files below a folder: counted, and one of them failed.

Python tells an audit hook of each open, rename, link, removal and new folder before it is
done, and what a hook raises is what the caller gets.  Reads, writes and ``fsync`` are
caught by a file that stands in for the real one.  A process that died does nothing more:
from then on every operation fails, those of ``finally`` too.
"""

import builtins
import contextlib
import errno
import io
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.power import Platter
from steadyrank.pipeline.files import durable, publish

DIES, FULL, BROKEN, TORN, SHORT = "dies", "ENOSPC", "EIO", "torn write", "short read"
CHANGES = ("write", "make", "rename", "remove", "link", "fsync", "exchange", "truncate")
LOOKS = ("read", "open", "list")
FAULTS = {kind: (DIES, FULL, BROKEN) for kind in CHANGES}
FAULTS |= {"write": (DIES, FULL, BROKEN, TORN), "remove": (DIES, BROKEN)}
FAULTS |= {"list": (DIES, BROKEN), "open": (DIES, BROKEN), "read": (DIES, BROKEN, SHORT)}
EVENTS = {
    "os.mkdir": "make",
    "os.rename": "rename",
    "os.remove": "remove",
    "os.rmdir": "remove",
    "os.link": "link",
    "os.truncate": "truncate",
    "os.listdir": "list",
    "os.scandir": "list",
}
AT_FOLDER = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2}


class Killed(BaseException):
    """What ends a process at once: no handler of ours may catch it."""


class Disk:
    """The operations below a folder; see the module.

    Attributes:
        done: Kind and place of each since ``watching`` began.
        struck: Whether the fault has come.
    """

    def __init__(self):
        self.root, self.done, self.turn, self.fault = "", [], -1, None
        self.active = self.dead = self.struck = False
        self.platter: Platter | None = None  # what would be left, were the power cut
        sys.addaudithook(self._hook)

    @contextlib.contextmanager
    def watching(self, root: Path, turn: int = -1, fault: str | None = None) -> Iterator:
        """Count what is done below a folder, and let the operation of a turn fail."""
        self.root, self.turn, self.fault = f"{root}/", turn, fault
        self.done, self.dead, self.struck = [], False, False
        with _patched(self):
            self.active = True
            try:
                yield self
            finally:
                self.active = False

    def operation(self, kind: str, path: str) -> str | None:
        """One is about to be done.

        Returns:
            ``TORN`` or ``SHORT``, where it is to be done by half.

        Raises:
            Killed, OSError: It fails.
        """
        if not self.active or not path.startswith(self.root):
            return None
        if self.dead:
            raise Killed
        self.done.append((kind, path.removeprefix(self.root)))
        if len(self.done) - 1 != self.turn:
            return None
        self.struck = True
        if self.fault == DIES:
            self.die()
        if self.fault in (TORN, SHORT):
            return self.fault
        code = errno.ENOSPC if self.fault == FULL else errno.EIO
        raise OSError(code, os.strerror(code), path)

    def die(self) -> None:
        """End here."""
        self.dead = True
        raise Killed

    def _hook(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and isinstance(flags, int):
                writes = flags & (os.O_CREAT | os.O_TRUNC)
                self.operation("make" if writes else "open", _absolute(path, -1))
        elif event in EVENTS:
            folder = arguments[AT_FOLDER[event]] if event in AT_FOLDER else -1
            self.operation(EVENTS[event], _absolute(arguments[0], folder))


def _absolute(path, folder: int) -> str:
    if isinstance(path, int):
        return _place(path)
    name = os.fsdecode(path)
    if folder is not None and folder >= 0 and not name.startswith("/"):
        return f"{_place(folder)}/{name}"
    return name if name.startswith("/") else f"{os.getcwd()}/{name}"


def _place(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


class _File:
    """A file whose reads and writes are operations."""

    def __init__(self, disk: Disk, file, path: str):
        self._disk, self._file, self._path = disk, file, path

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def __iter__(self):
        for line in self._file:
            self._disk.operation("read", self._path)
            yield line

    def write(self, data):
        if self._disk.operation("write", self._path) == TORN:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            self._disk.die()
        return self._file.write(data)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def truncate(self, *size):
        self._disk.operation("truncate", self._path)
        return self._file.truncate(*size)

    def read(self, *size):
        short = self._disk.operation("read", self._path) == SHORT
        data = self._file.read(*size)
        return data[: len(data) // 2] if short else data


@contextlib.contextmanager
def _patched(disk: Disk) -> Iterator[None]:
    opened, fsync, exchange = builtins.open, os.fsync, durable.exchange

    def open_file(file, *arguments, **options):
        found = opened(file, *arguments, **options)
        path = file if isinstance(file, int) else _absolute(os.fspath(file), -1)
        ours = isinstance(path, str) and path.startswith(disk.root)
        return _File(disk, found, path) if ours else found

    def sync(descriptor):
        place = _place(descriptor)
        disk.operation("fsync", place)
        if disk.platter is not None and disk.active:
            disk.active = False
            disk.platter.synced(Path(place))
            disk.active = True

    def swap(one, two):
        disk.operation("exchange", str(two))
        return exchange(one, two)

    # Python 3.10's pathlib took its own name for it when it was imported
    accessor = getattr(pathlib, "_NormalAccessor", None)
    before = shutil._USE_CP_SENDFILE
    builtins.open = io.open = open_file
    if accessor:
        accessor.open = staticmethod(open_file)
    os.fsync, publish.exchange, shutil._USE_CP_SENDFILE = sync, swap, False
    try:
        yield
    finally:
        builtins.open = io.open = opened
        if accessor:
            accessor.open = staticmethod(opened)
        os.fsync, publish.exchange, shutil._USE_CP_SENDFILE = fsync, exchange, before
