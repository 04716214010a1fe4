"""A third kind of model, by the protocol alone; what a kind cannot do; who knows kinds."""

import csv
import inspect
import json

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from steadyrank.pipeline import kinds
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.evaluate.release import release
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import evaluate, export, preprocess, train
from steadyrank.pipeline.kinds.protocol import CANNOT, Kind, require
from tests.helpers import event_log, toy_kind


@pytest.fixture
def toy(monkeypatch):
    found = {**kinds.KINDS, toy_kind.ToyConfig: "tests.helpers.toy_kind"}
    monkeypatch.setattr(kinds, "KINDS", found)
    return toy_kind.ToyConfig(
        gates={"auc": {"click": {"min": 0.7}}, "divergence": {"max_micro": 0}}
    )


def write_log(path):
    """Users of even number like items of even number, and the odd ones the odd ones."""
    random = np.random.default_rng(1)
    users, items = random.integers(12, size=(2, 1200))
    labels = (random.random(1200) < np.where((users + items) % 2, 0.1, 0.8)).astype(int)
    with path.open("w", newline="") as file:
        rows = zip(users, items, labels, strict=True)
        csv.writer(file).writerows([("user", "item", "click"), *rows])


def test_a_toy_kind_goes_all_the_way(toy, tmp_path):
    """From a log to a release, in 150 lines beside imports and blank ones."""
    lines = inspect.getsource(toy_kind).splitlines()
    code = [line for line in lines if line and not line.startswith(("import", "from"))]
    assert len(code) <= 150
    write_log(tmp_path / "log.csv")
    examples = tmp_path / "examples"
    preprocess(toy, tmp_path, examples)
    summary = train(toy, examples, tmp_path / "train")
    assert summary["epochs"] == 6 and summary["best"] > 0.7 and "phases" not in summary
    path = export(toy, tmp_path / "train", tmp_path / "export")
    found = evaluate(toy, examples, path, tmp_path / "evaluation")
    assert found["verdict"] == "PASS", [g["reason"] for g in found["gates"]]
    assert "Towers" in (tmp_path / "evaluation/report.html").read_text(encoding="utf-8")
    release(path, tmp_path / "evaluation", tmp_path / "served")
    card = json.loads((tmp_path / "served/1/assets.extra/card.json").read_text())
    assert card["kind"] == "toy" and card["signatures"] == ["serving_default"]
    with pytest.raises(InputError, match="model.dim is 5 in the config"):
        other = toy.model_copy(update={"model": toy_kind.ToyModel(dim=5)})
        export(other, tmp_path / "train", tmp_path / "other")


@pytest.mark.parametrize("config", kinds.KINDS)
def test_every_kind_offers_what_the_protocol_says(config):
    kind = kinds._load(kinds.KINDS[config])
    asked = [name for name in vars(Kind) if not name.startswith("_")]
    assert kind.name in CANNOT and all(callable(getattr(kind, name)) for name in asked)
    for name in asked:
        wanted = inspect.signature(getattr(Kind, name)).parameters
        assert [*inspect.signature(getattr(kind, name)).parameters][:3] == [*wanted][1:4]


def test_what_a_kind_cannot_do_is_said():
    require("ranking", "hyperband")
    for what, why in CANNOT["next_item"].items():
        with pytest.raises(InputError) as caught:
            require("next_item", what)
        assert str(caught.value) == why and why[-1] == "."


def test_commands_say_what_a_kind_cannot_do(tmp_path):
    """One line, status 2, before anything is written."""
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(event_log.config_document()))
    commands = {
        "stability": ("--examples", tmp_path / "e", "--output", tmp_path / "s"),
    }
    for what, arguments in commands.items():
        words = [what, "--config", tmp_path / "c.yaml", *arguments]
        done = CliRunner().invoke(app, list(map(str, words)))
        assert isinstance(done.exception, InputError), what
        assert str(done.exception) == CANNOT["next_item"][what]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.yaml"]
