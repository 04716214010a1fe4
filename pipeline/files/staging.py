"""Staging: how a stage, which works in local folders, reads from and writes to URLs.

What it reads is fetched first, what it wrote is sent when it is done.  Training examples
alone are not fetched: TensorFlow streams them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from steadyrank.pipeline.files.errors import ExistsError, InputError
from steadyrank.pipeline.files.object_store import read_bytes, sizes
from steadyrank.pipeline.files.release_mirror import mirrored
from steadyrank.pipeline.files.scratch import temporary
from steadyrank.pipeline.files.urls import Url, partial_of, remember_origin
from steadyrank.pipeline.files.whole_folders import exists, fetch, remove, send, versions_at

STREAMED = ".tfrecord"
FOR_OTHERS = "histories/"  # of an example set: for who adds to it, and who serves
SOURCE = "streamed_from.txt"  # in a fetched example set: where its examples are


def _is_read(name: str) -> bool:
    return not name.endswith(STREAMED) and not name.startswith(FOR_OTHERS)


class Staging:
    """Local stand-ins for the places that one stage reads and writes.

    A context manager: places written to are sent when the stage ended without an error.
    Local paths stand for themselves.
    """

    def __init__(self):
        self._sent: list[tuple[Path, Url]] = []

    def __enter__(self) -> "Staging":
        self._scratch = temporary()
        self._folder = self._scratch.__enter__()
        self._count = 0
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                for folder, url in self._sent:
                    send(folder, url)
        finally:
            self._scratch.__exit__(None, None, None)

    def _local(self, url: Url) -> Path:
        self._count += 1
        local = self._folder / str(self._count) / (url.name or "root")
        remember_origin(local, url)
        remember_origin(partial_of(local), partial_of(url))
        return local

    def read(self, place: Path | Url | None) -> Path | None:
        """What a stage wrote, whole."""
        if not isinstance(place, Url):
            return place
        local = self._local(place)
        fetch(place, local)
        return local

    def read_examples(self, place: Path | Url) -> Path:
        """An example set, of which the examples, and histories, stay where they are."""
        if not isinstance(place, Url):
            return place
        local = self._local(place)
        fetch(place, local, _is_read)
        (local / SOURCE).write_text(place, encoding="utf-8")
        return local

    def read_model(self, place: Path | Url | None) -> Path | None:
        """An export, or the latest whole one in a folder of versions."""
        if not isinstance(place, Url) or exists(place):
            return self.read(place)
        found = versions_at(place)
        if not found:
            raise InputError(
                f"{place} holds neither an export nor a version of one. Name the "
                "--output of export, or a release folder."
            )
        local = self._local(place)
        fetch(place / str(found[-1]), local / str(found[-1]))
        return local

    def read_file(self, place: Path | Url) -> Path:
        """A single file."""
        if not isinstance(place, Url):
            return place
        local = self._local(place)
        local.write_bytes(read_bytes(place))
        return local

    def stand_in(self, place: Path | Url) -> Path:
        """Where to write what shall stand in a place, if it is given to ``write``, too."""
        return self._local(place) if isinstance(place, Url) else place

    def write(
        self, place: Path | Url, overwrite: bool = False, local: Path | None = None
    ) -> Path:
        """Where to write what shall stand in a place.

        Args:
            place: The place.
            overwrite: Whether what is there may be replaced.
            local: Its stand-in, if there is one already.

        Raises:
            InputError: Something whole is there, and it must not be replaced.
        """
        if not isinstance(place, Url):
            return place
        if not overwrite and exists(place):
            raise ExistsError(
                f"{place} exists already. Choose another --output, or pass --overwrite "
                "to replace it."
            )
        local = local or self._local(place)
        self._sent.append((local, place))
        return local

    def resumable(self, place: Path | Url, local: Path) -> None:
        """Fetch the last snapshot of an interrupted run to where training looks for it."""
        if isinstance(place, Url):
            found = versions_at(partial_of(place))
            if not found:
                raise InputError(
                    f"{place}: no interrupted run to go on with. Leave out --resume."
                )
            fetch(partial_of(place) / str(found[-1]), partial_of(local))

    @contextlib.contextmanager
    def served(self, place: Path | Url) -> Iterator[Path]:
        """A release folder, of which a URL is mirrored; see ``release_mirror``."""
        if not isinstance(place, Url):
            yield place
            return
        with mirrored(place, self._local(place)) as local:
            yield local

    def write_version(self, place: Path | Url) -> Path:
        """A folder of versions to add one to, which ``send_version`` sends."""
        if not isinstance(place, Url):
            return place
        local = self._local(place)
        local.mkdir(parents=True)
        for name in {name.partition("/")[0] for name in sizes(place)}:
            if name.isdigit():
                (local / name).mkdir()
        return local

    def send_version(self, version: Path, place: Path | Url) -> None:
        """Send a new version to the folder that ``write_version`` stood for."""
        if isinstance(place, Url):
            self._sent.append((version, place / version.name))


class Snapshots:
    """Copies of a run on object storage, for another machine to go on from.

    Each is sent whole beside the one before, which goes afterwards.

    Args:
        place: Where the trained model shall stand; a local one needs no copies.
    """

    def __init__(self, place: Path | Url):
        self.place = place

    def __call__(self, work: Path) -> None:
        if isinstance(self.place, Url):
            before = {name.partition("/")[0] for name in sizes(partial_of(self.place))}
            numbers = [int(name) for name in before if name.isdigit()]
            number = 1 + max(numbers, default=0)
            send(work, partial_of(self.place) / str(number))
            for name in before:
                remove(partial_of(self.place) / name)

    def require_none(self) -> None:
        """Raise where an interrupted run left one.

        Raises:
            InputError: It did.
        """
        if isinstance(self.place, Url) and versions_at(partial_of(self.place)):
            raise InputError(
                f"{partial_of(self.place)} holds an interrupted run. Pass --resume to go "
                "on with it, or --overwrite to start again."
            )

    def clear(self) -> None:
        """Remove them all: training has ended."""
        if isinstance(self.place, Url):
            remove(partial_of(self.place))
