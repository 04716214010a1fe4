"""Object storage: s3://, gs:// and hdfs://, object by object.

Beam's file systems read and move files, or boto3 where that is what stands behind it;
tensorflow-io streams examples, where it is installed.  All take their settings from the
environment, by the names that AWS' own tools use:
``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``,
``AWS_DEFAULT_REGION``, and ``AWS_ENDPOINT_URL`` where the service is not AWS'.
"""

import contextlib
import functools
import importlib
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator

from steadyrank.pipeline.files.errors import InputError, PassingError, fault
from steadyrank.pipeline.files.object_reader import (
    BLOCK_BYTES,
    ObjectReader,
    asked_again,
    buffered,
)
from steadyrank.pipeline.files.urls import SCHEMES, Url

SETTINGS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
)

ABSENT = "*"  # the tag of an object that does not exist


def tensorflow_reads(place: str) -> bool:
    """Whether TensorFlow has a file system for a URL; tensorflow-io brings most of them.

    It is loaded where this is asked, nowhere else.  One that was built for another
    TensorFlow says so in a warning, and brings none.
    """
    import tensorflow as tf

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        os.environ.setdefault("S3_ENDPOINT", endpoint)
        os.environ.setdefault("S3_USE_HTTPS", str(int(endpoint.startswith("https"))))
    region = os.environ.get("AWS_DEFAULT_REGION")
    if region:
        os.environ.setdefault("AWS_REGION", region)
    with contextlib.suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("tensorflow_io")
    return place.partition("://")[0] in tf.io.gfile.get_registered_schemes()


def sizes(url: Url) -> dict[str, int]:
    """Objects below a URL: name relative to it -> bytes; empty where there is nothing.

    Raises:
        InputError: The bucket is missing, or the credentials do not open it.
        PassingError: The service does not answer, or has too much to do.
    """
    prefix = f"{url.rstrip('/')}/"
    found = starting_with(prefix)
    return {path.removeprefix(prefix): size for path, size in found.items()}


def starting_with(prefix: str) -> dict[str, int]:
    """Objects whose URL begins with a text: URL -> bytes; see ``sizes``."""
    with _naming(prefix):
        return _files(prefix).sizes(prefix)


def read_bytes(url: Url) -> bytes:
    """The content of a small object."""
    file = io.BytesIO()
    read_into(url, file)
    return file.getvalue()


def write_bytes(url: Url, content: bytes) -> None:
    """Write a small object."""
    write_from(io.BytesIO(content), url)


def read_tagged(url: Url) -> tuple[bytes | None, str | None]:
    """A small object and a tag of what it holds, for ``write_bytes_if``.

    Returns:
        Its content, None where there is none; and the tag, ``ABSENT`` where there is
        none, None where the service cannot write on a condition.
    """
    with _naming(url):
        return _files(url).read_tagged(url)


def write_bytes_if(url: Url, content: bytes, tag: str | None) -> bool:
    """Write a small object if it still is what it was.

    Args:
        url: Its place.
        content: What no other process writes there.
        tag: Of what is to be replaced; ``ABSENT``: nothing may be there; None: whatever
            there is.

    Returns:
        Whether it holds the content now. A write whose answer was lost is looked at.
    """
    with _naming(url):
        if _files(url).write_if(content, url, tag):
            return True
        return _files(url).read_tagged(url)[0] == content


def read_into(url: Url, file) -> int:
    """Copy an object into an open file, block by block; gives the number of bytes."""
    with _naming(url):
        _files(url).read(url, file)
    return file.tell()


def open_object(url: str) -> io.BufferedIOBase:
    """An object to be read; what fails while it is read has the service's own errors.

    Raises:
        InputError: There is none, or the credentials do not open it.
        PassingError: The service does not answer, or has too much to do.
    """
    with _naming(url):
        return _files(url).open(url)


def write_from(source, url: Url) -> None:
    """Write an object from an open file, block by block."""
    with _naming(url):
        _files(url).write(source, url)


def delete(urls: list[Url]) -> None:
    """Delete objects; all of one service."""
    if urls:
        with _naming(urls[0].parent):
            _files(urls[0]).delete(urls)


class _BeamFiles:
    """Beam's file systems; none of them writes on a condition."""

    def __init__(self):
        from apache_beam.io.filesystems import FileSystems
        from apache_beam.options.pipeline_options import PipelineOptions

        FileSystems.set_options(PipelineOptions([]))
        self.systems = FileSystems

    def sizes(self, prefix: str) -> dict[str, int]:
        found = self.systems.match([prefix + "**"])[0].metadata_list
        return {item.path: item.size_in_bytes for item in found}

    def open(self, url: str) -> io.BufferedIOBase:
        return self.systems.open(url, compression_type="uncompressed")

    def read(self, url: str, file) -> None:
        with self.open(url) as source:
            shutil.copyfileobj(source, file, 1 << 20)

    def write(self, source, url: str) -> None:
        with self.systems.create(url, compression_type="uncompressed") as file:
            shutil.copyfileobj(source, file, 1 << 20)

    def delete(self, urls: list[str]) -> None:
        self.systems.delete(urls)

    def read_tagged(self, url: str) -> tuple[bytes | None, None]:
        if not self.systems.exists(url):
            return None, None
        file = io.BytesIO()
        self.read(url, file)
        return file.getvalue(), None

    def write_if(self, content: bytes, url: str, tag: None) -> bool:
        self.write(io.BytesIO(content), url)
        return True


class _S3Files:
    """The same by one boto3 client: Beam makes one for each file, at 0.1 s and more."""

    def __init__(self):
        import boto3
        from botocore.config import Config

        # bounded in time: with a store that answers nothing but 503, about a minute
        retries = {"mode": "standard", "total_max_attempts": 6}
        waits = {"connect_timeout": 10, "read_timeout": 30}
        self.client = boto3.client("s3", config=Config(retries=retries, **waits))

    def sizes(self, prefix: str) -> dict[str, int]:
        return asked_again(lambda: self._listed(prefix))

    def _listed(self, prefix: str) -> dict[str, int]:
        bucket, key = _bucket_and_key(prefix)
        pages = self.client.get_paginator("list_objects_v2")
        found = {}
        for page in pages.paginate(Bucket=bucket, Prefix=key):
            if "KeyCount" not in page:  # an answer without a body lists nothing, either
                raise PassingError(f"{prefix}: what is there was not listed. Try again.")
            for item in page.get("Contents", ()):
                found[f"s3://{bucket}/{item['Key']}"] = item["Size"]
        return found

    def open(self, url: str) -> io.BufferedIOBase:
        place, named = _bucket_and_key(url), functools.partial(_naming, url)
        return buffered(ObjectReader(self.client, *place, named))

    def read(self, url: str, file) -> None:
        with self.open(url) as source:
            shutil.copyfileobj(source, file, BLOCK_BYTES)

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

    def read_tagged(self, url: str) -> tuple[bytes | None, str]:
        bucket, key = _bucket_and_key(url)

        def ask() -> tuple[bytes, str]:
            with ObjectReader(self.client, bucket, key) as reader:
                return reader.readall(), reader.tag

        try:
            return asked_again(ask)
        except self.client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            self._require_bucket(bucket)
            return None, ABSENT

    def _require_bucket(self, bucket: str) -> None:
        """Raise where it is the bucket that is missing; HEAD does not tell."""
        self.client.head_bucket(Bucket=bucket)

    def write_if(self, content: bytes, url: str, tag: str) -> bool:
        bucket, key = _bucket_and_key(url)
        condition = {"IfNoneMatch": tag} if tag == ABSENT else {"IfMatch": tag}
        try:
            self.client.put_object(Bucket=bucket, Key=key, Body=content, **condition)
        except self.client.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status not in (409, 412):  # a write at the same time; another before
                raise
            return False
        return True


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
    response = getattr(error, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = response.get("Error", {}).get("Code")
    operation = getattr(error, "operation_name", None)
    if code == "NoSuchBucket" or (status == 404 and operation == "HeadBucket"):
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
