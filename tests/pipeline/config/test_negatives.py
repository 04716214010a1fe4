"""What negatives cannot go with is refused, and check says when they are needed."""

import pytest

from steadyrank.pipeline.config import parse_any_config, parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preflight import look_at_rows
from steadyrank.pipeline.preprocess.plan import make_plan
from tests.helpers import event_log, tiny
from tests.helpers.drawn import config_of, document, rows_of, settled


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"group": None}}, "negatives needs data.group"),
        ({"data": {"negatives": {"item": "user"}}}, "'user' is the row's user"),
        ({"data": {"negatives": {"item": "click"}}}, "'click' is a task's label"),
        ({"data": {"negatives": {"item": "item", "within": "5h"}}}, "does not go into"),
        ({"data": {"negatives": {"item": "item", "from": "rank"}}}, "uniform"),
        ({"data": {"negatives": {}}}, "negatives.item: "),
        ({"data": {"negatives": {"item": "item", "form": "uniform"}}}, "'from'"),
        ({"data": {"downsample": {"task": "click", "keep": 0.5}}}, "not both"),
        ({"tasks": [{"name": "click"}, {"name": "like"}]}, "of which like has labels, too"),
        ({"tasks": [{"name": "click", "negative_rate": 0.5}]}, "no negative of click"),
        ({"tasks": [{"name": "click", "sample_weight": "number"}]}, "no negative of click"),
        ({"data": {"negatives": {"item": "item", "task": "c"}}}, "'c' is no binary task"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, said):
    asked = document()
    for key, value in changes.items():
        asked[key] = asked[key] | value if isinstance(value, dict) else value
    with pytest.raises(InputError) as raised:
        parse_config(asked, "c")
    assert said in str(raised.value)


def test_rows_that_are_no_positives_are_rejected(tmp_path):
    rows = [r | {"click": int(r["number"] != 7)} for r in rows_of(60, seed=4)]
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    typed, _, _ = settled(config_of(), tmp_path, tmp_path / "s")
    positives = {r["feature/number"] for r in typed if r["label/click"]}
    assert positives == {*range(60)} - {7}
    assert 7 not in {r["feature/number"] for r in typed}


def test_too_few_items_are_refused(tmp_path):
    rows = [r | {"item": 1} for r in rows_of(60, seed=4)]
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    with pytest.raises(InputError, match="holds 1.0 different item on the average"):
        preprocess(config_of(), tmp_path, tmp_path / "out")


def test_of_some_items_alone_the_item_must_be_in_the_log(tmp_path):
    tiny.write_parquet(rows_of(60, seed=4), tmp_path / "log.parquet")
    with pytest.raises(InputError, match="no column 'thing', which data.negatives needs"):
        make_plan(config_of(item="thing"), tmp_path)


def test_check_names_the_key_and_what_goes_with_the_item(tmp_path):
    rows = [r | {"click": 1} for r in rows_of(400, seed=4)]
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    said = list(look_at_rows(config_of(columns=[]), tmp_path))
    assert [line for line in said if "goes with item" in line] == [
        "warning: price goes with item: if it is the item's, name it in "
        "data.negatives.columns, or drawn items will have the positive's"
    ]
    assert not [line for line in look_at_rows(config_of(), tmp_path) if "goes" in line]
    plain = document()
    plain["data"].pop("negatives")
    config = parse_config(plain, "c")
    assert any("click is 1 in every row" in s for s in look_at_rows(config, tmp_path))
    with pytest.raises(InputError, match="tasks.click: is 1 in all 400 rows.*negatives"):
        preprocess(config, tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("where", "key", "value", "said"),
    [
        ("data", "negatives", {"item": "movie"}, "there are negatives enough; remove it"),
        ("data", "downsample", {"task": "a"}, "there are negatives enough; remove it"),
        (
            None,
            "contract",
            {"days": 3},
            "contract: next-item models hold their days to none",
        ),
    ],
)
def test_next_item_models_say_that_they_have_none(where, key, value, said):
    asked = event_log.config_document()
    (asked[where] if where else asked)[key] = value
    with pytest.raises(InputError) as raised:
        parse_any_config(asked, "c")
    assert said in str(raised.value)
