"""About how many rows a file of text has, by its first bytes."""

import contextlib

import pyarrow as pa

from steadyrank.pipeline.raw_log.formats.base import PACKED, Form, open_file
from steadyrank.pipeline.raw_log.formats.lines import blocks

LOOK_BYTES = 65_536  # of text, that are counted
HEADS = (16_384, 1 << 20)  # of a packed file; a block of bzip2 has up to 900 KB
UNPACKED_BYTES = 4096  # at once: of a block that is cut off nothing comes
MOST_BYTES = 16 << 20
BYTES_A_ROW = 64  # where nothing better is known


def rows_in(path: str, form: Form, size: int, *, header: bool) -> int:
    """About how many records a file holds.

    Args:
        path: A file that is not empty.
        form: How it is written.
        size: Its bytes, as it lies there.
        header: Whether its first line is none.
    """
    if codec := PACKED.get(f".{path.rpartition('.')[2].lower()}"):
        return _rows_in_packed(path, codec, size, header)
    data = next(iter(blocks(path, form, LOOK_BYTES))).data
    lines = sum(1 for line in data.splitlines() if line.strip()) - header
    return max(size * lines // len(data), 1)


def _rows_in_packed(path: str, codec: str, size: int, header: bool) -> int:
    for head in HEADS:
        with open_file(path) as file:
            packed = file.read(head)
        lines = _unpacked(packed, codec).count(b"\n") - header
        if lines > 0 or len(packed) == size:
            return max(size * lines // len(packed), 1)
    return size // BYTES_A_ROW


def _unpacked(packed: bytes, codec: str) -> bytes:
    """As much of the beginning of a file as can be unpacked."""
    data = bytearray()
    with (
        contextlib.suppress(OSError),
        pa.CompressedInputStream(pa.BufferReader(packed), codec) as stream,
    ):
        while len(data) < MOST_BYTES and (more := stream.read(UNPACKED_BYTES)):
            data += more
    return bytes(data)
