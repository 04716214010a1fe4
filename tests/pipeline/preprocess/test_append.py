"""An example set that grows day by day, against counts made row by row."""

import collections
import dataclasses
import json
import shutil
import types
from contextlib import nullcontext

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from steadyrank.pipeline import cli
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet, vocab_path
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess import append
from steadyrank.pipeline.preprocess.accounts import check_rejected
from steadyrank.pipeline.preprocess.plan import Addition
from steadyrank.pipeline.preprocess.vocabulary import Moments
from tests.helpers import tiny
from tests.helpers.tiny import DATES as DAYS
from tests.helpers.tiny import config_on


def values_before(rows, name: str, day: int) -> collections.Counter:
    """How often each value of a column occurs in the rows of the days before one."""
    early = [row for row in rows if row["number"] * tiny.DAYS // len(rows) < day]
    return collections.Counter(row[name] for row in early if row[name] is not None)


def lines(path, feature: str) -> list[str]:
    return vocab_path(path / "vocab", feature).read_text().splitlines()


def test_only_the_days_asked_for_are_read(first, rows):
    found = ExampleSet.open(first)
    assert list(found.windows("train")) == DAYS[:3]
    assert list(found.windows("test")) == list(found.windows("validation")) == [DAYS[3]]
    assert found.manifest["outside"] == 120
    assert found.manifest["rows"]["read"] == 240
    share = found.rows("validation") / (found.rows("validation") + found.rows("test"))
    assert 0.1 < share < 0.5


@pytest.mark.parametrize(
    ("rejected", "read", "unkeyed", "outside", "said"),
    [
        # a growing log: 10 days of 400 rows and 2 without a time, two of them are added
        ({"time": 20}, 820, 20, 3200, ""),
        # 200 days of such
        ({"time": 400}, 1200, 400, 79_200, ""),
        # a folder a day: the base's last day is read again
        ({"time": 6}, 806, 6, 400, ""),
        # all days have too many rows without a time: 5 of 405
        ({"time": 50}, 850, 50, 3200, "50 of 850 .*50 of them.* share of 20.00%: 3200"),
        # only the day that is added has bad labels: many other days do not hide it
        ({"time": 400, "label": 9}, 1200, 400, 79_200, "409 of 1200 "),
        # nothing outside: a plain share
        ({"time": 8, "label": 2}, 1000, 8, 0, ""),
        ({"time": 8, "label": 3}, 1000, 8, 0, r"11 of 1000 .*limit\.$"),
    ],
)
def test_rows_of_no_known_day_are_shared_out_over_all(
    rejected, read, unkeyed, outside, said
):
    plan = types.SimpleNamespace(config=config_on(DAYS[5], data__max_rejected=0.01))
    refuses = pytest.raises(InputError, match=said) if said else nullcontext()
    with refuses:
        check_rejected(plan, rejected, read, unkeyed, outside=outside)


def test_rows_without_a_time_on_other_days_do_not_refuse_a_day(first, tmp_path, rows):
    bad = [row | {"time_ms": None} for row in rows[:3]]
    tiny.write_log(tmp_path, rows + bad)
    config, out = config_on(DAYS[5], data__max_rejected=0.01), tmp_path / "out"
    manifest = preprocess(config, tmp_path, out, addition=Addition(first))
    assert manifest["rows"]["rejected"] == {"time_ms: no readable time": 3}


def test_earlier_windows_stay_to_the_byte(first, second):
    for path in sorted((first / "train").iterdir()):
        assert (second / "train" / path.name).read_bytes() == path.read_bytes()
    found = ExampleSet.open(second)
    assert list(found.windows("train")) == DAYS[:5]
    assert list(found.windows("test")) == [DAYS[5]]
    assert found.rows("train") + found.rows("validation") + found.rows("test") == 360
    assert found.manifest["taken_over"] == 180
    encodings = {f["window"]: f["encoding"] for f in found.manifest["files"]}
    (before,) = {encodings[day] for day in DAYS[:3]}
    (after,) = {encodings[day] for day in DAYS[3:]}
    assert before == ExampleSet.open(first).schema.fingerprint == found.schema.ancestors[0]
    assert after == found.schema.fingerprint != before


def test_ids_stay_and_new_values_follow_by_their_counts_so_far(first, second, rows):
    old, new = lines(first, "item"), lines(second, "item")
    assert new[: len(old)] == old
    counts = {day: values_before(rows, "item", day) for day in (3, 5)}
    assert set(old) == {v for v, n in counts[3].items() if n >= 3}
    wanted = {v for v, n in counts[5].items() if n >= 3}
    assert set(new) == wanted | set(old)
    expected = sorted(wanted - set(old), key=lambda v: (-counts[5][v], v))
    assert new[len(old) :] == expected
    # some of them only qualify by what was seen on both sides of the border
    assert any(0 < counts[3][v] < 3 for v in expected)
    kept = pq.read_table(second / "counts" / "item.parquet").to_pylist()
    assert {row["value"]: row["count"] for row in kept} == counts[5]


def test_statistics_add_up_while_scales_stay(first, second, rows):
    old, new = ExampleSet.read_schema(first), ExampleSet.read_schema(second)
    for was, now in zip(old.features, new.features, strict=True):
        assert dataclasses.replace(now, vocabulary_size=was.vocabulary_size) == was
    assert new.tasks == old.tasks
    early = [r["price"] for r in rows if r["number"] * tiny.DAYS // 360 < 5]
    prices = np.array([p for p in early if p is not None], np.float32).astype(float)
    logs = np.sign(prices) * np.log1p(np.abs(prices))
    found = json.loads((second / "statistics.json").read_text())["features"]["price"]
    assert found["rows"] == len(logs) and found["missing"] == early.count(None)
    np.testing.assert_allclose(found["mean"], logs.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["std"], logs.std(), rtol=1e-12)


def test_new_rows_are_encoded_with_the_grown_vocabulary(second, rows):
    found = ExampleSet.open(second)
    dataset = evaluation_dataset(found, "train", 1000, windows=[DAYS[4]])
    ((features, _, _),) = list(dataset)
    known = lines(second, "item")
    day = [r["item"] for r in rows if r["number"] * tiny.DAYS // 360 == 4]
    expected = sorted(4 + known.index(v) for v in day if v in known)
    ids = features["item"].numpy()
    assert sorted(ids[ids > 3]) == expected
    assert max(expected) >= 4 + len(lines(second.parent / "first", "item"))


def test_the_line_of_fingerprints_is_sealed(first, second):
    old, new = ExampleSet.read_schema(first), ExampleSet.read_schema(second)
    assert old.ancestors == () and new.ancestors == (old.fingerprint,)
    forged = second.parent / "forged"
    shutil.copytree(second, forged)
    document = json.loads((forged / "schema.json").read_text())
    document["ancestors"] = ["0" * 64]
    (forged / "schema.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="was changed after it was written"):
        ExampleSet.open(forged)


def test_appending_the_same_day_again_changes_nothing(log, second):
    again = second.parent / "again"
    preprocess(config_on(DAYS[5]), log, again, addition=Addition(second))
    paths = sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file()) == paths
    for path in paths:
        if path.name != "manifest.json":  # which says what was read this time
            assert (again / path).read_bytes() == (second / path).read_bytes(), path


def test_the_command_appends_in_place(log, first, second, tmp_path):
    grown, config = tmp_path / "grown", tmp_path / "c.yaml"
    shutil.copytree(first, grown)
    split = {"validation": 0.3, "test": DAYS[5]}
    config.write_text(yaml.safe_dump(tiny.config_document(data__split=split)))
    flags = ["--config", config, "--data", log, "--output", grown, "--append"]
    assert not cli.app(["preprocess", *map(str, flags)], standalone_mode=False)
    manifest = json.loads((grown / "manifest.json").read_text())
    assert manifest == json.loads((second / "manifest.json").read_text())
    assert ExampleSet.open(grown).schema == ExampleSet.read_schema(second)


def test_a_day_can_be_left_out(log, first):
    output = first.parent / "without"
    addition = Addition(first, without=(DAYS[3],))
    preprocess(config_on(DAYS[5]), log, output, addition=addition)
    assert list(ExampleSet.open(output).windows("train")) == [*DAYS[:3], DAYS[4]]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (config_on(DAYS[2]), "models have seen them"),
        (config_on("2024-03-06T12:00:00"), "no border of windows"),
        (config_on(DAYS[5], data__window=None), "only appended to by windows"),
        (config_on(DAYS[5], tasks=[{"name": "click"}]), "tasks"),
        (config_on(DAYS[5], data__timezone="Asia/Tokyo"), "data.timezone is .* was made"),
    ],
)
def test_what_cannot_be_added_is_refused(log, first, config, said):
    with pytest.raises(InputError, match=said):
        preprocess(config, log, first.parent / "refused", addition=Addition(first))
    assert not (first.parent / "refused").exists()


def test_a_column_that_held_no_value_yet_begins_with_the_first_ones():
    none = {"rows": 0, "mean": 0.0, "m2": 0.0, "min": None, "max": None, "missing": 4}
    some = Moments.of(np.array([3.0, 5.0]), missing=1)
    assert append._moments(none) + some == Moments(2, 4.0, 2.0, 3.0, 5.0, 5)


CODES = [
    {"name": "user", "kind": "categorical"},
    {"name": "item", "kind": "hash", "buckets": 50},
    {"name": "hour", "column": "time_ms", "kind": "hour"},
    {"name": "weekday", "column": "time_ms", "kind": "weekday"},
    {"name": "both", "kind": "cross", "of": ["user", "hour"], "buckets": 500},
    {"name": "price", "kind": "numeric", "transform": "quantile", "quantiles": 5},
    {"name": "tags", "kind": "hash", "buckets": 9},
]


def test_ids_without_a_vocabulary_are_the_same_whenever_a_day_is_added(tmp_path, rows):
    rows = [
        r if r["number"] >= 300 else r | {"tags": None} for r in rows
    ]  # of no early day
    tiny.write_log(tmp_path / "log", rows)
    early, late = (config_on(DAYS[n], features=CODES, contract=None) for n in (3, 5))
    first, grown, anew = (tmp_path / name for name in ("first", "grown", "anew"))
    made = preprocess(early, tmp_path / "log", first, addition=Addition(until=DAYS[3]))
    assert made["without_values"] == ["tags"]
    added = preprocess(late, tmp_path / "log", grown, addition=Addition(first))
    assert added["without_values"] == ["tags"]
    preprocess(late, tmp_path / "log", anew)
    for split in ("train", "test"):
        both = [
            [f for f, _, _ in evaluation_dataset(ExampleSet.open(path), split, 1000)]
            for path in (grown, anew)
        ]
        assert len(both[0]) == len(both[1]) > 0
        for ours, theirs in zip(*both, strict=True):
            for name in ("item", "hour", "weekday", "both", "price", "tags"):
                np.testing.assert_array_equal(ours[name], theirs[name], name)
    was, now = ExampleSet.read_schema(first), ExampleSet.read_schema(grown)
    assert now.features[5] == was.features[5] != ExampleSet.read_schema(anew).features[5]
    assert len(was.features[5].quantiles) > 3
    found = json.loads((grown / "statistics.json").read_text())["features"]
    early = [r for r in rows if r["number"] * tiny.DAYS // len(rows) < 5]
    assert found["item"]["values_seen"] == sum(r["item"] is not None for r in early)
