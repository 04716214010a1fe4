"""What a disk holds when the power is cut: what was synced, and no more than that.

A file's content is on the disk as it was when it was last synced, a folder's names as they
were when the folder was.  What came since may be there, or not, or by half.  Three of the
ways in which it can be are tried, the two extremes among them.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

NOTHING = "power cut, since the last sync nothing"
EMPTY = "power cut, names without contents"
HALF = "power cut, names with torn contents"
CUTS = (NOTHING, EMPTY, HALF)


class Platter:
    """The folders and files below a folder, as far as they are on the disk.

    Args:
        root: All that is there now is on the disk.
    """

    def __init__(self, root: Path):
        self._root, self._pinned = root, []
        self._contents: dict[int, bytes] = {}  # by inode, as in a file system
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        for folder, _, files in os.walk(root):
            self.synced(Path(folder))
            for name in files:
                self.synced(Path(folder, name))

    def synced(self, path: Path) -> None:
        """A file, or a folder's list of names, was brought to the disk."""
        if path.is_symlink() or not path.exists():
            return
        # an inode that is still held is given to no other file
        self._pinned.append(os.open(path, os.O_PATH))
        number = path.stat().st_ino
        if path.is_dir():
            entries = [entry for entry in os.scandir(path) if not entry.is_symlink()]
            self._names[number] = {e.name: (e.inode(), e.is_dir()) for e in entries}
        else:
            self._contents[number] = path.read_bytes()

    @property
    def descriptors(self) -> frozenset[int]:
        """Its own."""
        return frozenset(self._pinned)

    def close(self) -> None:
        """Let go of what it holds."""
        while self._pinned:
            os.close(self._pinned.pop())

    def cut(self, how: str) -> None:
        """Leave of the folder what a cut of the power leaves."""
        found = self._root.with_name(self._root.name + ".cut")
        if how == NOTHING:
            self._lay(self._root.stat().st_ino, True, found)
        else:
            self._copy(found, _half if how == HALF else _nothing_of)
        shutil.rmtree(self._root)
        found.rename(self._root)

    def _lay(self, number: int, is_folder: bool, target: Path) -> None:
        """Put what is on the disk under a number to a place: nothing, if it never was."""
        if not is_folder:
            target.write_bytes(self._contents.get(number, b""))
            return
        target.mkdir()
        for name, (inode, is_folder) in self._names.get(number, {}).items():
            self._lay(inode, is_folder, target / name)

    def _copy(self, target: Path, torn: Callable[[bytes], bytes]) -> None:
        """All names, each with the content that was synced, or with a part of its own."""
        for folder, _, files in os.walk(self._root):
            place = target / Path(folder).relative_to(self._root)
            place.mkdir()
            for name in files:
                path = Path(folder, name)
                content, number = path.read_bytes(), path.stat().st_ino
                held = self._contents.get(number)
                (place / name).write_bytes(torn(content) if held is None else held)


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _nothing_of(content: bytes) -> bytes:
    return b""
