"""What happens beside a device that works: a second CPU stands for it here."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.kinds import kind_of, train
from steadyrank.pipeline.kinds.protocol import Setting
from steadyrank.pipeline.train.logged_step import LoggedStep
from steadyrank.pipeline.train.run import TrainingRun
from steadyrank.pipeline.train.strategy import ahead, make_strategy
from tests.helpers import tiny
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


def learner_of(config, examples, folder):
    """A learner, and the strategy that it was built under."""
    kind, found, strategy = kind_of(config), ExampleSet.open(examples), make_strategy()
    schema = kind.agree(config, found.schema)
    setting = Setting(config, schema, found, folder, strategy)
    (phase,) = kind.phases(setting)
    with strategy.scope():
        return kind.learner(setting, phase, 1.0), strategy


@pytest.mark.parametrize("size", [7, 32, 57, 500])
def test_the_latest_window_of_a_batch_is_known_without_the_batch(examples, tmp_path, size):
    learner, _ = learner_of(smaller_config(batch_size=size), examples, tmp_path)
    windows = [int(batch[-1].numpy().max()) for batch in learner.batches(0, 0)]
    assert [learner.latest_window(n) for n in range(len(windows))] == windows
    assert len(windows) == learner.batches_in_epoch and len(learner.windows) == 4


IDLE = {"Const", "Identity", "IdentityN", "NoOp", "Placeholder", "StopGradient"}
MOST = 2109  # of the three tasks below


def operations(graph) -> int:
    """Those of a graph that compute something, each of which a device must be told."""
    own = sum(op.type not in IDLE for op in graph.get_operations())
    return own + sum(operations(f.graph) for f in graph._functions.values())


def test_a_step_tells_the_device_no_more_operations_than_it_did(examples, tmp_path):
    config = parse_config(tiny.config_document(), "tiny")
    learner, strategy = learner_of(config, examples, tmp_path)
    step = LoggedStep(learner.model, strategy)
    step(next(iter(learner.batches(0, 0))))
    graph = step._function._compiled.get_concrete_function().graph
    assert len(config.tasks) == 3
    assert operations(graph) <= MOST
