"""The checkpoints of a run: what is there, whatever the file that lists them says."""

from pathlib import Path

import tensorflow as tf

from steadyrank.pipeline.files.errors import InputError, PassingError, passes

# of TensorFlow's readers, by what is wrong with a file
UNREADABLE = (tf.errors.OpError, AssertionError, ValueError, LookupError, OSError)


def found_in(folder: Path) -> list[str]:
    """Prefixes of the checkpoints in a folder, the newest first, by their numbers."""
    names = [path.stem for path in folder.glob("ckpt-*.index")]
    numbers = sorted(int(n) for n in (name[5:] for name in names) if n.isdigit())
    return [str(folder / f"ckpt-{number}") for number in reversed(numbers)]


def restore_newest(checkpoint: tf.train.Checkpoint, folder: Path) -> list[str]:
    """Restore the newest checkpoint that can be read.

    Args:
        checkpoint: Of all that the run hangs on.
        folder: It holds at least one.

    Returns:
        Those that are newer and cannot be read, by their prefixes.

    Raises:
        InputError: None can be read. Nothing was removed.
        PassingError: The system failed, or has no memory left.
    """
    damaged: list[str] = []
    for prefix in found_in(folder):
        try:
            checkpoint.restore(prefix).assert_consumed()
        except UNREADABLE as error:
            if passes(error):
                said = f"{prefix} cannot be read now: {error}. Try again."
                raise PassingError(said) from None
            damaged.append(prefix)
            why = "damaged: " + str(error).splitlines()[0]
            if isinstance(error, AssertionError):  # it was read, and lacks something
                why = "of another model, or of another version of this project"
        else:
            return damaged
    raise InputError(
        f"{folder} holds no checkpoint to go on from. {', '.join(damaged)}: {why}. Start "
        "again with --overwrite."
    )
