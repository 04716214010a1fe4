"""Overrides, files that are no config, and what YAML makes of words."""

import datetime

import pytest
import yaml

from steadyrank.pipeline.config import (
    load_config,
    read_document,
)
from steadyrank.pipeline.files.errors import InputError
from tests.helpers.tiny import config_document


def write(folder, text):
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def overridden(folder, *overrides):
    path = write(folder, yaml.safe_dump(config_document()))
    return load_config(path, list(overrides))


def test_overrides_reach_keys_and_items_by_name_or_number(tmp_path):
    config = overridden(
        tmp_path,
        "train.batch_size=7",
        "features.item.min_count=9",
        "features.0.dim=5",
        "tasks.like.weight=0.5",
        "train.dense.clip=none",
        "gates.auc.click.min=0.6",
        "data.split={validation: 2024-03-03, test: 2024-03-04}",
        "data.input=[a.parquet, b.parquet]",
        "data.window=null",
    )
    assert config.train.batch_size == 7
    assert config.features[1].min_count == 9
    assert config.features[0].dim == 5
    assert config.tasks[1].weight == 0.5
    assert config.train.dense.clip == "none"
    assert config.gates.auc["click"].min == 0.6
    assert config.data.split.test == datetime.date(2024, 3, 4)
    assert config.data.input == ["a.parquet", "b.parquet"]
    assert config.data.window is None


def test_an_item_that_becomes_null_is_left_out(tmp_path):
    config = overridden(tmp_path, "features.item=null", "features.0=null")
    before = overridden(tmp_path, "train.batch_size=7")
    names = [feature.name for feature in before.features]
    assert [f.name for f in config.features] == [n for n in names[1:] if n != "item"]
    with pytest.raises(InputError, match="no 'itm'. Did you mean 'item'"):
        overridden(tmp_path, "features.itm=null")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.batch_size", "must be key.path=value"),
        ("features.itm.dim=8", "Did you mean 'item'?"),
        ("features.17.dim=8", "there is no '17'"),
        ("features.item=8", "set a key of an item"),
        ("train.batch_size.more=8", "train.batch_size"),
        ("train.batch_sise=8", "'batch_size'"),
        ("train.batch_size=[", "not YAML"),
        ("data.split.validation=2024-13-01", "must be a date"),
    ],
)
def test_a_bad_override_is_refused(tmp_path, override, said):
    with pytest.raises(InputError, match="--set|config") as caught:
        overridden(tmp_path, override)
    assert said in str(caught.value)


def test_on_is_a_word_and_not_a_boolean(tmp_path):
    text = yaml.safe_dump(config_document()).replace("'on'", "on")
    assert " on: user" in text
    assert load_config(write(tmp_path, text)).data.join[0].on == "user"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("a: 2024-02-30", "a: unknown key"),
        ("a: 1\nb:\n  c: 1\n  'c': 2", "'c' stands in line 3 and again in line 4"),
        ("- 1", "must hold keys"),
        ("", "must hold keys"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        load_config(write(tmp_path, text))


def test_a_key_may_override_what_is_merged(tmp_path):
    text = "x: &a {k: 1}\ny: {z: {w: &b {<<: *a, k: 2}}}\nv: {<<: *b, k: 3}"
    document = read_document(write(tmp_path, text))
    assert document["y"]["z"]["w"] == {"k": 2} and document["v"] == {"k": 3}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot read config .*absent.yaml"):
        load_config(tmp_path / "absent.yaml")
