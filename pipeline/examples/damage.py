"""What went wrong while examples were read, by the name of the file that it went wrong in.

TensorFlow says that a record is damaged, or that too few came, and not of which file: the
files are read again.  Where all are whole then, it was the store, for once.
"""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.examples.reading import reader
from steadyrank.pipeline.examples.records import DAMAGED, ENCODING, OTHER_ENCODING
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.object_store import open_object

STORE_ERRORS = (  # of TensorFlow's file systems, where a store fails or does not answer
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.InternalError,
    tf.errors.UnknownError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
)


@contextlib.contextmanager
def naming_damage(examples: ExampleSet) -> Iterator[None]:
    """Around reading: damage becomes an error that names its file.

    Raises:
        InputError: A record's checksum fails, it was encoded by another schema than
            the manifest says of its file, or the file holds fewer records.
        PassingError: A file gave fewer records than it does when it is read again, or
            damaged ones; or the store that it is on does not answer.
    """
    try:
        yield
    except tf.errors.FailedPreconditionError as error:
        if "expected to contain" not in str(error):
            raise
        raise _short(examples) from None
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        if _is_damage(error):
            raise _damaged(examples) from None
        if OTHER_ENCODING in str(error):
            _require_encodings(examples)
        raise
    except STORE_ERRORS as error:
        if not examples.source:
            raise
        for path in examples.paths():  # what is gone, or locked, is named
            open_object(examples.readable(path)).close()
        said = next((line for line in str(error).splitlines() if "://" in line), str(error))
        raise _passed(
            examples, f"could not be read ({said.rpartition('}} ')[2][:300]})"
        ) from None


def _is_damage(error: tf.errors.OpError) -> bool:
    return isinstance(error, tf.errors.DataLossError) or DAMAGED in str(error)


def _damaged(examples: ExampleSet) -> InputError | PassingError:
    """The error to raise where a record's checksum failed."""
    for path in examples.paths():
        name = examples.readable(path)
        if not _is_whole(examples, name):
            return InputError(f"{name} is corrupt: {DAMAGED}. Preprocess the log again.")
    return _passed(examples, "gave damaged records")


def _require_encodings(examples: ExampleSet) -> None:
    for path in examples.paths():
        name, wanted = examples.readable(path), examples.encoding(path)
        found = next((e for e in _encodings(examples, name) if e != wanted), None)
        if found is not None:
            raise InputError(
                f"{name}: its records were encoded by a schema with fingerprint "
                f"{found[:12]}, and {examples.path / 'manifest.json'} says "
                f"{wanted[:12]}. Ids would mean other values: preprocess the log again."
            ) from None


def _short(examples: ExampleSet) -> InputError | PassingError:
    """The error to raise where a file gave fewer records than it must."""
    for path in examples.paths():
        wanted, found = examples.blocks(path), _count(examples, examples.readable(path))
        if found != wanted:
            return InputError(
                f"{examples.readable(path)} is cut off or was changed: it must hold "
                f"{wanted} blocks of rows. Received: {found}. Preprocess the log again."
            )
    return _passed(examples, "came back short")


def _passed(examples: ExampleSet, what: str) -> PassingError:
    """The error to raise for what is not so when a file is read again."""
    return PassingError(
        f"{examples.source or examples.path}: a file {what}, and is whole when it is read "
        "again. Try again: train --resume goes on where it stopped."
    )


def _count(examples: ExampleSet, name: str) -> int:
    """Records of a file, up to the first that is damaged."""
    found = 0
    with contextlib.suppress(tf.errors.OpError):
        for _ in reader(examples.source)(name):
            found += 1
    return found


def _encodings(examples: ExampleSet, name: str) -> Iterator[str]:
    """The fingerprint that each record of a file carries."""
    for record in reader(examples.source)(name):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        yield feature[ENCODING].bytes_list.value[0].decode()


def _is_whole(examples: ExampleSet, name: str) -> bool:
    try:
        for _ in reader(examples.source)(name):
            pass
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
        if _is_damage(error):
            return False
        raise
    return True
