"""A disk that fails a read (EIO) is no damage: 75, whatever was to be read."""

import errno
import fcntl
import os
from pathlib import Path

import pytest
import tensorflow as tf

from benchmarks.faults.disk import BROKEN, Disk
from steadyrank.pipeline.config import read_document
from steadyrank.pipeline.examples.example_set import check_size
from steadyrank.pipeline.files.errors import InputError, PassingError, fault, unreadable
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.metrics.samples import FILE, read_samples
from steadyrank.pipeline.train.checkpoints import restore_newest
from steadyrank.pipeline.train.log import read_lines

READ = {
    "a config": read_document,
    "a log": lambda path: list(read_lines(path)),
    "samples": lambda path: read_samples(path.parent),
}


@pytest.fixture(scope="module")
def disk():
    return Disk()


@pytest.mark.parametrize("what", READ)
def test_a_file_that_cannot_be_read_now(tmp_path, disk, what):
    path = tmp_path.resolve() / FILE
    path.write_text("{")
    with disk.watching(path.parent, 0, BROKEN), pytest.raises(PassingError):
        READ[what](path)
    with pytest.raises(InputError):  # damaged
        READ[what](path)


@pytest.mark.parametrize(("code", "kind"), [(5, PassingError), (2, InputError)])
def test_a_file_that_cannot_be_looked_at(monkeypatch, code, kind):
    def stat(self):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(kind):
        check_size(Path("x"), 1)


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EIO, PassingError), (errno.EOPNOTSUPP, InputError)]
)
def test_a_lock_that_cannot_be_had(tmp_path, monkeypatch, code, kind):
    def flock(file, how):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(kind, match="cannot lock"), locked(tmp_path / "lock"):
        pass


def test_what_a_reader_said_is_of_the_system_or_of_the_file():
    broken = OSError(errno.EIO, os.strerror(errno.EIO))
    assert isinstance(unreadable("x", broken, "Again."), PassingError)
    found = unreadable("x", OSError("Couldn't deserialize thrift"), "Again.")
    assert isinstance(found, InputError) and "x is corrupt" in str(found)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (tf.errors.UnknownError(None, None, "w.data; Too many open files"), PassingError),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), PassingError),
        (tf.errors.DataLossError(None, None, "truncated"), InputError),
    ],
)
def test_a_checkpoint_that_cannot_be_read_now_is_not_passed_over(tmp_path, error, kind):
    """The one before it would lose steps, and none is worse than a full one."""
    (tmp_path / "ckpt-1.index").touch()

    class Checkpoint:
        def restore(self, prefix):
            raise error

    with pytest.raises(kind):
        restore_newest(Checkpoint(), tmp_path)
    assert isinstance(fault("x", error), kind)
