"""Training that is damaged or told to end: the same weights, or a sentence."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.kinds import train
from steadyrank.pipeline.train import checkpoints, eviction, log
from steadyrank.pipeline.train.run import TrainingRun
from tests.helpers.training import Interrupted, log_of, smaller_config, state_of


@pytest.fixture(scope="module")
def settings():
    model = smaller_config().model_copy(update={"tasks": smaller_config().tasks[:1]})
    return model.model_copy(
        update={"train": model.train.model_copy(update={"checkpoint_every": 4})}
    )


@pytest.fixture(scope="module")
def whole(settings, examples, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "t"
    train(settings, examples, output)
    return output


def killed_after(count: int):
    """A callback that ends a run when it has saved so many checkpoints."""
    seen = []

    def saved(_):
        seen.append(1)
        if len(seen) == count:
            raise Interrupted

    return saved


@pytest.fixture(scope="module")
def halfway(settings, examples, tmp_path_factory):
    """A run that died with checkpoints of steps 4 and 8."""
    output = tmp_path_factory.mktemp("halfway") / "t"
    with pytest.raises(Interrupted):
        train(settings, examples, output, saved=killed_after(2))
    return output.with_name("t.partial")


def copy_of(halfway, tmp_path):
    shutil.copytree(halfway, tmp_path / "t.partial")
    return tmp_path / "t"


def story_of(folder) -> list[tuple]:
    """The lines of a log without norms, which stand where it was last looked at."""
    kept = ("step", "epoch", "batch", "loss", "window", "validation", "progressive")
    return [tuple(line.get(key) for key in kept) for line in log_of(folder)]


def assert_same_weights(one, two):
    one, two = state_of(one), state_of(two)
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    settings, examples, whole, halfway, tmp_path
):
    """And without the file that lists them, nothing is begun anew."""
    output, said = copy_of(halfway, tmp_path), []
    folder = tmp_path / "t.partial" / "checkpoints"
    newest = checkpoints.found_in(folder)[0]
    data = next(folder.glob(f"{os.path.basename(newest)}.data*"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    (folder / "checkpoint").unlink()
    train(settings, examples, output, resume=True, progress=lambda *told: said.append(told))
    assert_same_weights(output, whole)
    assert story_of(output) == story_of(whole)
    assert any(f"{newest} is damaged" in text for _, _, text in said)


def test_where_no_checkpoint_can_be_read_nothing_is_removed(
    settings, examples, halfway, tmp_path
):
    output = copy_of(halfway, tmp_path)
    for path in (tmp_path / "t.partial" / "checkpoints").glob("*.data*"):
        path.write_bytes(b"")
    before = {path for path in (tmp_path / "t.partial").rglob("*")}
    with pytest.raises(InputError, match="no checkpoint to go on from.*ckpt-"):
        train(settings, examples, output, resume=True)
    assert before <= set((tmp_path / "t.partial").rglob("*"))


@pytest.mark.parametrize("wrong", [2, 0])
def test_a_log_that_lacks_steps_is_not_gone_on_with(
    settings, examples, halfway, tmp_path, wrong
):
    output, path = copy_of(halfway, tmp_path), tmp_path / "t.partial" / log.LOG_FILE
    lines = path.read_text().splitlines(keepends=True)
    steps = [n for n, line in enumerate(lines) if "loss" in json.loads(line)]
    lines[steps[wrong]] = "{\n" if wrong else ""
    path.write_text("".join(lines))
    text, said = path.read_text(), "line 3 is damaged, and steps that are needed follow it"
    with pytest.raises(
        InputError, match=said if wrong else "each of 8 .* wrong from step 1"
    ):
        train(settings, examples, output, resume=True)
    assert not wrong or path.read_text() == text


DAMAGE = {
    "data cut": lambda f: _cut(next(f.glob("ckpt-2.data*"))),
    "data empty": lambda f: next(f.glob("ckpt-2.data*")).write_bytes(b""),
    "data gone": lambda f: next(f.glob("ckpt-2.data*")).unlink(),
    "index cut": lambda f: _cut(f / "ckpt-2.index"),
    "index empty": lambda f: (f / "ckpt-2.index").write_bytes(b""),
    "index of noise": lambda f: (f / "ckpt-2.index").write_bytes(os.urandom(500)),
    "index gone": lambda f: (f / "ckpt-2.index").unlink(),
    "list gone": lambda f: (f / "checkpoint").unlink(),
    "list of noise": lambda f: (f / "checkpoint").write_bytes(b"\xff\x00"),
}


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_newest_checkpoint_that_can_be_read_is_taken(tmp_path, damage):
    value = tf.Variable(tf.random.stateless_normal([1000], [1, 2]))
    checkpoint = tf.train.Checkpoint(value=value, number=tf.Variable(0))
    manager = tf.train.CheckpointManager(checkpoint, tmp_path, max_to_keep=2)
    for number in (1, 2):
        checkpoint.number.assign(number)
        manager.save()
    DAMAGE[damage](tmp_path)
    checkpoint.number.assign(7)
    damaged = checkpoints.restore_newest(checkpoint, tmp_path)
    kept = "list" in damage
    assert int(checkpoint.number) == (2 if kept else 1)
    assert len(damaged) == (not kept and damage != "index gone")


def test_told_to_end_it_saves_and_goes_on_to_the_same_weights(
    settings, examples, whole, tmp_path
):
    before, sent = signal.getsignal(signal.SIGTERM), []

    def evict(_):
        if not sent:  # a second one would end the process
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    output = tmp_path / "t"
    with pytest.raises(PassingError, match=r"after step 5, .*t.partial holds"):
        train(settings, examples, output, saved=evict)
    assert signal.getsignal(signal.SIGTERM) == before
    train(settings, examples, output, resume=True)
    assert_same_weights(output, whole)
    assert story_of(output) == story_of(whole)


def test_a_second_signal_does_what_the_first_would_have_done():
    came, before = [], signal.signal(signal.SIGTERM, lambda *_: came.append(1))
    try:
        with eviction.watching() as told:
            assert not told()
            os.kill(os.getpid(), signal.SIGTERM)
            assert told() and not came
            os.kill(os.getpid(), signal.SIGTERM)
            assert came == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_window_that_was_just_measured_is_logged_once(
    settings, examples, whole, tmp_path, monkeypatch
):
    often = settings.train.model_copy(update={"checkpoint_every": 1})
    often, measure = (
        settings.model_copy(update={"train": often}),
        TrainingRun._validate_window,
    )

    def killed(self, epoch):
        measure(self, epoch)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "_validate_window", killed)
        with pytest.raises(Interrupted):
            train(often, examples, tmp_path / "t")
    train(often, examples, tmp_path / "t", resume=True)
    assert story_of(tmp_path / "t") == story_of(whole)


def test_a_snapshot_that_cannot_be_sent_warns_and_training_goes_on():
    said = []

    class Run:
        work, _say, _send = None, staticmethod(said.append), TrainingRun._send

        def saved(self, _):
            raise PassingError("SlowDown")

    Run()._send()
    assert said == ["warning: no snapshot of this checkpoint was kept: SlowDown"]


def test_a_checkpoint_of_a_version_before_is_refused_in_words(tmp_path):
    """It has no ``window``: nobody is told of objects that were not bound."""
    step, window = tf.Variable(1), tf.Variable(0)
    tf.train.CheckpointManager(tf.train.Checkpoint(step=step), tmp_path, 2).save()
    with pytest.raises(InputError) as caught:
        checkpoints.restore_newest(tf.train.Checkpoint(step=step, window=window), tmp_path)
    said = str(caught.value)
    assert said.endswith(
        "ckpt-1: of another model, or of another version of this project. Start again "
        "with --overwrite."
    )
