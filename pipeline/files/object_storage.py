"""Object storage: how a stage reads from s3://, gs:// and hdfs://, and writes to it.

A stage works in local folders.  What it reads is fetched first, what it wrote is sent when
it is done: ``_COMPLETE.json`` last, which names every object and its size.  A folder
without it, or with an object missing or of another size, was left half-written and is
refused.  Training examples alone are not fetched: TensorFlow streams them.

Beam's file systems read logs, tensorflow-io streams examples; files are moved by Beam's,
too, or by boto3 where that is what stands behind it.  All take their settings from the
environment, by the names that AWS' own tools use:
``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``,
``AWS_DEFAULT_REGION``, and ``AWS_ENDPOINT_URL`` where the service is not AWS'.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from steadyrank.pipeline.files.errors import InputError, PassingError, fault

SCHEMES = ("s3://", "gs://", "hdfs://")
SETTINGS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
)
MARKER = "_COMPLETE.json"
STREAMED = ".tfrecord"
BLESSED, WITHDRAWN = "blessed.json", "withdrawn"
SOURCE = "streamed_from.txt"  # in a fetched example set: where its examples are


class Url(str):
    """A place on object storage; ``/`` goes below it, as with a ``Path``."""

    def __truediv__(self, name: str) -> "Url":
        return Url(f"{self.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        return self.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> "Url":
        return Url(self.rstrip("/").rpartition("/")[0])


def locate(text: str) -> Path | Url:
    """What a path on the command line means.

    Raises:
        InputError: It is a URL of another scheme.
    """
    if text.startswith(SCHEMES):
        return Url(text)
    if "://" in text:
        raise InputError(
            f"{text}: unknown scheme. Allowed: {', '.join(SCHEMES)} and local paths."
        )
    return Path(text)


def within(folder: Path | Url, path: str) -> str:
    """A path of a config: itself where it is a URL, else relative to a folder."""
    return path if path.startswith(SCHEMES) else str(folder / path)


def stream_with_tensorflow() -> None:
    """Let TensorFlow read URLs; tensorflow-io is loaded where one is read, nowhere else."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        os.environ.setdefault("S3_ENDPOINT", endpoint)
        os.environ.setdefault("S3_USE_HTTPS", str(int(endpoint.startswith("https"))))
    region = os.environ.get("AWS_DEFAULT_REGION")
    if region:
        os.environ.setdefault("AWS_REGION", region)
    importlib.import_module("tensorflow_io")


def sizes(url: Url) -> dict[str, int]:
    """Objects below a URL: name relative to it -> bytes; empty where there is nothing.

    Raises:
        InputError: The bucket is missing, or the credentials do not open it.
        PassingError: The service does not answer, or has too much to do.
    """
    prefix = f"{url.rstrip('/')}/"
    with _naming(url):
        found = _files(url).sizes(prefix)
    return {path.removeprefix(prefix): size for path, size in found.items()}


def exists(place: Path | Url) -> bool:
    """Whether something whole stands there."""
    return MARKER in sizes(place) if isinstance(place, Url) else place.exists()


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
    wanted = json.loads(read_bytes(url / MARKER))["bytes"]
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
            with _naming(url / name), target.open("wb") as file:
                _files(url).read(url / name, file)


def send(folder: Path, url: Url) -> None:
    """Copy a finished folder to a URL, the marker last; what was there is removed."""
    remove(url)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    for name, path in names.items():
        with _naming(url / name), path.open("rb") as source:
            _files(url).write(source, url / name)
    marker = {"bytes": {name: path.stat().st_size for name, path in names.items()}}
    write_bytes(url / MARKER, json.dumps(marker, indent=1).encode())


def remove(url: Url) -> None:
    """Delete all objects below a URL: the marker first, so that no half looks whole."""
    found = sizes(url)
    for names in ([n for n in found if n == MARKER], [n for n in found if n != MARKER]):
        if names:
            with _naming(url):
                _files(url).delete([url / name for name in names])


def move(url: Url, to: Url) -> None:
    """Move a folder, whole or not: the marker is written last and removed first."""
    for name in sorted(sizes(url), key=lambda name: name == MARKER):
        with tempfile.TemporaryFile() as file:
            with _naming(url / name):
                _files(url).read(url / name, file)
            file.seek(0)
            with _naming(to / name):
                _files(to).write(file, to / name)
    remove(url)


def read_bytes(url: Url) -> bytes:
    """The content of a small object."""
    file = io.BytesIO()
    with _naming(url):
        _files(url).read(url, file)
    return file.getvalue()


def write_bytes(url: Url, content: bytes) -> None:
    """Write a small object."""
    with _naming(url):
        _files(url).write(io.BytesIO(content), url)


class _BeamFiles:
    """Beam's file systems."""

    def __init__(self):
        from apache_beam.io.filesystems import FileSystems
        from apache_beam.options.pipeline_options import PipelineOptions

        FileSystems.set_options(PipelineOptions([]))
        self.systems = FileSystems

    def sizes(self, prefix: str) -> dict[str, int]:
        found = self.systems.match([prefix + "**"])[0].metadata_list
        return {item.path: item.size_in_bytes for item in found}

    def read(self, url: str, file) -> None:
        with self.systems.open(url, compression_type="uncompressed") as source:
            shutil.copyfileobj(source, file, 1 << 20)

    def write(self, source, url: str) -> None:
        with self.systems.create(url, compression_type="uncompressed") as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def delete(self, urls: list[str]) -> None:
        self.systems.delete(urls)


class _S3Files:
    """The same by one boto3 client: Beam makes one for each file, at 0.1 s and more."""

    def __init__(self):
        import boto3

        self.client = boto3.client("s3")

    def sizes(self, prefix: str) -> dict[str, int]:
        bucket, key = _bucket_and_key(prefix)
        pages = self.client.get_paginator("list_objects_v2")
        found = {}
        for page in pages.paginate(Bucket=bucket, Prefix=key):
            for item in page.get("Contents", ()):
                found[f"s3://{bucket}/{item['Key']}"] = item["Size"]
        return found

    def read(self, url: str, file) -> None:
        self.client.download_fileobj(*_bucket_and_key(url), file)

    def write(self, source, url: str) -> None:
        # boto3 closes what it was given to upload
        with tempfile.SpooledTemporaryFile(1 << 24) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.seek(0)
            self.client.upload_fileobj(copy, *_bucket_and_key(url))

    def delete(self, urls: list[str]) -> None:
        for url in urls:
            bucket, key = _bucket_and_key(url)
            self.client.delete_object(Bucket=bucket, Key=key)


def _bucket_and_key(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def _files(url: str) -> _S3Files | _BeamFiles:
    scheme = url.partition("://")[0]
    settings = tuple(os.environ.get(name) for name in SETTINGS)
    return _files_of(scheme, settings)


@functools.lru_cache(maxsize=8)
def _files_of(scheme: str, settings: tuple) -> _S3Files | _BeamFiles:
    return _S3Files() if scheme == "s3" else _BeamFiles()


@contextlib.contextmanager
def _naming(url: str) -> Iterator[None]:
    """Around an access: what fails is said by name."""
    try:
        yield
    except (InputError, PassingError):
        raise
    except Exception as error:  # each file system has errors of its own
        raise fault(_explain(url, error), error) from None


def let_beam_read(path: str) -> None:
    """Give Beam's file systems the environment's settings, where a path needs them.

    Raises:
        InputError: The bucket is missing, or the credentials do not open it.
        PassingError: The service does not answer, or has too much to do.
    """
    if path.startswith(SCHEMES):
        _files_of("beam", ())
    if path.startswith("s3://"):
        with _naming(path):
            _files(path).client.head_bucket(Bucket=_bucket_and_key(path)[0])


def _explain(url: str, error: Exception) -> str:
    bucket = _bucket_and_key(url)[0]
    response = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = response.get("Error", {}).get("Code")
    if code == "NoSuchBucket" or (status == 404 and error.operation_name == "HeadBucket"):
        return f"{url}: bucket {bucket!r} does not exist. Create it, or mend the name."
    if status == 404:
        return f"{url}: no such object."
    if status in (401, 403) or type(error).__name__ == "NoCredentialsError":
        return (
            f"{url}: the credentials do not open bucket {bucket!r} ({code or error}). "
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and "
            "what they are allowed to."
        )
    return (
        f"{url} cannot be used: {error}. Check the name, AWS_ENDPOINT_URL and the "
        "credentials in the environment."
    )


_originals: dict[Path, Url] = {}


def original(path: Path) -> str:
    """What a user calls a place: the URL that it stands in for, else the path as it is."""
    for above in (path, *path.parents):
        if above in _originals:
            below = path.relative_to(above).parts
            return str(functools.reduce(Url.__truediv__, below, _originals[above]))
    return str(path)


class Staging:
    """Local stand-ins for the places that one stage reads and writes.

    A context manager: places written to are sent when the stage ended without an error.
    Local paths stand for themselves.
    """

    def __init__(self):
        self._sent: list[tuple[Path, Url]] = []

    def __enter__(self) -> "Staging":
        self._folder = tempfile.TemporaryDirectory(prefix="steadyrank-")
        self._count = 0
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                for folder, url in self._sent:
                    send(folder, url)
        finally:
            self._folder.cleanup()
            for local in [p for p in _originals if Path(self._folder.name) in p.parents]:
                del _originals[local]

    def _local(self, url: Url) -> Path:
        self._count += 1
        local = Path(self._folder.name) / str(self._count) / (url.name or "root")
        _originals[local] = url
        _originals[_partial(local)] = _partial(url)
        return local

    def read(self, place: Path | Url | None) -> Path | None:
        """What a stage wrote, whole."""
        if not isinstance(place, Url):
            return place
        local = self._local(place)
        fetch(place, local)
        return local

    def read_examples(self, place: Path | Url) -> Path:
        """An example set, of which the examples stay where they are."""
        if not isinstance(place, Url):
            return place
        local = self._local(place)
        fetch(place, local, lambda name: not name.endswith(STREAMED))
        (local / SOURCE).write_text(place, encoding="utf-8")
        return local

    def read_model(self, place: Path | Url | None) -> Path | None:
        """An export, or the latest whole one in a folder of versions."""
        if not isinstance(place, Url) or exists(place):
            return self.read(place)
        found = versions_at(place)
        if not found:
            raise InputError(f"{place} holds neither an export nor a version of one.")
        local = self._local(place)
        fetch(place / str(found[-1]), local / str(found[-1]))
        return local

    def read_file(self, place: Path | Url) -> Path:
        """A single file."""
        if not isinstance(place, Url):
            return place
        local = self._local(place)
        local.parent.mkdir(parents=True)
        local.write_bytes(read_bytes(place))
        return local

    def write(self, place: Path | Url, overwrite: bool = False) -> Path:
        """Where to write what shall stand in a place.

        Raises:
            InputError: Something whole is there, and it must not be replaced.
        """
        if not isinstance(place, Url):
            return place
        if not overwrite and exists(place):
            raise InputError(
                f"{place} exists already. Choose another --output, or pass --overwrite "
                "to replace it."
            )
        local = self._local(place)
        local.parent.mkdir(parents=True)
        self._sent.append((local, place))
        return local

    def resumable(self, place: Path | Url, local: Path) -> None:
        """Fetch the last snapshot of an interrupted run to where training looks for it."""
        if isinstance(place, Url):
            found = versions_at(_partial(place))
            if not found:
                raise InputError(f"{place}: no interrupted run to go on with.")
            fetch(_partial(place) / str(found[-1]), _partial(local))

    @contextlib.contextmanager
    def served(self, place: Path | Url) -> Iterator[Path]:
        """A release folder; all files in its versions are empty, but for a new one's.

        That is sent before ``blessed.json`` names it.  What was withdrawn is copied to
        ``withdrawn/`` before it goes.
        """
        if not isinstance(place, Url):
            yield place
            return
        local = self._local(place)
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
            before = {name.partition("/")[0] for name in sizes(_partial(self.place))}
            numbers = [int(name) for name in before if name.isdigit()]
            number = 1 + max(numbers, default=0)
            send(work, _partial(self.place) / str(number))
            for name in before:
                remove(_partial(self.place) / name)

    def require_none(self) -> None:
        """Raise where an interrupted run left one.

        Raises:
            InputError: It did.
        """
        if isinstance(self.place, Url) and versions_at(_partial(self.place)):
            raise InputError(
                f"{_partial(self.place)} holds an interrupted run. Pass --resume to go on "
                "with it, or --overwrite to start again."
            )

    def clear(self) -> None:
        """Remove them all: training has ended."""
        if isinstance(self.place, Url):
            remove(_partial(self.place))


def _partial(place):
    """Where training writes until it has ended, beside a local path or a URL."""
    return place.parent / f"{place.name}.partial"


def versions_at(url: Url) -> list[int]:
    """The whole versions in a folder, rising; so that a half-written one is not taken."""
    names = [name.split("/") for name in sizes(url)]
    return sorted(int(n[0]) for n in names if n[0].isdigit() and n[1:] == [MARKER])
