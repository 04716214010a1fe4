"""The one byte contract between preprocessing and everything that reads examples.

A TFRecord file holds blocks.  A block is one ``tf.train.Example`` with up to
``BLOCK_ROWS`` rows in matrices, row by row, little-endian, each one bytes feature:

- ``ids``, int32: of each categorical feature its id, or ``max_values`` ids with 0 after
  the last, of a sequence the latest ones, oldest first, after 0s, of a hashed one
  ``hashes`` ids;
- ``numbers``, float32: numeric features in raw units, NaN where missing, vectors as many
  columns as they have numbers; then labels in
  raw units, NaN where there is none; then true probabilities, where the log knows them;
  then the weights of rows in a task's loss, where the log has them;
- ``group``, int64: the row's group, for GAUC, where the log has groups; ``NO_GROUP``
  where the row has none;
- ``encoding``, 64 characters: the fingerprint of the schema that the ids were given by.

The schema names the columns of each matrix in their order (``Layout``), and its
fingerprint ties the two together.  Rows rather than columns lie together because that
is how they are shuffled and batched: one copy of a row instead of one for each column.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import google_crc32c
import numpy as np

from steadyrank.models.features import Feature, Task

BLOCK_ROWS = 4096
NO_GROUP = -(2**63)
ENCODING = "encoding"
DAMAGED = "a record's checksum does not match"
OTHER_ENCODING = "a record has another encoding than the manifest says of its file"


@dataclass(frozen=True)
class Layout:
    """Which column of which matrix holds what.

    Attributes:
        ids: Categorical features and their width: 0 for a single id, else how many.
        numbers: Keys ``feature/<name>``, ``label/<task>``, ``truth/<task>``,
            ``weight/<task>``, ``soft/<task>``.
        group: Whether rows have a group.
        vectors: Keys of ``numbers`` that have several columns, and how many.
    """

    ids: tuple[tuple[str, int], ...]
    numbers: tuple[str, ...]
    group: bool
    vectors: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(
        cls,
        features: Iterable[Feature],
        tasks: Iterable[Task],
        truths: Iterable[str],
        group: bool,
    ) -> "Layout":
        features, tasks = tuple(features), tuple(tasks)
        ids = [(f.name, f.ids_per_row) for f in features if f.kind != "numeric"]
        numbers = [f"feature/{f.name}" for f in features if f.kind == "numeric"]
        numbers += [f"label/{task.name}" for task in tasks]
        numbers += [f"truth/{name}" for name in truths]
        numbers += [f"weight/{task.name}" for task in tasks if task.sample_weight]
        numbers += [f"soft/{task.name}" for task in tasks if task.soft_label]
        vectors = tuple((f"feature/{f.name}", f.width) for f in features if f.width)
        return cls(tuple(ids), tuple(numbers), group, vectors)

    @property
    def number_widths(self) -> list[int]:
        """Columns of each key in ``numbers``."""
        several = dict(self.vectors)
        return [several.get(key, 1) for key in self.numbers]

    @property
    def widths(self) -> list[int]:
        """Columns of each categorical feature in ``ids``."""
        return [max(width, 1) for _, width in self.ids]

    def matrices(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns by key, as encoding has them, to the matrices of the contract."""
        rows = len(next(iter(arrays.values())))
        ids = [arrays[f"feature/{name}"].reshape(rows, -1) for name, _ in self.ids]
        numbers = [arrays[key].reshape(rows, -1) for key in self.numbers]
        matrices = {
            "ids": np.concatenate(ids or [np.zeros((rows, 0))], 1).astype("<i4"),
            "numbers": np.concatenate(numbers, 1).astype("<f4"),
        }
        if self.group:
            matrices["group"] = arrays["group"].astype("<i8")
        return matrices

    def columns(self, matrices: dict) -> dict:
        """Within ``tf.data``: tensors of the matrices to tensors by key."""
        import tensorflow as tf

        columns = {}
        if self.ids:
            parts = tf.split(matrices["ids"], self.widths, axis=1)
            for (name, width), part in zip(self.ids, parts, strict=True):
                columns[f"feature/{name}"] = part if width else part[:, 0]
        if self.vectors:
            several, parts = (
                dict(self.vectors),
                tf.split(matrices["numbers"], self.number_widths, axis=1),
            )
            numbers = [
                part if key in several else part[:, 0]
                for key, part in zip(self.numbers, parts, strict=True)
            ]
        else:
            numbers = tf.unstack(matrices["numbers"], len(self.numbers), axis=1)
        columns.update(zip(self.numbers, numbers, strict=True))
        if "group" in matrices:
            columns["group"] = matrices["group"]
        return columns


def encode_blocks(matrices: dict[str, np.ndarray], encoding: str) -> Iterator[bytes]:
    """Serialise rows block by block.

    The messages are put together here, byte for byte as protobuf would: workers need
    not load TensorFlow, which takes longer than many a job.

    Args:
        matrices: From ``Layout.matrices``.
        encoding: Fingerprint of the schema.

    Yields:
        Serialised ``tf.train.Example`` messages.
    """
    for start in range(0, len(matrices["numbers"]), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        yield encode_block({key: matrices[key][rows] for key in matrices}, encoding)


def encode_block(arrays: dict[str, np.ndarray], encoding: str) -> bytes:
    """One ``tf.train.Example`` that holds the bytes of each array under its key."""
    arrays = {**arrays, ENCODING: np.frombuffer(encoding.encode(), np.uint8)}
    entries = b""
    for key in sorted(arrays):
        value = _field(2, _field(1, _field(1, arrays[key].tobytes())))
        entries += _field(1, _field(1, key.encode()) + value)
    return _field(1, entries)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field in protobuf's wire format, as tf/core/example has them."""
    length, varint = len(content), bytearray()
    while length > 127:
        varint.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *varint, length]) + content


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


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Read what ``write_records`` wrote, one record after the other.

    Raises:
        ValueError: ``DAMAGED``: also where the file ends within a record.
    """
    while header := file.read(12):
        length = header[:8]
        if header[8:] != _masked_crc(length):
            raise ValueError(DAMAGED)
        record = file.read(struct.unpack("<Q", length)[0])
        if file.read(4) != _masked_crc(record):
            raise ValueError(DAMAGED)
        yield record


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C as the TFRecord format masks it (tensorflow/core/lib/hash/crc32c.h)."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def parse_block(record, encoding, layout: Layout, group: bool = False) -> dict:
    """Parse one block, within ``tf.data``.

    Args:
        record: Scalar string tensor.
        encoding: The same: the fingerprint that the record must carry.
        layout: The layout.
        group: Whether the group is wanted.

    Returns:
        ``ids`` int32 ``[rows, *]``, ``numbers`` float32 ``[rows, *]``, and ``group``
        int64 ``[rows]`` if wanted.

    Raises:
        tf.errors.InvalidArgumentError: ``OTHER_ENCODING``, when it runs.
    """
    import tensorflow as tf

    kinds = {"ids": tf.int32, "numbers": tf.float32}
    if group and layout.group:
        kinds["group"] = tf.int64
    matrices = parse_arrays(record, encoding, kinds)
    numbers = tf.reshape(matrices["numbers"], [-1, sum(layout.number_widths)])
    rows = tf.shape(numbers)[0]
    ids = tf.reshape(matrices["ids"], [rows, sum(layout.widths)])
    return {**matrices, "ids": ids, "numbers": numbers}


def parse_arrays(record, encoding, kinds: dict) -> dict:
    """Arrays of a block, within ``tf.data``, flat.

    Args:
        record: Scalar string tensor.
        encoding: The same: the fingerprint that the record must carry.
        kinds: Key -> dtype, of the arrays wanted.

    Raises:
        tf.errors.InvalidArgumentError: ``OTHER_ENCODING``, when it runs.
    """
    import tensorflow as tf

    scalar = tf.io.FixedLenFeature([], tf.string)
    parsed = tf.io.parse_single_example(record, dict.fromkeys([*kinds, ENCODING], scalar))
    same = tf.debugging.Assert(tf.equal(parsed[ENCODING], encoding), [OTHER_ENCODING])
    with tf.control_dependencies([same]):
        parsed = {key: tf.identity(parsed[key]) for key in kinds}
    return {k: tf.io.decode_raw(parsed[k], kind) for k, kind in kinds.items()}
