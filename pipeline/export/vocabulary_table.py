"""A vocabulary in the graph of an export."""

from pathlib import Path

import tensorflow as tf

from steadyrank.pipeline.files.checksum import checksum_of

LINE, TEXT = tf.lookup.TextFileIndex.LINE_NUMBER, tf.lookup.TextFileIndex.WHOLE_LINE


class _Lines(tf.lookup.TextFileInitializer):
    """A vocabulary file, whose table is called after what it holds.

    TensorFlow would call it after where the file stands: two exports of one model differed.
    """

    def __init__(self, path: Path, key: tuple[tf.DType, int], value: tuple[tf.DType, int]):
        self._content = checksum_of(Path(path))
        super().__init__(str(path), *key, *value)

    @property
    def _shared_name(self) -> str:
        kinds = f"{self.key_dtype.name}_{self.value_dtype.name}"
        return f"vocabulary_{self._content}_{kinds}"


def lines_of(path: Path, kind: tf.DType) -> tf.lookup.StaticHashTable:
    """A table from value to line number; -1 where unknown."""
    lines = _Lines(path, (kind, _column(kind)), (tf.int64, LINE))
    return tf.lookup.StaticHashTable(lines, -1)


def values_of(path: Path, kind: tf.DType, default) -> tf.lookup.StaticHashTable:
    """A table from line number to value."""
    values = _Lines(path, (tf.int64, LINE), (kind, _column(kind)))
    return tf.lookup.StaticHashTable(values, default)


def _column(kind: tf.DType) -> int:
    return TEXT if kind == tf.string else 0
