"""What TensorBoard draws of a training: an event file, written record by record.

``tf.summary`` would do, but a kilobyte of each number that it ever wrote stays in memory
(TensorFlow 2.16): gigabytes of a training of a million steps.
"""

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

Event, Summary = tf.compat.v1.Event, tf.compat.v1.Summary

_numbers = itertools.count()


class Board:
    """An event file of its own, as TensorBoard reads it.

    Args:
        folder: Where; None: nothing is written.
    """

    def __init__(self, folder: Path | None):
        self._writer = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            whose = f"{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
            name = f"events.out.tfevents.{int(time.time()):010d}.{whose}.v2"
            self._writer = tf.io.TFRecordWriter(str(folder / name))
            self._write(0, file_version="brain.Event:2")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, each under its name."""
        self._write(step, summary=Summary(value=map(_scalar, values, values.values())))

    def text(self, name: str, text: str) -> None:
        """A text in Markdown, of step 0."""
        value = Summary.Value(tag=name, tensor=tf.make_tensor_proto(text))
        value.metadata.plugin_data.plugin_name = "text"
        self._write(0, summary=Summary(value=[value]))

    def flush(self) -> None:
        """Let readers see what was written."""
        if self._writer is not None:
            self._writer.flush()

    def _write(self, step: int, **what) -> None:
        if self._writer is not None:
            event = Event(wall_time=time.time(), step=step, **what)
            self._writer.write(event.SerializeToString())


def _scalar(name: str, number: float):
    value = Summary.Value(tag=name)
    value.tensor.dtype = tf.float32.as_datatype_enum
    value.tensor.float_val.append(number)
    value.metadata.plugin_data.plugin_name = "scalars"
    return value
