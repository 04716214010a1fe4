"""A training does not grow with its epochs: what it reads with is built once."""

from tensorflow.python.framework import constant_op

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples import dataset
from steadyrank.pipeline.kinds import train
from steadyrank.pipeline.train.run import TrainingRun
from tests.helpers import tiny


def config_of(**changes):
    return parse_config(tiny.config_document(**changes), "tiny")


def test_no_epoch_builds_its_datasets_anew(examples, tmp_path, monkeypatch):
    """TensorFlow keeps the kernels of each that was ever built, while the process lives."""
    built, after = [], []
    parse = dataset.parse_block

    def parse_block(*columns, **how):
        built.append(1)
        return parse(*columns, **how)

    monkeypatch.setattr(dataset, "parse_block", parse_block)
    settings = {"batch_size": 100, "epochs": 5, "patience": None}
    config = config_of(model={"trunk": "lr"}, train=settings)
    train(config, examples, tmp_path / "t", saved=lambda _: after.append(len(built)))
    assert len(after) >= 5 and after[0] > 0
    assert after[2] == after[-1]


def test_no_step_hands_tensorflow_a_number(examples, tmp_path, monkeypatch):
    """Of each it keeps 340 bytes for good (2.16 on Python 3.11): GB of a million steps."""
    made = []
    convert = constant_op.convert_to_eager_tensor

    def count(*given, **how):
        made.append(1)
        return convert(*given, **how)

    monkeypatch.setattr(constant_op, "convert_to_eager_tensor", count)
    train_epoch = TrainingRun._train_epoch

    def counted(run):
        before = len(made)
        try:
            return train_epoch(run)
        finally:
            of_epochs.append(len(made) - before)

    monkeypatch.setattr(TrainingRun, "_train_epoch", counted)
    found = []
    for size in (100, 25):  # 4 and 16 steps an epoch
        of_epochs: list[int] = []
        settings = {"batch_size": size, "epochs": 3, "patience": None}
        config = config_of(model={"trunk": "lr"}, train=settings)
        train(config, examples, tmp_path / str(size))
        found.append(of_epochs[-1])
    assert found[0] == found[1] < 20
