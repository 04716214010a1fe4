"""What happens beside a device that works: a second CPU stands for it here."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.kinds import kind_of, train
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.train.logged_step import LoggedStep
from steadyrank.pipeline.train.run import TrainingRun
from steadyrank.pipeline.train.strategy import ahead, make_strategy
from tests.helpers.training import log_of, smaller_config, state_of

DEVICE = "/job:localhost/replica:0/task:0/device:CPU:1"


def test_no_step_reads_from_the_device_or_brings_its_batch(examples, tmp_path, monkeypatch):
    """Each read would wait for all that the device was told to do before."""
    reads, of_steps, batches = [], [], set()
    look, flush, step = ops._EagerTensorBase._numpy, TrainingRun._flush, LoggedStep.__call__

    def _numpy(tensor):
        reads.append(tensor.device)
        return look(tensor)

    def flushed(run, pending):
        of_steps.extend(reads)
        found = flush(run, pending)
        reads.clear()
        return found

    def taken(logged, batch):
        batches.update(tensor.device for tensor in tf.nest.flatten(batch))
        return step(logged, batch)

    monkeypatch.setattr(ops._EagerTensorBase, "_numpy", _numpy)
    monkeypatch.setattr(TrainingRun, "_flush", flushed)
    monkeypatch.setattr(LoggedStep, "__call__", taken)

    def unwatched(method):
        def call(*given, **how):
            found = method(*given, **how)
            reads.clear()
            return found

        return call

    for name in ("__init__", "_validate_window", "_evaluate"):
        monkeypatch.setattr(TrainingRun, name, unwatched(getattr(TrainingRun, name)))
    config = smaller_config(checkpoint_every=10**6)
    here, there = tmp_path / "CPU:0", tmp_path / "CPU:1"
    train(config, examples, there, strategy=make_strategy(["CPU:1"]))
    assert len(of_steps) >= 13 and DEVICE not in of_steps
    assert batches == {DEVICE}
    monkeypatch.undo()
    train(config, examples, here, strategy=make_strategy(["CPU:0"]))
    assert log_of(here) == log_of(there)
    ours, theirs = state_of(here), state_of(there)
    assert ours.keys() == theirs.keys() and len(ours) > 20
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value, name)


def test_batches_are_copied_ahead_and_stay_where_the_host_is_the_device():
    dataset = tf.data.Dataset.range(9)
    assert ahead(dataset, make_strategy(["CPU:0"])) is dataset
    batches = iter(ahead(dataset, make_strategy(["CPU:1"])))
    first = next(batches)
    assert first.device == DEVICE and int(first) == 0
    assert [int(number) for number in batches] == [*range(1, 9)]


@pytest.mark.parametrize("size", [7, 32, 57, 500])
def test_the_latest_window_of_a_batch_is_known_without_the_batch(examples, tmp_path, size):
    config, found = smaller_config(batch_size=size), ExampleSet.open(examples)
    kind = kind_of(config)
    schema = kind.agree(config, found.schema)
    setting = Setting(config, schema, found, tmp_path, make_strategy())
    (phase,) = kind.phases(setting)
    learner = kind.learner(setting, phase, 1.0)
    windows = [int(batch[-1].numpy().max()) for batch in learner.batches(0, 0)]
    assert [learner.latest_window(n) for n in range(len(windows))] == windows
    assert len(windows) == learner.batches_in_epoch and len(learner.windows) == 4
