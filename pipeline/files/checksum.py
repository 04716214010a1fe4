"""Checksums of files, taken while they are written."""

import hashlib
import io
from pathlib import Path

READ_AT_ONCE = 1 << 20


class Checksummed(io.RawIOBase):
    """A file to write to, which knows its size and its SHA-256.

    Args:
        file: Where bytes go.

    Attributes:
        bytes: How many were written.
    """

    def __init__(self, file):
        self._file, self._digest, self.bytes = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        data = memoryview(data).cast("B")
        self._file.write(bytes(data))
        self._digest.update(data)
        self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        return self.bytes

    @property
    def checksum(self) -> str:
        """SHA-256 of what was written so far, in hex."""
        return self._digest.hexdigest()


def checksum_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()
