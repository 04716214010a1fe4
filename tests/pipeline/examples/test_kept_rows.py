"""Format 2: raw rows beside records, identities of splits, encodings that are checked."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples import damage, dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.examples.identity import same_rows, same_task
from steadyrank.pipeline.examples.kept_rows import kept_schema, raw_files, read_raw
from steadyrank.pipeline.files.checksum import checksum_of
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.kept import write_table
from steadyrank.pipeline.preprocess.stage import preprocess
from steadyrank.pipeline.raw_log.one_type import in_one_type
from tests.helpers import naive, tiny


@pytest.fixture(scope="module")
def opened(examples):
    return ExampleSet.open(examples)


def raw_table(examples, split, rows=7, columns=None):
    files = raw_files(examples, split)
    tables = [t for f in files for t in read_raw(examples, f, rows, columns)]
    assert max(map(len, tables)) <= rows  # no more at once
    return pa.concat_tables(tables)


def test_raw_rows_stand_in_the_order_of_the_records(opened):
    users = {user["user"]: user["country"] for user in tiny.make_users()}
    for split in ("validation", "test"):
        raw = raw_table(opened, split).to_pylist()
        parts = dataset.evaluation_dataset(opened, split, 4096)
        ((features, labels, _),) = parts
        assert len(raw) == opened.rows(split) == len(labels["click"])
        for i, row in enumerate(raw):
            assert naive.same(naive.number(row["price"]), float(features["price"][i]))
            assert naive.same(naive.number(row["watch"]), float(labels["watch"][i]))
            assert row["click"] == labels["click"][i]
            assert (row["item"] is None) == (int(features["item"][i]) == 0)
            assert row["user_country"] == users.get(row["user"])


def test_only_what_the_config_reads_is_kept(opened):
    names = {"user", "item", "tags", "price", "age", "click", "like", "watch", "time_ms"}
    assert {*kept_schema(opened, "test").names} == names | {"user_country"}
    assert raw_table(opened, "test", columns={"user_country"}).column_names == [
        "user",  # which side tables are joined on
        "user_country",
    ]
    with pytest.raises(InputError, match="kept no raw rows of 'train'"):
        kept_schema(opened, "train")


def test_further_columns_are_kept_on_demand(tmp_path, log_folder):
    config = parse_config(tiny.config_document(data__keep_columns=["number"]), "c")
    preprocess(config, log_folder, tmp_path / "out")
    found = raw_table(ExampleSet.open(tmp_path / "out"), "test")["number"].to_pylist()
    log = pq.read_table(log_folder / "log.parquet").to_pylist()
    assert sorted(found) == [r["number"] for r in log if naive.day_of(r) == "2024-03-06"]


def test_the_manifest_knows_every_file(opened):
    for file in opened.manifest["files"]:
        pieces = [file, *([file["raw"], *file["raw"]["joins"]] if "raw" in file else [])]
        for piece in pieces:
            path = opened.path / piece["path"]
            assert path.stat().st_size == piece["bytes"]
            assert checksum_of(path) == piece["checksum"]
        assert file["encoding"] == opened.schema.fingerprint
        assert ("raw" in file) == (file["split"] != "train")


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_examples_of_an_earlier_format_are_to_be_made_again(examples, tmp_path):
    copy = shutil.copytree(examples, tmp_path / "copy")
    change(copy / "schema.json", format=1)
    with pytest.raises(InputError, match="format 1.*reads format 2. Preprocess the log"):
        ExampleSet.open(copy)


def test_a_file_that_a_stranger_encoded_is_named(examples, tmp_path):
    copy = shutil.copytree(examples, tmp_path / "copy")
    files = json.loads((copy / "manifest.json").read_text())["files"]
    files[3]["encoding"] = "0" * 64
    change(copy / "manifest.json", files=files)
    with pytest.raises(InputError, match=f"{files[3]['path']} was encoded by.*0000"):
        ExampleSet.open(copy)


@pytest.mark.parametrize("split", ["train", "test"])
def test_records_of_another_encoding_are_refused_and_their_file_named(
    examples, tmp_path, split
):
    """Whole records, of the right size, that were given other ids."""
    copy = shutil.copytree(examples, tmp_path / "copy")
    found = ExampleSet.open(copy)
    ancestor = "a" * 64
    files = [dict(file) for file in found.manifest["files"]]
    (file,) = [f for f in files if f["split"] == split][-1:]
    file["encoding"] = ancestor
    schema = dataclasses.replace(found.schema, ancestors=(ancestor,))
    found = ExampleSet(copy, schema, {**found.manifest, "files": files})
    with pytest.raises(InputError, match="its records were encoded by") as caught:
        with damage.naming_damage(found):
            if split == "test":
                list(dataset.evaluation_dataset(found, split, 64))
            else:
                settings = {"epoch": 0, "batch_size": 64, "seed": 1, "shuffle_rows": 64}
                list(dataset.training_dataset(found, **settings))
    assert file["path"] in str(caught.value)


def test_damaged_raw_rows_are_named(examples, tmp_path):
    copy = ExampleSet.open(shutil.copytree(examples, tmp_path / "copy"))
    file = raw_files(copy, "test")[0]
    path = copy.path / file["raw"]["path"]
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match="is corrupt") as caught:
        list(read_raw(copy, file, 100))
    assert str(path) in str(caught.value)
    path.write_bytes(data[:-1])
    with pytest.raises(InputError, match="is cut off or was changed"):
        list(read_raw(copy, file, 100))


def prepared(folder, rows, **changes):
    tiny.write_log(folder, rows)
    config = parse_config(tiny.config_document(**changes), "c")
    return preprocess(config, folder, folder / "examples")["identity"]


def test_identities_hang_on_rows_and_labels_not_on_features(opened, tmp_path):
    ours, rows = opened.manifest["identity"], tiny.make_rows()
    (late,) = [i for i, row in enumerate(rows) if naive.day_of(row) == "2024-03-06"][:1]
    features = [f for f in tiny.CONFIG["features"] if f["name"] != "item"]
    shuffled = rows[::-1]
    without = prepared(tmp_path / "features", shuffled, features=features)
    for split in ("validation", "test"):
        assert same_rows(ours[split], without[split])
        assert all(
            same_task(ours[split], without[split], t) for t in ("click", "like", "watch")
        )
    assert [key["columns"] for key in ours["test"]["keys"]] == [
        None,
        ["item", "time_ms", "user"],
        ["time_ms", "user"],
    ]
    rows[late] = {**rows[late], "click": 1 - rows[late]["click"], "number": -1}
    relabelled = prepared(tmp_path / "labels", rows, data__key=["time_ms", "number"])
    assert same_rows(ours["test"], relabelled["test"])  # by time and user
    assert not same_task(ours["test"], relabelled["test"], "click")
    assert same_task(ours["validation"], relabelled["validation"], "click")


def test_a_key_must_be_in_the_log_itself(tmp_path, log_folder):
    config = parse_config(tiny.config_document(data__key=["user_country"]), "c")
    with pytest.raises(InputError, match="data.key.*'user_country' must be in the log"):
        preprocess(config, log_folder, tmp_path / "out")


def test_raw_rows_take_little_more_than_the_log_does():
    """Times rise in a log, and come in any order here: that costs what it costs."""
    random = np.random.default_rng(1)
    rows = 100_000
    users, items = (np.arange(1, n + 1) ** -1.1 for n in (20_000, 5_000))
    log = pa.table(
        {
            "user": random.choice(20_000, rows, p=users / users.sum()),
            "item": random.choice(5_000, rows, p=items / items.sum()).astype(str),
            "time": 1_714_000_000_000 + np.sort(random.integers(0, 86_400_000, rows)),
            "price": random.lognormal(size=rows),
            "click": (random.random(rows) < 0.3).astype(np.int8),
            "watch": random.geometric(1e-4, rows).astype(np.int32),
        }
    )
    whole = io.BytesIO()
    pq.write_table(log, whole, compression="zstd")
    kept = write_table(log.take(pa.array(random.permutation(rows))), "x", Written)
    assert kept["bytes"] <= 1.3 * whole.tell()


class Written:
    """Stands for a file of an example set."""

    def __new__(cls, path):
        from steadyrank.pipeline.files.checksum import Checksummed

        return Checksummed(io.BytesIO())


def test_columns_of_several_types_come_to_one_that_loses_nothing():
    big = 2**53 + 1
    parts = {
        "id": [pa.array([big, None]), pa.array([3.0, None])],
        "real": [pa.array([1, 2]), pa.array([0.5, None])],
        "text": [pa.array([17, big]), pa.array(["a", None]).dictionary_encode()],
        "mixed": [pa.array([7.0, 0.5]), pa.array(["b", "c"])],
        "none": [pa.nulls(2), pa.array(["x", "y"])],
        "list": [pa.array([[1], None]), pa.nulls(2)],
        "lists": [pa.array([[big, 2], None]), pa.array([[], [3.0, None]])],
    }
    tables = [pa.table({name: two[i] for name, two in parts.items()}) for i in (0, 1)]
    assert in_one_type(tables).to_pydict() == {
        "id": [big, None, 3, None],
        "real": [1.0, 2.0, 0.5, None],
        "text": ["17", str(big), "a", None],
        "mixed": ["7", "0.5", "b", "c"],
        "none": [None, None, "x", "y"],
        "list": [[1], None, None, None],
        "lists": [[big, 2], None, [], [3, None]],
    }
