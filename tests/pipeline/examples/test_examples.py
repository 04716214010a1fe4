"""The byte contract: layouts, records that TensorFlow reads, whole example sets."""

import io
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.examples.records import (
    BLOCK_ROWS,
    Layout,
    encode_blocks,
    parse_block,
    write_records,
)
from steadyrank.pipeline.files.errors import InputError

FEATURES = (
    Feature("a", "categorical"),
    Feature("n", "numeric"),
    Feature("b", "categorical", max_values=3),
    Feature("m", "numeric"),
)
TASKS = (Task("y"), Task("z"))
MARK = "0123456789abcdef" * 4


def arrays(rows):
    random = np.random.default_rng(rows)
    numbers = {
        key: random.normal(size=rows).astype(np.float32)
        for key in ("feature/n", "feature/m", "label/y", "label/z", "truth/y")
    }
    numbers["label/z"][::2] = np.nan
    return {
        "feature/a": random.integers(0, 2**31 - 1, rows).astype(np.int32),
        "feature/b": random.integers(0, 9, (rows, 3)).astype(np.int32),
        "group": random.integers(-(2**63), 2**63 - 1, rows),
        **numbers,
    }


@pytest.mark.parametrize("rows", [1, 7, BLOCK_ROWS, BLOCK_ROWS + 1])
def test_what_is_written_is_read_back_by_tensorflow(tmp_path, rows):
    layout = Layout.of(FEATURES, TASKS, ["y"], True)
    wanted, path = arrays(rows), tmp_path / "x.tfrecord"
    with path.open("wb") as file:
        size = write_records(file, encode_blocks(layout.matrices(wanted), MARK))
    assert size == path.stat().st_size
    # TensorFlow checks each record's CRC-32C itself.
    blocks = list(tf.data.TFRecordDataset([str(path)]))
    assert len(blocks) == -(-rows // BLOCK_ROWS)
    parsed = [layout.columns(parse_block(block, MARK, layout, True)) for block in blocks]
    assert set(parsed[0]) == set(wanted)
    for key, values in wanted.items():
        found = np.concatenate([part[key].numpy() for part in parsed])
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)


def test_records_are_framed_as_tensorflow_does(tmp_path):
    records = [b"", b"abc", bytes(range(256)) * 50]
    ours = io.BytesIO()
    write_records(ours, records)
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in records:
            writer.write(record)
    assert ours.getvalue() == (tmp_path / "theirs").read_bytes()


def test_without_ids_or_group():
    layout = Layout.of(FEATURES[1:2], TASKS[:1], [], False)
    matrices = layout.matrices(
        {"feature/n": np.ones(2, np.float32), "label/y": np.zeros(2, np.float32)}
    )
    (block,) = encode_blocks(matrices, MARK)
    message = tf.train.Example()
    message.features.feature["encoding"].bytes_list.value.append(MARK.encode())
    for key, matrix in matrices.items():
        message.features.feature[key].bytes_list.value.append(matrix.tobytes())
    assert block == message.SerializeToString(deterministic=True)
    columns = layout.columns(parse_block(tf.constant(block), MARK, layout, True))
    assert set(columns) == {"feature/n", "label/y"}
    assert columns["feature/n"].numpy().tolist() == [1.0, 1.0]


@pytest.fixture
def copied(examples, tmp_path):
    return shutil.copytree(examples, tmp_path / "examples")


def first_record(folder):
    return sorted(folder.glob("test/*.tfrecord"))[0]


def test_a_truncated_file_is_named(copied):
    path = first_record(copied)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="is cut off or was changed") as caught:
        ExampleSet.open(copied)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(copied):
    path = first_record(copied)
    path.unlink()
    with pytest.raises(InputError, match="is missing") as caught:
        ExampleSet.open(copied)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"read": 601}, {"written": 599}, {"duplicates": 1}, {"rejected": {"no time": 1}}],
)
def test_rows_that_are_not_accounted_for_are_refused(copied, change):
    path = copied / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["rows"]["read"] == manifest["rows"]["written"] == 600
    rows = {**manifest["rows"], **change}
    path.write_text(json.dumps({**manifest, "rows": rows}))
    with pytest.raises(InputError, match="the counts do not add up.*Preprocess"):
        ExampleSet.open(copied)


def test_rows_that_are_in_no_file_are_refused(copied):
    path = copied / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][0]["rows"] -= 1
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="the counts do not add up: .*, and 599 rows"):
        ExampleSet.open(copied)


@pytest.mark.parametrize("name", ["manifest.json", "schema.json"])
def test_a_set_without_its_papers_is_refused(copied, name):
    (copied / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        ExampleSet.open(copied)
    (copied / name).write_text("{")
    with pytest.raises(InputError, match=f"{name} is corrupt"):
        ExampleSet.open(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 99}, "format must be 2. Received: 99"),
        ({"format": "sequences 1"}, "is of a next-item model. Ranking models.*evaluate"),
        ({"fingerprint": "00"}, "does not belong to manifest.json"),
        ({"score": "like"}, "was changed"),
    ],
)
def test_a_schema_that_was_changed_is_refused(copied, change, said):
    path = copied / "schema.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=said):
        ExampleSet.open(copied)


def test_a_vocabulary_that_was_changed_is_refused(copied):
    path = copied / "vocab" / "item.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    with pytest.raises(InputError, match="was changed"):
        ExampleSet.open(copied)
    path.unlink()
    with pytest.raises(InputError, match=str(path)):
        ExampleSet.open(copied)


def test_a_folder_that_is_no_example_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not an example set"):
        ExampleSet.open(tmp_path)
