"""Preprocessing against a naive reference: exact rows, counts, independence of order."""

import json
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.components.metrics import grouped as metrics
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.records import NO_GROUP
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.metrics.predict import own_groups
from steadyrank.pipeline.preprocess import stage
from steadyrank.pipeline.preprocess.beam_job import add_counts
from steadyrank.pipeline.preprocess.encode import pad_lists
from steadyrank.pipeline.preprocess.rows import group_numbers
from steadyrank.pipeline.raw_log.join import join_side
from tests.helpers import naive, tiny
from tests.helpers.dirty_log import BAD, dirty_rows, records


def run(folder, rows, output="examples", *flags, changes=(), write=tiny.write_parquet):
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "csv" if write is tiny.write_csv else "parquet"
    write(rows, folder / f"log.{suffix}")
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    settings = {"data__input": [f"log.{suffix}"], **dict(changes)}
    config = parse_config(tiny.config_document(**settings), "c")
    manifest = preprocess(config, folder, folder / output, flags)
    return folder / output, manifest


def schema(folder):
    return json.loads((folder / "schema.json").read_text())


def vocabulary(folder, name):
    return (folder / "vocab" / f"{name}.txt").read_text().splitlines()


@pytest.fixture(scope="module")
def done(tmp_path_factory, rows):
    return run(tmp_path_factory.mktemp("dirty"), rows)


@pytest.fixture(scope="module")
def expected(rows):
    return naive.preprocess(rows, tiny.make_users())


def test_the_rows_are_exactly_those_of_the_reference(done, expected):
    assert naive.read(done[0]) == expected[0]


def test_the_vocabularies_are_those_of_the_reference(done, expected):
    for name, values in expected[3].items():
        assert vocabulary(done[0], name) == [str(value) for value in values]
        feature = next(f for f in schema(done[0])["features"] if f["name"] == name)
        assert feature["vocabulary_size"] == len(values)


def test_counts_add_up(done, rows, expected):
    encoded, reasons, duplicates, _ = expected
    found = done[1]["rows"]
    assert found["read"] == len(rows)
    assert found["written"] == encoded.total()
    assert found["duplicates"] == duplicates == 4
    assert found["rejected"] == dict(reasons)
    assert sum(reasons.values()) == len(BAD)
    assert len(rows) == encoded.total() + duplicates + len(BAD)
    for split, counts in done[1]["splits"].items():
        inside = [n for row, n in encoded.items() if row[0] == split]
        assert counts["rows"] == sum(inside) == sum(counts["windows"].values())


@pytest.mark.parametrize("files", [[7, 1], [8, 1, 1]], ids=["lost", "doubled"])
def test_rows_that_workers_lose_or_double_publish_nothing(tmp_path, monkeypatch, files):
    counts = {"read": 12, "duplicates": 2, "rejected/no time": 1}
    summary = {"counts": counts, "samples": {}, "files": [{"rows": n} for n in files]}
    monkeypatch.setattr(stage, "run_job", lambda *_: summary)
    monkeypatch.setattr(stage, "read_json", lambda *_: {})  # nothing was learned
    monkeypatch.setattr(stage, "require_finite", lambda *_: None)
    tiny.write_log(tmp_path)
    with pytest.raises(RuntimeError, match=f"rows were lost: read=12 written={sum(files)}"):
        preprocess(parse_config(tiny.config_document(), "c"), tmp_path, tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_rejected_rows_are_kept_with_their_reason_and_source(done, expected):
    found = pq.read_table(done[0] / "rejected" / "rows.parquet")
    reasons = found["reason"].to_pylist()
    assert sorted(reasons) == sorted(expected[1].elements())
    assert all(source.endswith("log.parquet") for source in found["source"].to_pylist())
    first = found.filter(np.array(reasons) == "label like: neither 0 nor 1").to_pylist()
    assert [row["like"] for row in first] == ["7"]


def test_tasks_and_unknown_values_are_counted(done, rows, expected):
    clicks = [row for row in expected[0].elements() if row[8] == "1.0"]
    likes = [row for row in clicks if row[9] != "nan"]
    watched = [row for row in clicks if row[10] != "nan"]
    tasks = done[1]["tasks"]
    assert tasks["click"]["positives"] == len(clicks)
    assert tasks["like"]["rows"] == len(likes)
    assert tasks["like"]["positives"] == sum(row[9] == "1.0" for row in likes)
    assert tasks["watch"]["rows"] == len(watched)
    unknown = add_counts(file["unknown"]["item"] for file in done[1]["files"])
    items = [row[3][0] for row in expected[0].elements()]
    assert unknown["out_of_vocabulary"] == sum(1 <= i <= 3 for i in items) > 0
    beyond = add_counts(file["unknown"]["tags"] for file in done[1]["files"])
    assert beyond["beyond_max_values"] > 50


def test_unmatched_keys_are_counted_and_leave_their_rows(done, expected):
    known = {row["user"] for row in tiny.make_users()}
    ((path, count),) = done[1]["unmatched"].items()
    assert path.endswith("users.parquet")
    lonely = [row for row in dirty_rows() if row["user"] not in known]
    lonely = {tuple(row.values()) for row in lonely if row["time_ms"] is not None}
    assert count == len(lonely)


def test_neither_the_order_of_the_rows_nor_of_the_files_changes_a_byte(
    tmp_path, rows, done
):
    shuffled = rows[:]
    random.Random(5).shuffle(shuffled)
    parts = [shuffled[:7], shuffled[7:200], shuffled[200:]]
    folder = tmp_path / "in"
    folder.mkdir()
    for i, part in enumerate(parts):
        tiny.write_parquet(part, folder / f"part-{2 - i}.parquet", row_group=37)
    changes = {"data__input": ["part-*.parquet"]}
    other, manifest = run(folder, rows[:1], changes=changes)
    assert records(other) == records(done[0])
    assert schema(other) == schema(done[0])
    assert manifest["rows"] == done[1]["rows"]


def test_two_threads_give_the_same_bytes(tmp_path, rows, done):
    flags = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    other, manifest = run(tmp_path, rows, "out", *flags)
    assert records(other) == records(done[0])
    assert schema(other) == schema(done[0])
    assert manifest["rows"] == done[1]["rows"]


def test_csv_gives_the_examples_of_parquet(tmp_path, rows, done):
    other, manifest = run(tmp_path, rows, write=tiny.write_csv)
    # Ids of integers in CSV are those of strings: the vocabulary is ordered otherwise.
    found, wanted = naive.read(other), naive.read(done[0])

    def without_users(table):
        keep = (0, 1, 3, 4, 5, 6, 7, 8, 9, 10)
        return sorted([row[i] for i in keep] for row in table.elements())

    assert without_users(found) == without_users(wanted)
    assert sorted(vocabulary(other, "user")) == sorted(vocabulary(done[0], "user"))
    assert vocabulary(other, "item") == vocabulary(done[0], "item")
    assert manifest["rows"] == done[1]["rows"]
    assert manifest["tasks"] == done[1]["tasks"]


def test_what_is_learned_depends_on_the_training_split_alone(tmp_path, rows, done):
    changed = []
    for row in rows:
        if row["time_ms"] is not None and naive.split_of(naive.day_of(row)) != "train":
            row = {**row, "item": "other", "price": 1e6, "age": 1, "tags": "t1|zz"}
            row["user"] = 77
        changed.append(row)
    other, _ = run(tmp_path, changed)
    assert schema(other)["features"] == schema(done[0])["features"]
    assert schema(other)["tasks"] == schema(done[0])["tasks"]
    for name in ("user", "item", "tags", "country"):
        assert vocabulary(other, name) == vocabulary(done[0], name)
    ours, theirs = records(other), records(done[0])
    for path in theirs:
        assert (ours[path] == theirs[path]) == path.startswith("train/")


@pytest.mark.parametrize(
    ("changes", "effect"),
    [
        ({"data__drop_duplicates": False}, lambda m, s: m["rows"]["duplicates"] == 0),
        ({"data__window": "6h"}, lambda m, s: len(m["splits"]["test"]["windows"]) == 4),
        ({"data__window": None}, lambda m, s: {*m["splits"]["test"]["windows"]} == {"all"}),
        (
            {"data__timezone": "Asia/Shanghai"},
            lambda m, s: "2024-03-07" in m["splits"]["test"]["windows"],
        ),
        (
            {"data__split": {"validation": "2024-03-02", "test": "2024-03-03"}},
            lambda m, s: list(m["splits"]["validation"]["windows"]) == ["2024-03-02"],
        ),
        ({"data__group": None}, lambda m, s: s["group"] is False),
        (
            {"data__time": None, "data__split": {"validation": 0.2, "test": 0.2}},
            lambda m, s: 60 < m["splits"]["test"]["rows"] < 180,
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_each_option_of_data_has_its_effect(tmp_path, rows, changes, effect):
    output, manifest = run(tmp_path, rows, changes=changes)
    assert effect(manifest, schema(output))
    counts = manifest["rows"]
    rejected = sum(counts["rejected"].values())
    assert len(rows) == counts["written"] + counts["duplicates"] + rejected


def test_a_label_can_be_made_from_a_number(tmp_path, rows):
    tasks = [{"name": "long", "column": "watch", "at_least": 30}]
    _, manifest = run(tmp_path, rows, changes={"tasks": tasks})
    kept = {tuple(row.values()): row for row in rows if row["time_ms"] is not None}
    watched = [r["watch"] for r in kept.values() if r["watch"] is not None]
    assert manifest["tasks"]["long"]["rows"] == len(watched)
    assert manifest["tasks"]["long"]["positives"] == sum(w >= 30 for w in watched)


def test_files_can_be_held_out_from_training(tmp_path):
    rows = tiny.make_rows(400)
    tmp_path.mkdir(exist_ok=True)
    for name, part in (("late", rows[:100]), ("b", rows[200:300]), ("c", rows[300:])):
        tiny.write_parquet(part, tmp_path / f"{name}.parquet")
    split = {"files": ["late.parquet"], "validation": 0.4, "test": 0.6}
    changes = {
        "data__input": ["*.parquet"],
        "data__join": [],
        "data__time": None,
        "data__window": None,
        "data__split": split,
        "features": [f for f in tiny.CONFIG["features"] if f["name"] != "country"],
    }
    config = parse_config(tiny.config_document(**changes), "c")
    manifest = preprocess(config, tmp_path, tmp_path / "examples")
    found = {split: counts["rows"] for split, counts in manifest["splits"].items()}
    assert found["train"] == 200 and found["validation"] + found["test"] == 100
    assert 20 < found["validation"] < 60
    held = {row["number"] for row in rows[:100]}
    assert len(held) == 100
    for files, said in (
        (["lat.parquet"], "'lat.parquet' is none of the log's files.*'late.parquet'"),
        (["*.parquet"], "nothing is left to train on"),
    ):
        changes["data__split"] = {**split, "files": files}
        with pytest.raises(InputError, match=said):
            preprocess(
                parse_config(tiny.config_document(**changes), "c"), tmp_path, tmp_path / "x"
            )


def test_weights_of_rows_reach_the_masks_and_bad_ones_are_rejected(tmp_path):
    from steadyrank.pipeline.examples.dataset import evaluation_dataset
    from steadyrank.pipeline.examples.example_set import ExampleSet

    rows = [{**row, "worth": row["number"] % 3 / 2} for row in tiny.make_rows()]
    rows[5]["worth"], rows[77]["worth"] = -1.0, None
    tasks = [{**task} for task in tiny.CONFIG["tasks"]]
    tasks[1] |= {"sample_weight": "worth"}
    output, manifest = run(tmp_path, rows, changes={"tasks": tasks})
    assert manifest["rows"]["rejected"] == {"sample weight of like: not 0 or more": 2}
    assert schema(output)["tasks"][1]["sample_weight"] == "worth"
    assert "sample_weight" not in schema(output)["tasks"][0]
    found = []
    for split in ("train", "validation", "test"):
        for _, _, masks in evaluation_dataset(ExampleSet.open(output), split, 512):
            assert set(masks["click"].numpy()) == {1.0}
            found += masks["like"].numpy().tolist()
    kept = [row for i, row in enumerate(rows) if i not in (5, 77)]
    assert sorted(found) == sorted(row["worth"] * row["click"] for row in kept)


def test_a_semicolon_and_a_tab_delimit_as_well(tmp_path, rows, done):
    for delimiter in ";\t":
        folder = tmp_path / str(ord(delimiter))
        folder.mkdir()
        tiny.write_csv(rows, folder / "x.csv", delimiter)
        changes = {"data__delimiter": delimiter, "data__input": ["x.csv"]}
        _, manifest = run(folder, rows[:1], changes=changes)
        assert manifest["rows"] == done[1]["rows"]


def test_keys_of_other_types_still_find_their_partner(tmp_path, rows, done):
    """A log whose key became real through missing values, as pandas writes it."""

    def write(rows, path):
        tiny.write_parquet(rows, path)
        table = pq.read_table(path)
        index = table.column_names.index("user")
        reals = table["user"].cast(pa.float64())
        pq.write_table(table.set_column(index, "user", reals), path)

    _, manifest = run(tmp_path, rows, write=write)
    ours, theirs = manifest["unmatched"].values(), done[1]["unmatched"].values()
    assert list(ours) == list(theirs)


def test_a_group_is_one_whether_whole_or_real():
    whole, real = pa.array([7, None, 2**40]), pa.array([7.0, None, 2.0**40])
    assert group_numbers(whole).to_pylist() == [7, NO_GROUP, 2**40]
    assert group_numbers(real).equals(group_numbers(whole))
    a, b, c = group_numbers(pa.array([0.5, 0.5, 7.5])).to_pylist()
    assert a == b != c


def test_a_group_is_missing_where_a_feature_would_be():
    texts = pa.array(["a", None, "", "a"])
    of_type = [texts, texts.cast(pa.large_string()), texts.dictionary_encode()]
    of_type += [pa.DictionaryArray.from_arrays([0, 1, 1, 0], ["a", None])]
    of_type += [pa.array([0.5, float("nan"), None, 0.5])]
    for values in of_type:
        first, *missing, last = group_numbers(values).to_pylist()
        assert missing == [NO_GROUP] * 2 and first == last != NO_GROUP, values.type


def test_a_group_is_the_same_in_files_of_other_types():
    whole = pa.array([1, None, 7])
    others = [whole.cast(t) for t in (pa.uint64(), pa.int8(), pa.float64())]
    others += [whole.cast(pa.decimal128(21, 2)), whole.dictionary_encode()]
    for values in others:
        assert group_numbers(values).to_pylist() == [1, NO_GROUP, 7], values.type


def test_rows_without_a_group_are_a_group_each():
    found = own_groups(np.array([7, NO_GROUP, -1, NO_GROUP, 7, NO_GROUP]))
    assert found[0] == found[4] == 7 and found[2] == -1
    assert len(set(found.tolist())) == 5
    # of 7's two rows one is positive and ranked first; the others say nothing of a user
    labels, scores = np.array([1, 0, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.7])
    assert metrics.gauc(labels, scores, found) == 1.0
    np.testing.assert_array_equal(own_groups(np.array([3, 3])), [3, 3])


def test_keys_with_dictionaries_find_their_partner():
    keys, known = pa.array(["b", None, "x", "a"]), pa.array(["a", "b"])
    for left in (keys, keys.dictionary_encode()):
        for right in (known, known.dictionary_encode()):
            side = pa.table({"key": right, "age": [1, 2]})
            found, unmatched = join_side(pa.table({"key": left}), side, "key", "side_")
            assert found["side_age"].to_pylist() == [2, None, None, 1]
            assert unmatched == 2


KEY = st.integers(-5, 5) | st.sampled_from([-(2**63), 2**63 - 1])


@given(st.lists(KEY, unique=True), st.lists(KEY | st.none()), st.booleans())
def test_a_join_is_a_look_up(known, keys, in_order):
    known = sorted(known) if in_order else known
    side = {key: str(key) for key in known}
    table = pa.table({"key": pa.array(keys, pa.int64())})
    other = pa.table({"key": pa.array(known, pa.int64()), "name": list(side.values())})
    found, unmatched = join_side(table, other, "key", "")
    expected = [side.get(key) for key in keys]
    assert found["name"].to_pylist() == expected
    assert unmatched == expected.count(None)


def test_files_may_hold_ids_as_whole_numbers_and_as_reals(tmp_path):
    """As pandas writes them where some are missing; large ones stay what they are."""
    large = 2**60 + 1  # as a real it would be 2**60
    rows = tiny.make_rows(300)
    for row in rows:
        row["item"] = row["number"] % 7 + large * (row["number"] % 2 == 0)
        row["tags"] = [row["item"], 5] if row["number"] % 3 else []
    rows[4] |= {"click": 7}  # to be rejected, one of each file
    rows[201] |= {"item": None, "click": 7}
    write_parts(rows, tmp_path)
    features = [dict(feature) for feature in tiny.CONFIG["features"]]
    del features[2]["separator"]
    config = tiny.config_document(data__input=["?.parquet"], features=features)
    manifest = preprocess(parse_config(config, "c"), tmp_path, tmp_path / "out")
    assert manifest["rows"]["rejected"] == {"label click: neither 0 nor 1": 2}
    items = {str(row["item"]) for row in rows[:200]}
    assert set(vocabulary(tmp_path / "out", "item")) == items and len(items) == 14
    assert str(large) in vocabulary(tmp_path / "out", "tags")


@pytest.mark.parametrize("empty", [None, []])
def test_a_column_without_a_value_in_one_file_is_of_the_type_of_another(tmp_path, empty):
    rows = [{**row, "recent": [row["item"]] * 2} for row in tiny.make_rows(300)]
    rows[::2] = [
        {**row, "item": None, "tags": None, "price": None, "recent": empty}
        for row in rows[::2]
    ]
    tiny.write_parquet(rows[::2], tmp_path / "a.parquet")
    tiny.write_parquet(rows[1::2], tmp_path / "b.parquet")
    first = pq.read_schema(tmp_path / "a.parquet")
    assert first.field("item").type == first.field("tags").type == pa.null()
    tiny.write_parquet(tiny.make_users(), tmp_path / "users.parquet")
    features = [*tiny.CONFIG["features"], tiny.RECENT]
    config = tiny.config_document(data__input=["?.parquet"], features=features)
    manifest = preprocess(parse_config(config, "c"), tmp_path, tmp_path / "out")
    assert manifest["rows"]["written"] == 300
    raw = {f["name"]: f["raw"] for f in schema(tmp_path / "out")["features"]}
    assert raw["item"] == raw["tags"] == raw["recent"] == "string"
    recent = {row["item"] for row in rows[1:200:2]} - {None}
    assert set(vocabulary(tmp_path / "out", "recent")) == recent


def write_parts(rows, folder):
    """Two files: of the second, ids and lists of them are reals."""
    tiny.write_parquet(rows[::2], folder / "a.parquet")
    tiny.write_parquet(rows[1::2], folder / "b.parquet")
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    table = pq.read_table(folder / "b.parquet")
    for name, kind in (("item", pa.float64()), ("tags", pa.list_(pa.float64()))):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(kind))
    pq.write_table(table, folder / "b.parquet")


def test_list_columns_of_integers_and_columns_nobody_reads(tmp_path, rows):
    rows = [
        {**row, "recent": [1, None, row["number"] % 5, 9][: row["number"] % 5]}
        for row in rows
    ]
    rows = [{**row, "junk": {"a": row["number"]}, "blob": b"\xff"} for row in rows]
    features = [*tiny.CONFIG["features"], tiny.RECENT]
    output, manifest = run(tmp_path, rows, changes={"features": features})
    assert manifest["rows"]["duplicates"] == 4
    assert set(vocabulary(output, "recent")) == {"1", "3", "4", "9"}
    assert vocabulary(output, "recent")[0] == "1"


def test_lists_are_padded_and_cut_by_hand():
    lists = pa.array([[1], [], None, [2, 3, 4], [5, 6]])
    ids = np.array([11, 12, 13, 14, 15, 16])
    matrix, cut = pad_lists(lists, ids, 2)
    assert matrix.tolist() == [[11, 0], [0, 0], [0, 0], [12, 13], [15, 16]]
    assert cut == 1
