"""The one byte contract between preprocessing and everything that reads examples.

A TFRecord file holds blocks.  A block is one ``tf.train.Example`` with up to
``BLOCK_ROWS`` rows, column by column: each column is one bytes feature that holds the
values of all rows one after the other, little-endian.

| key | type | per row |
|---|---|---|
| ``feature/<name>`` categorical | int32 | 1 id, or ``max_values`` ids, 0 after the last |
| ``feature/<name>`` numeric | float32 | 1 number in raw units, NaN: missing |
| ``label/<task>`` | float32 | 1 number in raw units, NaN: no label |
| ``truth/<task>`` | float32 | the true probability or value, where the log knows it |
| ``group`` | int64 | the group, for GAUC |
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c
import numpy as np

from models.features import Feature, Task

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Column:
    """One column of a block: its key, its little-endian NumPy type, its values a row.

    ``width`` 0 is a plain vector; anything above, a matrix so wide.
    """

    key: str
    dtype: str
    width: int = 0


def layout(
    features: Iterable[Feature],
    tasks: Iterable[Task],
    truths: Iterable[str] = (),
    group: bool = False,
) -> tuple[Column, ...]:
    """The columns of a block, from the schema."""
    columns = [
        Column(f"feature/{f.name}", "<i4", f.max_values)
        if f.kind == "categorical"
        else Column(f"feature/{f.name}", "<f4")
        for f in features
    ]
    columns += [Column(f"label/{task.name}", "<f4") for task in tasks]
    columns += [Column(f"truth/{name}", "<f4") for name in truths]
    return (*columns, Column("group", "<i8")) if group else tuple(columns)


def encode_blocks(arrays: dict[str, np.ndarray], columns: Iterable[Column]) -> Iterator[bytes]:
    """Serialise rows block by block.

    Args:
        arrays: Key -> values ``[rows]`` or ``[rows, width]``.
        columns: The layout.

    Yields:
        Serialised ``tf.train.Example`` messages.
    """
    import tensorflow as tf  # workers that only read logs do not wait for it

    columns = tuple(columns)
    arrays = {c.key: np.ascontiguousarray(arrays[c.key], c.dtype) for c in columns}
    rows = len(arrays[columns[0].key])
    for start in range(0, rows, BLOCK_ROWS):
        example = tf.train.Example()
        for column in columns:
            block = arrays[column.key][start : start + BLOCK_ROWS].tobytes()
            example.features.feature[column.key].bytes_list.value.append(block)
        yield example.SerializeToString(deterministic=True)


def write_records(file: BinaryIO, records: Iterable[bytes]) -> int:
    """Write records in TFRecord framing.

    Args:
        file: Where to.
        records: Their contents.

    Returns:
        The bytes written.
    """
    written = 0
    for record in records:
        length = struct.pack("<Q", len(record))
        for part in (length, _masked_crc(length), record, _masked_crc(record)):
            file.write(part)
            written += len(part)
    return written


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C as the TFRecord format masks it (tensorflow/core/lib/hash/crc32c.h)."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def parse_block(record, columns: Iterable[Column]) -> dict:
    """Parse one block, within a ``tf.data`` pipeline.

    Args:
        record: Scalar string tensor.
        columns: Those of the layout that are wanted.

    Returns:
        Key -> tensor ``[rows]`` or ``[rows, width]``.
    """
    import tensorflow as tf

    columns = tuple(columns)
    scalar = tf.io.FixedLenFeature([], tf.string)
    parsed = tf.io.parse_single_example(record, {c.key: scalar for c in columns})
    return {
        c.key: _shaped(tf.io.decode_raw(parsed[c.key], np.dtype(c.dtype)), c.width)
        for c in columns
    }


def _shaped(values, width: int):
    import tensorflow as tf

    return tf.reshape(values, [-1, width]) if width else values
