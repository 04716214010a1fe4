"""Records of a file, wherever it is: by TensorFlow's file systems, or by our own.

TensorFlow reads local files, and with tensorflow-io those of object storage.  That is
built for one TensorFlow; beside another, or where it is not installed, objects are read
here: range by range, each whole or asked for again (``files.object_reader``), several
objects at once, of each one a block of bytes and a few records at a time in memory.
"""

from collections.abc import Callable, Iterator

import tensorflow as tf

from steadyrank.pipeline.examples.records import read_records
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.object_store import open_object, tensorflow_reads

AHEAD = 2  # records of an object, while those before are used


def reader(source: str) -> Callable[..., tf.data.Dataset]:
    """What reads files of a place.

    Args:
        source: The place, a URL; ``""``: on this machine.

    Returns:
        A function of a file's name, a string or a tensor of one, to its records, which
        are scalar strings.  Damaged ones are a ``DataLossError``, or an
        ``InvalidArgumentError`` that says ``records.DAMAGED``.
    """
    if not source or tensorflow_reads(source):
        return tf.data.TFRecordDataset
    return _objects


def _objects(name) -> tf.data.Dataset:
    record = tf.TensorSpec([], tf.string)
    records = tf.data.Dataset.from_generator(_read, output_signature=record, args=(name,))
    return records.prefetch(AHEAD)


def _read(name: bytes) -> Iterator[bytes]:
    try:
        with open_object(name.decode()) as file:
            yield from read_records(file)
    except InputError as error:  # a ValueError, and those are damage here
        raise LookupError(str(error)) from None
