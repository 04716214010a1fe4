"""Negatives that preprocessing leaves out: which ones, and that they are accounted for."""

import json

import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess import plan as planning
from tests.helpers import tiny
from tests.helpers.settled import settle

KEEP = {"task": "click", "keep": 0.25}


def document(**changes) -> dict:
    changed = tiny.config_document(data__downsample=KEEP, **changes)
    changed["data"].pop("join")
    changed["features"] = [f for f in changed["features"] if f["name"] != "country"]
    changed["features"].append({"name": "number", "kind": "numeric"})
    return changed


@pytest.fixture(scope="module")
def many():
    return tiny.make_rows(3000)


def kept(config, folder) -> dict[int, float]:
    """Number of each row that stays -> its label."""
    rows = settle(config, folder).rows
    numbers = rows["feature/number"].to_pylist()
    return dict(zip(map(int, numbers), rows["label/click"].to_pylist(), strict=True))


def test_all_positives_stay_and_a_share_of_the_negatives(many, tmp_path):
    tiny.write_log(tmp_path, many)
    found = kept(parse_config(document(), "c"), tmp_path)
    positive = {row["number"] for row in many if row["click"]}
    assert {number for number, label in found.items() if label} == positive
    share = (len(found) - len(positive)) / (len(many) - len(positive))
    assert share == pytest.approx(0.25, abs=0.04)  # four deviations


def test_which_ones_hangs_on_the_rows_alone(many, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    tiny.write_log(whole, many)
    tiny.write_log(parts, many[::2])
    tiny.write_parquet(many[1::2][::-1], parts / "more.parquet", row_group=77)
    once = kept(parse_config(document(), "c"), whole)
    monkeypatch.setattr(planning, "ROWS_PER_SHARD", 500)
    again = document(data__input=["more.parquet", "log.parquet"])
    assert kept(parse_config(again, "c"), parts) == once


def test_what_is_left_out_is_counted_and_the_rate_carried(log, rows, tmp_path):
    config = parse_config(tiny.config_document(data__downsample=KEEP), "tiny")
    manifest = preprocess(config, log, tmp_path / "out")
    (why, dropped), *_ = manifest["rows"]["dropped"].items()
    assert why == "negatives of click (data.downsample)"
    written = manifest["rows"]["written"]
    assert dropped > 0 and written + dropped == manifest["rows"]["read"] == len(rows)
    assert sum(t["positives"] for t in [manifest["tasks"]["click"]]) == sum(
        row["click"] for row in rows
    )
    examples = ExampleSet.open(tmp_path / "out")
    rates = {task.name: task.negative_rate for task in examples.schema.tasks}
    assert rates == {"click": 0.25, "like": 1.0, "watch": 1.0}
    assert json.loads(json.dumps(manifest)) == manifest


def test_what_the_log_left_out_counts_as_well():
    changed = document()
    changed["tasks"][0]["negative_rate"] = 0.5
    config = parse_config(changed, "c")
    assert [config.negative_rate(task) for task in config.tasks] == [0.125, 1, 1]


@pytest.mark.parametrize(
    ("downsample", "tasks", "said"),
    [
        ({"task": "clack"}, None, "'clack' is no binary task"),
        ({"task": "watch"}, None, "'watch' is no binary task"),
        ({"task": "like"}, None, "like is given by click"),
        ({"keep": 1}, None, "keep"),
        ({}, [{"name": "click"}, {"name": "like"}], "like has labels, too"),
    ],
)
def test_rates_that_would_be_others_are_refused(downsample, tasks, said):
    changed = document(**({"tasks": tasks} if tasks else {}))
    changed["data"]["downsample"] = KEEP | downsample
    with pytest.raises(InputError, match="data.downsample") as raised:
        parse_config(changed, "c")
    assert said in str(raised.value)


def test_a_row_that_is_rejected_is_not_left_out(many, tmp_path):
    broken = [r | {"price": "x"} for r in many[:400] if not r["click"]]
    texts = [{k: None if v is None else str(v) for k, v in r.items()} for r in many[400:]]
    texts += [{k: None if v is None else str(v) for k, v in r.items()} for r in broken]
    tmp_path.mkdir(exist_ok=True)
    tiny.write_csv(texts, tmp_path / "log.csv")
    config = parse_config(document(data__input=["log.csv"]), "c")
    found = settle(config, tmp_path)
    assert sum(found.rejected.values()) == len(broken)
