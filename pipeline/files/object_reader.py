"""An object of S3 as a file: each range that was asked for comes whole, or reading fails.

A store may answer with an error, cut an answer off, or give less than was asked for and
call that success.  Such a range is asked for again, by boto3 and then here, some seconds
long; bytes that are given are always those of one object, even where another took its
place meanwhile.
"""

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from steadyrank.pipeline.files.errors import PassingError, passes

BLOCK_BYTES = 8 << 20
WAITS = (0.5, 2.0)  # seconds, before an answer that was cut off is asked for again

T = TypeVar("T")
Naming = Callable[[], AbstractContextManager]


def asked_again(ask: Callable[[], T]) -> T:
    """An answer, asked for again where it came damaged.

    boto3 asks again itself for what a service refuses to give, and has been told how long.

    Args:
        ask: May be done twice.
    """
    for wait in WAITS:
        try:
            return ask()
        except Exception as error:  # each layer has errors of its own
            if not passes(error) or getattr(error, "response", None):
                raise
        time.sleep(wait)
    return ask()


class ObjectReader(io.RawIOBase):
    """An object, read in ranges.

    Args:
        client: Of boto3.
        bucket, key: Where the object is.
        naming: Around each access: names the object in what is raised.

    Attributes:
        size: Its bytes.
        tag: Of what it holds.
    """

    def __init__(self, client, bucket: str, key: str, naming: Naming = nullcontext):
        with naming():
            found = asked_again(lambda: client.head_object(Bucket=bucket, Key=key))
        self.size, self._position = found["ContentLength"], 0
        self.tag = found["ETag"]
        self._ask = {"Bucket": bucket, "Key": key, "IfMatch": self.tag}
        self._client, self._naming = client, naming

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer) -> int:
        end = min(self._position + len(buffer), self.size)
        if end <= self._position:
            return 0
        with self._naming():
            data = asked_again(lambda: self._range(self._position, end))
        buffer[: len(data)] = data
        self._position = end
        return len(data)

    def _range(self, start: int, end: int) -> bytes:
        answer = self._client.get_object(**self._ask, Range=f"bytes={start}-{end - 1}")
        data = answer["Body"].read()
        if len(data) != end - start:
            place = f"s3://{self._ask['Bucket']}/{self._ask['Key']}"
            raise PassingError(
                f"{place}: {len(data)} bytes came of {end - start} that were asked for. "
                "Try again."
            )
        return data


def buffered(reader: ObjectReader) -> io.BufferedReader:
    """For reading in small pieces."""
    return io.BufferedReader(reader, BLOCK_BYTES)
