"""Preprocessing against a naive reference: exact rows, counts, independence of order."""

import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess import stage
from steadyrank.pipeline.preprocess.beam_job import add_counts
from tests.helpers import naive, tiny
from tests.helpers.dirty_log import BAD, dirty_rows, records
from tests.helpers.preprocessed import run, schema, vocabulary


@pytest.fixture(scope="module")
def rows():
    return dirty_rows()


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
