"""Counts and known values by file, against plain Python."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.models.features import Feature
from steadyrank.pipeline.examples.example_set import counts_path
from steadyrank.pipeline.preprocess import blocks, counts, known
from steadyrank.pipeline.preprocess.known import KnownWriter
from steadyrank.pipeline.preprocess.vocabulary import known_values, look_up

TEXTS = st.text("ab\n\u4e2d", max_size=3)
VALUES = st.one_of(st.lists(TEXTS, max_size=50), st.lists(st.integers(-5, 40), max_size=50))


class Rows:
    """Training rows with one feature."""

    def __init__(self, values):
        self.values = values

    def arrays(self, _):
        yield self.values


def shrink(monkeypatch):
    for module, name, value in (
        (counts, "PART_VALUES", 4),
        (counts, "ADDED_VALUES", 8),
        (counts, "ROW_GROUP", 16),
        (blocks, "BLOCK_ROWS", 5),
        (known, "BLOCK_ROWS", 3),
    ):
        monkeypatch.setattr(module, name, value)


def add_up(shards, raw, folder, base=None):
    count = counts.Count(lambda rows: {"f": rows.arrays("f")}, str(folder))
    parts = [part for _, part in counts.seed("f", base, str(folder))]
    for values in shards:
        parts += [part for _, part in count.process(("train/x", Rows(values)))]
    return counts.add_up(("f", parts), {"f": raw}, str(folder))[1]


def typed(values: list) -> tuple[pa.Array, str]:
    raw = "integer" if values and isinstance(values[0], int) else "string"
    return pa.array(values, pa.int64() if raw == "integer" else pa.string()), raw


@given(shards=st.lists(VALUES, min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_counts_are_pythons_whatever_the_shards(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("counts")
    kind = type(next((v for shard in shards for v in shard), ""))
    shards = [[value for value in shard if type(value) is kind] for shard in shards]
    raw = "integer" if kind is int else "string"
    arrow = pa.int64() if kind is int else pa.string()
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        found = add_up([pa.array(shard, arrow) for shard in shards], raw, folder)
        total = Counter(value for shard in shards for value in shard)
        wanted = sorted(total.items(), key=lambda item: (-item[1], item[0]))
        rows = [row for table in found.rows.blocks() for row in table.to_pylist()]
        assert [(row["value"], row["count"]) for row in rows] == wanted
        assert found.seen == total.total()
        written = pq.read_table(counts_path(folder, "f"))
        assert written.schema.types == [arrow, pa.int64()]
        assert list(zip(*written.to_pydict().values(), strict=True)) == wanted


def test_a_base_is_one_more_shard(tmp_path):
    add_up([pa.array(["a", "b", "a"])], "string", tmp_path / "base")
    grown = add_up([pa.array(["b", "c"])], "string", tmp_path / "new", tmp_path / "base")
    found = grown.rows.table().to_pydict()
    assert found == {"value": ["a", "b", "c"], "count": [2, 2, 1]} and grown.seen == 5
    same = add_up([], "string", tmp_path / "none", tmp_path / "base")
    assert same.rows.table().to_pydict() == {"value": ["a", "b"], "count": [2, 1]}


def test_lists_are_counted_by_what_they_hold_and_missing_values_not_at_all():
    lists = pa.array([["a", None, "b"], None, [], ["a"]])
    found = counts.count_values([lists, pa.array(["b", None])])
    assert dict(zip(*found.to_pydict().values(), strict=True)) == {"a": 2, "b": 2}


def parts_of_one_sort(rows: int, folder) -> list:
    keys = np.arange(rows) * 7919 % 1009
    table = pa.table({"value": keys, "count": np.arange(rows) % 5 + 1}).sort_by(
        counts.ORDER
    )
    runs = []
    for number in range(3):
        with blocks.BlockFile(folder) as file:
            store = blocks.Store(file)
            store.add(table.filter(pa.array(np.arange(rows) % 3 == number)))
            runs.append(store.finish())
    return [table, runs]


def test_sorted_runs_are_merged_some_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 10)
    table, runs = parts_of_one_sort(1000, str(tmp_path))
    merged = list(counts.in_order(runs))
    assert pa.concat_tables(merged).combine_chunks() == table.combine_chunks()
    assert max(map(len, merged)) <= 30 and len(merged) > 20


@given(values=VALUES, asked=VALUES)
@settings(deadline=None, max_examples=50)
def test_known_values_are_found_in_their_places_and_others_are_not(
    values, asked, tmp_path_factory
):
    array, raw = typed(list(dict.fromkeys(values)))
    asked = [value for value in asked if not values or type(value) is type(values[0])]
    if not values:
        asked = [value for value in asked if isinstance(value, str)]
    with KnownWriter(str(tmp_path_factory.mktemp("known")), raw) as writer:
        for start in range(0, len(array), 3):
            writer.add(array[start : start + 3])
        found = writer.finish()
    order = array.to_pylist()
    wanted = [order.index(v) if v in order else -1 for v in [*asked, *order]] + [-1]
    places = found.find(pa.array([*asked, *order, None], array.type))
    assert places.tolist() == wanted
    assert b"".join(found.lines()).decode() == "".join(f"{value}\n" for value in order)
    assert len(found) == len(order)


@given(
    values=st.sets(st.integers(-9, 60), min_size=1),
    asked=st.lists(st.integers(-12, 64) | st.sampled_from([-(2**63), 2**63 - 1])),
    dense=st.booleans(),
)
def test_whole_numbers_near_to_one_another_are_found_by_a_table(
    values, asked, dense, tmp_path_factory
):
    folder, order = str(tmp_path_factory.mktemp("known")), sorted(values, key=hash)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "SPARSE", 100 if dense else -1)
        with KnownWriter(folder, "integer") as writer:
            writer.add(pa.array(order, pa.int64()))
            found = writer.finish()
        assert found.is_dense == dense
        places = found.find(pa.array([*asked, None, *order], pa.int64()))
    wanted = [order.index(value) if value in order else -1 for value in asked]
    assert places.tolist() == [*wanted, -1, *range(len(order))]
    feature = Feature("f", "categorical", raw="integer", oov_buckets=2)
    ids = look_up(pa.array([*order, None, 77], pa.int64()), found, feature).tolist()
    assert ids[:-1] == [*range(3, len(order) + 3), 0] and ids[-1] in (1, 2)


def test_texts_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    def few(values):
        return np.array([len(text) for text in values.to_pylist()], np.uint64)

    monkeypatch.setattr(known, "hash_values", few)
    for texts, places in ((["a", "bb"], [-1, 1, 0, -1]), (["a", "bb", "c"], [2, 1, 0, -1])):
        with KnownWriter(str(tmp_path), "string") as writer:
            writer.add(pa.array(texts))
            found = writer.finish()
        assert found.find(pa.array(["c", "bb", "a", "dd"])).tolist() == places


def test_what_travels_is_small_whatever_is_known(tmp_path):
    import pickle

    found = add_up([pa.array(range(200_000))], "integer", tmp_path)
    values, _ = known_values(found, 1, "integer", str(tmp_path))
    assert len(values) == 200_000
    assert len(pickle.dumps((found, values))) < 2000


def test_values_that_are_seen_too_seldom_or_break_a_line_are_not_known(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 2)
    values = ["x", "x", "x", "y", "y", "n\nl", "n\nl", "z", "z", "q"]
    found = add_up([pa.array(values)], "string", tmp_path)
    new, said = known_values(found, 2, "string", str(tmp_path), old=pa.array(["z", "old"]))
    assert [v for a in new.arrays() for v in a.to_pylist()] == ["z", "old", "x", "y"]
    assert said == {
        "values_seen": 10,
        "distinct": 5,
        "vocabulary": 4,
        "out_of_vocabulary": 3,
        "most_frequent": ["x", "y", "z"],
    }
