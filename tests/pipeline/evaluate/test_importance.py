"""Importance by permutation: planted data, a naive reference, units, and the command."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import steadyrank
from steadyrank.components.metrics import bootstrap, grouped
from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.evaluate.importance import sample_rows
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.metrics import importance as module
from steadyrank.pipeline.metrics.importance import measure_importance, units_of

ROWS = 1200
TASKS = (Task("click"), Task("watch", "regression", given="click"))


@pytest.fixture(scope="module")
def planted():
    """Clicks hang on one number alone, watch time on another; the id tells nothing."""
    random = np.random.default_rng(1)
    good, long = random.normal(size=(2, ROWS)).astype(np.float32)
    click = (random.uniform(size=ROWS) < 1 / (1 + np.exp(-2 * good))).astype(np.float32)
    return {
        "features": {"id": random.integers(0, 50, ROWS), "good": good, "long": long},
        "labels": {"click": click, "watch": 3 * long + random.normal(size=ROWS)},
        "masks": {"click": np.ones(ROWS), "watch": click},
        "groups": random.integers(0, 100, ROWS),
    }


class Model:
    """Knows the truth, and counts how often it is asked."""

    asked = 0

    def __call__(self, features):
        self.asked += 1
        output = 1 / (1 + np.exp(-2 * features["good"]))
        return {"click": output, "watch": 3 * features["long"], "score": output}


def test_the_one_feature_that_matters_is_found(planted):
    model = Model()
    units = [["id"], ["good"], ["long"]]
    found = measure_importance(model, TASKS, planted, units)
    assert model.asked == 1 + len(units) and found["rows"] == ROWS
    lost = {unit["features"][0]: unit["tasks"] for unit in found["units"]}
    area = grouped.auc(planted["labels"]["click"], model(planted["features"])["click"])
    assert found["tasks"]["click"]["value"] == area
    assert lost["good"]["click"]["difference"] == pytest.approx(area - 0.5, abs=0.05)
    assert lost["good"]["click"]["interval"][0] > 0.2
    assert lost["long"]["watch"]["difference"] == pytest.approx(4.2 - 1, abs=0.6)
    assert lost["long"]["watch"]["interval"][0] > 1
    for name, task in (("id", "click"), ("id", "watch"), ("long", "click"),
                       ("good", "watch")):  # fmt: skip
        assert lost[name][task] == {"difference": 0.0, "error": 0.0, "interval": [0, 0]}
    assert {found["units"][0]["features"][0], found["units"][1]["features"][0]} == {
        "good", "long"
    }  # fmt: skip


def test_intervals_are_those_of_the_paired_bootstrap(planted):
    """Against the paired bootstrap of the two columns of predictions, written out."""
    found = measure_importance(Model(), TASKS, planted, [["good"]], repetitions=40)
    order = module._order("good", ROWS)
    assert sorted(order) == list(range(ROWS)) and (order != np.arange(ROWS)).any()
    features = planted["features"]
    both = [
        Model()({**features, "good": values})["click"]
        for values in (features["good"], features["good"][order])
    ]
    label, groups = planted["labels"]["click"], planted["groups"]
    drawn = bootstrap.resample(label, both, groups, repetitions=40)["auc"]
    click = found["units"][0]["tasks"]["click"]
    assert click["error"] == pytest.approx(np.std(drawn[0] - drawn[1], ddof=1))
    assert click["difference"] == pytest.approx(
        grouped.auc(label, both[0]) - grouped.auc(label, both[1])
    )


def test_features_that_say_the_same_are_one_unit():
    random = np.random.default_rng(2)
    ids = random.integers(1, 9, 2000)
    number = random.normal(size=2000).astype(np.float32)
    history = random.integers(0, 5, (2000, 3))
    columns = {
        "genre": ids,
        "genre_code": (ids * 3) % 11,  # as one to one
        "price": number,
        "cents": 100 * number,
        "age": random.normal(size=2000).astype(np.float32),
        "row": np.arange(2000),  # unique: has all entropy in common with anything unique
        "key": random.permutation(2000),
        "past": history,
        "past_genre": history[:, ::-1],
        "tags": history[::-1],
        "tags_again": history[::-1] + 0,
    }
    kinds = dict.fromkeys(("price", "cents", "age"), "numeric")
    kinds |= dict.fromkeys(("past", "past_genre"), "sequence")
    features = [Feature(name, kinds.get(name, "categorical")) for name in columns]
    raw = {name: name for name in columns}
    assert units_of(features, columns, raw) == [
        ["genre", "genre_code"], ["price", "cents"], ["age"], ["row"], ["key"],
        ["past", "past_genre"], ["tags", "tags_again"],
    ]  # fmt: skip
    raw["age"] = "price"
    units = units_of(features, columns, raw, [["row", "genre"]])
    assert ["genre", "genre_code", "row"] in units and ["price", "cents", "age"] in units


def test_the_sample_is_spread_over_the_split(examples):
    opened = ExampleSet.open(examples)
    every = sample_rows(opened, "test", 10**6, ["user", "tags"])
    rows = opened.rows("test")
    assert len(every["features"]["user"]) == len(every["groups"]) == rows
    assert rows == 100
    some = sample_rows(opened, "test", 40, ["user", "tags"])
    kept = [row for row in range(100) if row % 5 in (2, 4)]  # two of five, spread
    for name, values in every["features"].items():
        np.testing.assert_array_equal(some["features"][name], values[kept])
    np.testing.assert_array_equal(some["labels"]["click"], every["labels"]["click"][kept])
    assert len(some["groups"]) == 40


def test_the_command_and_the_function_say_what_matters(examples, exported, tmp_path):
    places = {"examples": examples, "model": exported}
    found = steadyrank.importance(**places, output=tmp_path / "found.json")
    assert found.rows == found.of == ExampleSet.open(examples).rows("test")
    assert found.units[0]["features"] == ["price"]  # what the log was made of
    best = found.units[0]["tasks"]["click"]
    assert best["difference"] > 0.2 and best["interval"][0] > 0
    names = sorted(name for unit in found.units for name in unit["features"])
    assert names == ["age", "country", "item", "price", "tags", "user"]
    assert json.loads((tmp_path / "found.json").read_text())["units"] == found.units
    again = steadyrank.importance(**places, together=["age,item"])
    assert ["item", "age"] in [unit["features"] for unit in again.units]
    with pytest.raises(InputError, match="'itm' is no feature. Did you mean 'item'"):
        steadyrank.importance(**places, together="itm,age")
    for wrong, words in (({"rows": 0}, "--rows must be at least 1"),
                         ({"split": "tset"}, "split must be one of")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            steadyrank.importance(**places, **wrong)
    said = CliRunner().invoke(
        app, ["importance", "--examples", str(examples), "--model", str(exported)]
    )
    assert said.exit_code == 0 and "price" in said.output and "AUC lost" in said.output
    assert "95 % interval" in said.output and "rows of the test split" in said.output
