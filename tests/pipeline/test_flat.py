"""A training does not grow with its epochs: what it reads with is built once."""

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples import dataset
from steadyrank.pipeline.kinds import train
from tests.pipeline import tiny


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
