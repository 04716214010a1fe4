"""A resumed run of a model with an order within groups, a bias and an average."""

import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.kinds import preprocess, train
from tests.helpers import tiny
from tests.helpers.training import (
    MODEL,
    SETTINGS,
    Interrupted,
    assert_same,
    best_of,
    interrupt,
    log_of,
    state_of,
)


@pytest.fixture(scope="module")
def config():
    settings = {f"train__{key}": value for key, value in SETTINGS.items()}
    settings["train__task_weights"] = {"method": "fixed"}
    document = tiny.config_document(model=MODEL, **settings)
    user, country = (
        next(f for f in document["features"] if f["name"] == name)
        for name in ("user", "country")
    )
    document["features"] = [user, country | {"serving": {"drop": "de"}}]
    document["tasks"] = [{"name": "click", "ranking": "jrc"}]
    document.pop("score", None)
    return parse_config(document, "c")


def test_it_ends_as_if_never_stopped(config, tmp_path):
    tiny.write_log(tmp_path / "log")
    examples = tmp_path / "examples"
    preprocess(config, tmp_path / "log", examples)
    train(config, examples, tmp_path / "whole")
    output = tmp_path / "resumed"
    with pytest.raises(Interrupted):
        stop = interrupt(lambda step, text: step >= 20)
        train(config, examples, output, progress=stop)
    train(config, examples, output, resume=True)
    whole = state_of(tmp_path / "whole")
    assert_same(state_of(output), whole)
    assert_same(best_of(output), best_of(tmp_path / "whole"))
    assert log_of(output) == log_of(tmp_path / "whole")
    names = " ".join(whole)
    assert "bias_tower" in names and "average/weights" in names
