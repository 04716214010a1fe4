"""Negatives of logs of positives alone, against loops over rows in plain Python."""

import collections
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preflight import look_at_rows
from steadyrank.pipeline.preprocess import catalogue, spill
from steadyrank.pipeline.preprocess import plan as planning
from steadyrank.pipeline.preprocess.negatives import rate_of
from steadyrank.pipeline.preprocess.plan import Addition
from tests.helpers import tiny
from tests.helpers.drawn import DAY, START, config_of, document, rows_of, settled

MASK = 2**64 - 1

GOLDEN = 0x9E3779B97F4A7C15


def mix(x: int) -> int:
    x = (x + GOLDEN) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def naive(rows, high_low, asked, hours: int, most=catalogue.MOST) -> collections.Counter:
    """What is drawn, row by row: (number, item drawn, weight) -> how often."""

    def period(row):
        return row["time_ms"] // (hours * tiny.HOUR)

    def trains(row):
        return row["time_ms"] < START + 2 * DAY

    found: collections.Counter = collections.Counter()
    for row in rows:
        beside = [r for r in rows if period(r) == period(row) and trains(r) == trains(row)]
        seen = collections.Counter(r["item"] for r in beside if r["item"] is not None)
        known = sorted(seen, key=mix)[:most]
        total = sum(seen[item] for item in known)
        high, low = high_low[row["number"]]
        for slot in range(1, asked["per_positive"] + 1 if known else 1):
            drawn = mix((mix((high + slot * GOLDEN) & MASK) + low) & MASK) >> 11
            part, weight = drawn / 2**53, 1.0
            if asked.get("from") == "popularity" and trains(row):
                left = part * total
                for item in known:  # noqa: B007
                    left -= seen[item]
                    if left < 0:
                        break
                weight = total / (len(known) * seen[item])
            else:
                item = known[int(part * len(known))]
            had = {r["item"] for r in beside if r["user"] == row["user"]}
            had = had if row["user"] is not None else {row["item"]}
            if item not in had:
                found[row["number"], item, round(weight, 9)] += 1
    return found


def drawn_of(typed: list[dict]) -> collections.Counter:
    return collections.Counter(
        (int(r["feature/number"]), r["feature/item"], round(r.get("weight/click", 1), 9))
        for r in typed
        if not r["label/click"]
    )


@given(
    count=st.integers(12, 50),
    seed=st.integers(0, 999),
    source=st.sampled_from(["uniform", "popularity"]),
    hours=st.sampled_from([24, 12, 6]),
    draws=st.integers(1, 5),
    most=st.sampled_from([3, 1000]),
    per_shard=st.sampled_from([20, 10**6]),
)
@settings(max_examples=6)
def test_a_loop_draws_the_same(
    tmp_path_factory, count, seed, source, hours, draws, most, per_shard
):
    folder, rows = tmp_path_factory.mktemp("negatives"), rows_of(count, seed)
    tiny.write_parquet(rows, folder / "log.parquet", row_group=17)
    asked = {"from": source, "per_positive": draws, "within": f"{hours}h"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalogue, "MOST", most)
        patch.setattr(catalogue, "SORTED_ROWS", 7)
        patch.setattr(planning, "ROWS_PER_SHARD", per_shard)
        patch.setattr(spill, "SETTLED_ROWS", 9)
        typed, windows, prints = settled(config_of(**asked), folder, folder / "s")
    assert drawn_of(typed) == naive(rows, prints, asked, hours, most)
    positives = [r for r in typed if r["label/click"]]
    assert sorted(r["feature/number"] for r in positives) == list(range(count))
    for row in typed:
        item, first = row["feature/item"], rows[int(row["feature/number"])]
        assert row["feature/price"] == (None if item is None else 10 * item)
        assert row["feature/user"] == first["user"]
    assert sum(window.rows for window in windows.values()) == count


def test_draws_stand_for_all_that_users_did_not_have(tmp_path):
    """Weighed, they add up to the sum over every item of every row, whatever is added."""
    rows = rows_of(3000, seed=3, items=40, users=300)
    rows = [r for r in rows if None not in (r["user"], r["item"])]
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    draw = np.random.default_rng(1)
    worth = draw.normal(1.0, 0.5, (300, 40)) * np.linspace(2, 0, 40)  # of any user and item
    every = 0.0
    for day in range(2):
        own = [r for r in rows if (r["time_ms"] - START) // DAY == day]
        items = {r["item"] for r in own}
        had = {(r["user"], r["item"]) for r in own}
        every += sum(
            worth[r["user"], i] for r in own for i in items if (r["user"], i) not in had
        )
    for source in ("uniform", "popularity"):
        asked = {"from": source, "per_positive": 8}
        typed, windows, _ = settled(config_of(**asked), tmp_path, tmp_path / source)
        rate = rate_of(windows, 8)
        drawn = [r for r in typed if r["split"] == "train" and not r["label/click"]]
        parts = [
            r.get("weight/click", 1.0) * worth[r["feature/user"], r["feature/item"]] / rate
            for r in drawn
        ]
        deviation = np.std(parts) * np.sqrt(len(parts))
        assert abs(sum(parts) - every) < 4 * deviation
        assert deviation < 0.05 * every
        # unweighed, the popular items' shares are their rows', which the sum is not
        if source == "popularity":
            plain = sum(worth[r["feature/user"], r["feature/item"]] for r in drawn) / rate
            counts = collections.Counter(r["feature/item"] for r in drawn)
            assert max(counts.values()) > 2 * np.median([*counts.values()])
            assert abs(plain - every) > abs(sum(parts) - every)


def test_more_items_than_are_held_are_counted_about_right(tmp_path, monkeypatch):
    rows = [r | {"item": n % 400} for n, r in enumerate(rows_of(4000, seed=2))]
    rows = [r | {"price": 10.0 * r["item"]} for r in rows]
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    exact = settled(config_of(), tmp_path, tmp_path / "a")[1]
    monkeypatch.setattr(catalogue, "MOST", 100)
    some = settled(config_of(), tmp_path, tmp_path / "b")[1]
    assert {w.distinct for w in exact.values()} == {400}
    assert all(280 < w.distinct < 560 for w in some.values())  # four deviations: 10 % each
    assert rate_of(exact, 3) == 3 / 400


def with_side(**changes) -> dict:
    """As ``document``, with a side table of the items and tasks given the drawn one."""
    found = document(columns=[], **changes)
    found["data"]["join"] = [{"input": "items.parquet", "on": "item", "prefix": "item_"}]
    found["features"][2] = {"name": "item_price", "kind": "numeric"}
    found["tasks"].append({"name": "like", "given": "click"})
    return found


@pytest.fixture(scope="module")
def bought(tmp_path_factory):
    """Four days of a log of positives, with a side table."""
    folder = tmp_path_factory.mktemp("bought")
    rows = rows_of(800, seed=7, items=30, users=20)
    rows = [r | {"like": r["number"] % 3 // 2} for r in rows]
    tiny.write_parquet(rows, folder / "log.parquet")
    items = [{"item": n, "price": 10.0 * n} for n in range(30)]
    tiny.write_parquet(items, folder / "items.parquet")
    return folder


@pytest.fixture(scope="module")
def made(bought):
    config = parse_config(with_side(**{"from": "popularity"}), "c")
    return preprocess(config, bought, bought / "out"), bought / "out"


def test_what_was_drawn_is_accounted_for(made):
    manifest, path = made
    rows, said = manifest["rows"], manifest["negatives"]
    assert rows["read"] == 800 and rows["written"] == 800 + rows["drawn"]
    assert rows["drawn"] + said["had"] == 3 * 800 and said["unreadable"] == 0
    examples = ExampleSet.open(path)
    like, click = (
        next(t for t in examples.schema.tasks if t.name == n) for n in ("like", "click")
    )
    assert click.negative_rate == said["rate"] == 3 / said["items"]
    assert 20 < said["items"] <= 30
    assert (like.negative_rate, like.sample_weight) == (1.0, "")
    counts = manifest["tasks"]
    assert counts["click"]["positives"] == counts["like"]["rows"] == 800
    assert json.loads(json.dumps(manifest)) == manifest


def test_side_tables_follow_the_item_and_what_is_judged_is_drawn_alike(made):
    _, path = made
    examples = ExampleSet.open(path)
    vocabulary = (path / "vocab" / "item.txt").read_text().splitlines()
    for split in ("train", "test"):
        weights, labels = [], []
        for batch in evaluation_dataset(examples, split, 256):
            features, tasks, masks = batch[:3]
            ids, prices = features["item"].numpy(), features["item_price"].numpy()
            items = [int(vocabulary[i - 2]) for i in ids[ids >= 2]]
            assert np.allclose(prices[ids >= 2], np.array(items) * 10.0)
            weights.append(masks["click"].numpy())
            labels.append(tasks["click"].numpy())
        weights, labels = np.concatenate(weights), np.concatenate(labels)
        assert (weights[labels == 1] == 1).all()
        assert (weights == 1).all() == (split == "test")


def test_workers_and_tries_change_no_byte(bought, made, tmp_path):
    config = parse_config(with_side(**{"from": "popularity"}), "c")
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    again = preprocess(config, bought, tmp_path / "again", flags)
    assert [f["checksum"] for f in again["files"]] == [
        f["checksum"] for f in made[0]["files"]
    ]


def growing(day: str):
    asked = document(**{"from": "popularity", "within": "12h"})
    asked["data"]["split"] = {"validation": 0.4, "test": day}
    return parse_config(asked, "c")


def test_days_that_are_added_are_drawn_for_as_in_the_whole_log(bought, tmp_path):
    added = {"addition": Addition(None, "2024-03-03")}
    preprocess(growing("2024-03-03"), bought, tmp_path / "first", **added)
    last, added = growing("2024-03-04"), {"addition": Addition(tmp_path / "first")}
    preprocess(last, bought, tmp_path / "grown", **added)
    first, grown = (ExampleSet.open(tmp_path / name) for name in ("first", "grown"))
    assert grown.manifest["taken_over"] and not first.manifest["taken_over"]
    assert grown.manifest["contract"]["verdict"] in ("PASS", "HOLD")
    whole = preprocess(last, bought, tmp_path / "whole")
    assert grown.manifest["splits"] == whole["splits"]
    rates = [examples.schema.tasks[0].negative_rate for examples in (first, grown)]
    assert rates[0] == rates[1] == first.manifest["negatives"]["rate"]  # as it was learned
    other = document(**{"from": "uniform", "within": "12h"})
    other["data"]["split"] = {"validation": 0.4, "test": "2024-03-04"}
    with pytest.raises(InputError, match="must be as the examples were made with"):
        preprocess(parse_config(other, "c"), bought, tmp_path / "other", **added)


def test_a_day_that_validates_and_tests_has_one_catalogue(tmp_path):
    """What validates is no negative in the test, nor is what trains, if in its window."""
    rows = [r | {"user": 1, "item": r["number"] % 30} for r in rows_of(300, seed=5)]
    rows = [r | {"price": 10.0 * r["item"]} for r in rows]
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    asked = document()
    asked["data"] |= {"time": None, "split": {"validation": 0.2, "test": 0.2}}
    typed, windows, _ = settled(parse_config(asked, "c"), tmp_path, tmp_path / "s")
    assert {*windows} == {"train/0", "judged/0"}
    assert windows["judged/0"].rows == 300 > windows["train/0"].rows
    assert not [r for r in typed if r["split"] != "train" and not r["label/click"]]


def test_check_holds_a_sample_to_a_contract_with_its_own_draws(bought, made, tmp_path):
    asked = with_side(**{"from": "popularity"})
    asked["contract"] = {"against": str(made[1])}
    said = look_at_rows(parse_config(asked, "c"), bought)
    assert any(line.startswith("data contract: ") for line in said)


def test_users_that_no_row_names_are_counted_and_one_there_must_be(bought, tmp_path):
    rows = [
        r | {"like": r["number"] % 3 // 2} for r in rows_of(90, seed=7, items=30, users=20)
    ]
    (tmp_path / "items.parquet").write_bytes((bought / "items.parquet").read_bytes())
    asked = with_side()
    asked["data"]["max_rejected"] = 0.1
    config = parse_config(asked, "c")
    user = config.data.group
    for row in rows[:10]:
        row[user] = None
    rows[0]["like"] = 7  # is rejected, whoever's it is
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    none = sum(row[user] is None for row in rows[1:])
    assert preprocess(config, tmp_path, tmp_path / "some")["ungrouped"] == none < 90
    for row in rows[10:]:
        row[user] = None
    tiny.write_parquet(rows, tmp_path / "log.parquet")
    with pytest.raises(InputError, match=f"{user}.* has no value in any of 89 rows"):
        preprocess(config, tmp_path, tmp_path / "none")
