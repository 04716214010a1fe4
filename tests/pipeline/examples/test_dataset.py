"""Batches: every row once, windows in order, masks by hand, damage named."""

import dataclasses
import io
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples import damage, dataset
from steadyrank.pipeline.examples.dataset import (
    EvaluationPasses,
    batches_in_epoch,
    evaluation_dataset,
    training_dataset,
)
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.kinds import preprocess
from tests.helpers import naive, tiny

SETTINGS = {"epoch": 0, "batch_size": 37, "seed": 5, "shuffle_rows": 50}


@pytest.fixture(scope="module")
def opened(examples):
    return ExampleSet.open(examples)


def keys_of(features, labels):
    """A row as something that can be counted; the tiny log's rows nearly all differ."""
    columns = {**features, **{f"label {k}": v for k, v in labels.items()}}
    arrays = [columns[name].numpy() for name in sorted(columns)]
    return [str([x[i].tolist() for x in arrays]) for i in range(len(arrays[0]))]


def epoch_of(opened, **changes):
    """Row keys, window numbers and batch sizes of a pass."""
    rows, windows, sizes = [], [], []
    for features, labels, _, window in training_dataset(opened, **{**SETTINGS, **changes}):
        rows += keys_of(features, labels)
        windows += window.numpy().tolist()
        sizes.append(len(window))
    return rows, windows, sizes


def stored(opened, split):
    rows = []
    for features, labels, _ in evaluation_dataset(opened, split, 64):
        rows += keys_of(features, labels)
    return rows


def test_a_pass_gives_every_row_once_in_exact_batches(opened):
    rows, windows, sizes = epoch_of(opened)
    assert Counter(rows) == Counter(stored(opened, "train"))
    assert len(rows) == opened.rows("train") == 400
    assert sizes == [37] * 10 + [30]
    assert len(sizes) == batches_in_epoch(opened, 37)
    assert windows == [0] * 100 + [1] * 100 + [2] * 100 + [3] * 100


def rows_as_logged(batches):
    """What batches hold, column by column as their names say, in the form of ``naive``."""
    for features, labels, *_ in batches:
        columns = {**features, **{f"label {name}": v for name, v in labels.items()}}
        columns = {name: values.numpy().tolist() for name, values in columns.items()}
        for i in range(len(columns["user"])):
            ids = [columns[name][i] for name in ("user", "item", "tags", "country")]
            ids = [tuple(each if isinstance(each, list) else [each]) for each in ids]
            numbers = [columns[name][i] for name in ("price", "age")]
            numbers += [columns[f"label {name}"][i] for name in ("click", "like", "watch")]
            yield (*ids, *map(str, numbers))


def test_every_column_of_a_batch_is_the_logs_of_its_name(opened):
    encoded, *_ = naive.preprocess(tiny.make_rows(), tiny.make_users())
    for split, batches in (
        ("train", training_dataset(opened, **SETTINGS)),
        ("validation", evaluation_dataset(opened, "validation", 64)),
        ("test", evaluation_dataset(opened, "test", 64)),
    ):
        expected = Counter(row[2:-1] for row in encoded.elements() if row[0] == split)
        assert Counter(rows_as_logged(batches)) == expected


def test_no_thread_sleeps_at_the_end_of_a_pass(opened):
    """Autotuning's would: the end of a pass waits for it, for seconds."""
    passes = training_dataset(opened, **SETTINGS), evaluation_dataset(opened, "test", 64)
    assert [each.options().autotune.enabled for each in passes] == [False, False]


def test_rows_are_mixed_within_their_window(opened):
    rows, _, _ = epoch_of(opened, shuffle_rows=1000)
    in_order = stored(opened, "train")
    place = {key: i for i, key in enumerate(in_order)}
    first = np.array([place[key] for key in rows[:100]])
    assert (np.diff(first) > 0).mean() < 0.7


def test_the_seed_and_the_epoch_make_the_order(opened):
    first = epoch_of(opened)
    assert epoch_of(opened) == first
    for change in ({"epoch": 1}, {"seed": 6}, {"shuffle_rows": 60}):
        assert epoch_of(opened, **change)[0] != first[0]


@pytest.mark.parametrize("skip", [1, 4, 10, 11])
def test_skipping_drops_the_first_batches(opened, skip):
    rows, windows, sizes = epoch_of(opened)
    start = sum(sizes[:skip])
    assert epoch_of(opened, skip_batches=skip) == (
        rows[start:],
        windows[start:],
        sizes[skip:],
    )


def test_some_windows_only(opened):
    names = list(opened.windows("train"))
    rows, windows, _ = epoch_of(opened, windows=[names[1], names[3]])
    assert windows == [1] * 100 + [3] * 100
    whole, of, _ = epoch_of(opened)
    wanted = [key for key, window in zip(whole, of, strict=True) if window in (1, 3)]
    assert Counter(rows) == Counter(wanted)


def test_batches_of_one_row(opened):
    _, _, sizes = epoch_of(opened, batch_size=1)
    assert sizes == [1] * 400


def test_several_files_of_a_window_are_all_read(
    config, log_folder, examples, tmp_path, monkeypatch
):
    monkeypatch.setattr("steadyrank.pipeline.preprocess.plan.ROWS_PER_SHARD", 70)
    preprocess(config, log_folder, tmp_path / "many")
    many = ExampleSet.open(tmp_path / "many")
    assert [len(files) for files in many.windows("train").values()] == [9] * 4
    rows, windows, sizes = epoch_of(many)
    assert windows == sorted(windows)
    assert Counter(rows) == Counter(stored(many, "train"))
    assert naive.read(many.path) == naive.read(examples)
    assert len(rows) == 400
    assert epoch_of(many, epoch=1)[0] != rows


def test_evaluation_keeps_the_order_and_the_remainder(opened):
    sizes = [len(m["click"]) for _, _, m in evaluation_dataset(opened, "test", 30)]
    assert sizes == [30, 30, 30, 10]
    whole = stored(opened, "test")
    rows = []
    for features, labels, _ in evaluation_dataset(opened, "test", 7):
        rows += keys_of(features, labels)
    assert rows == whole
    groups = [
        extra["group"].numpy() for *_, extra in evaluation_dataset(opened, "test", 9, True)
    ]
    expected = [row[-1] for row in naive.read(opened.path).elements() if row[0] == "test"]
    assert sorted(np.concatenate(groups).tolist()) == sorted(expected)


def test_splits_and_windows_are_read_by_what_was_built_once(opened):
    passes = EvaluationPasses(opened, 64)
    for split in ("validation", "test", "train"):
        apart = []
        for window in opened.windows(split):
            batches = passes(split, [window])
            apart += [key for x, y, _ in batches for key in keys_of(x, y)]
        assert apart == stored(opened, split)
        assert sum(len(m["click"]) for _, _, m in passes(split, own=range(1, 2))) <= 64
    assert passes._built.experimental_get_tracing_count() == 1


def test_masks_follow_the_chain_and_the_labels(opened):
    seen = Counter()
    for _, labels, masks, _ in training_dataset(opened, **SETTINGS):
        columns = {name: values.numpy() for name, values in labels.items()}
        for i in range(len(columns["click"])):
            click, like, watch = (columns[n][i] for n in ("click", "like", "watch"))
            inside = (
                float(click == click),
                float(like == like and click == 1),
                float(watch == watch and click == 1),
            )
            assert tuple(masks[n][i] for n in ("click", "like", "watch")) == inside
            seen[inside] += 1
    assert len(seen) == 3  # with and without a click, and with one but no watch time


def test_a_chain_of_two_conditions():
    from steadyrank.models.features import Task, sample_space

    tasks = [Task("a"), Task("b", given="a"), Task("c", given="b")]
    nan = float("nan")
    labels = {
        "a": np.array([1, 1, 0, nan, 1, 1.0]),
        "b": np.array([1, 0, 1, 1, nan, 1.0]),
        "c": np.array([1, 1, 1, 1, 1, nan]),
    }
    found = [sample_space(task, tasks, labels).tolist() for task in tasks]
    assert found[0] == [True, True, True, False, True, True]
    assert found[1] == [True, True, False, False, False, True]
    assert found[2] == [True, False, False, False, False, False]


@pytest.mark.parametrize("where", [5, 30, 2000, -3])
def test_a_flipped_byte_is_found_and_its_file_named(examples, tmp_path, where):
    copy = shutil.copytree(examples, tmp_path / "copy")
    path = sorted(copy.glob("train/*.tfrecord"))[2]
    data = bytearray(path.read_bytes())
    data[where] ^= 4
    path.write_bytes(data)
    damaged = ExampleSet.open(copy)
    with pytest.raises(InputError, match="corrupt") as caught:
        with damage.naming_damage(damaged):
            epoch_of(damaged)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_file_that_is_cut_after_it_was_opened_is_refused(examples, tmp_path, split):
    """As a store may answer with nothing, and no error."""
    copy = shutil.copytree(examples, tmp_path / "copy")
    opened = ExampleSet.open(copy)
    path = sorted(copy.glob(f"{split}/*.tfrecord"))[-1]
    whole = path.read_bytes()
    path.write_bytes(b"")

    def read():
        with damage.naming_damage(opened):
            if split == "train":
                epoch_of(opened)
            for _ in evaluation_dataset(opened, split, 64):
                pass

    with pytest.raises(InputError, match="must hold 1 blocks of rows. Received: 0") as cut:
        read()
    assert str(path) in str(cut.value)
    with pytest.MonkeyPatch.context() as patch:
        count = damage._count

        def later(*file):
            path.write_bytes(whole)
            return count(*file)

        patch.setattr(damage, "_count", later)
        with pytest.raises(PassingError, match="came back short"):
            read()
    read()


@pytest.mark.parametrize(
    "kind, source, raised",
    [
        (tf.errors.DataLossError, "", PassingError),  # of files that are whole
        (tf.errors.UnavailableError, "s3://there", PassingError),
        (tf.errors.UnknownError, "s3://there", PassingError),
        (tf.errors.UnknownError, "", tf.errors.UnknownError),  # a fault of ours
        (tf.errors.InvalidArgumentError, "s3://there", tf.errors.InvalidArgumentError),
    ],
)
def test_a_store_that_fails_for_once_is_no_damage(
    opened, kind, source, raised, monkeypatch
):
    monkeypatch.setattr(damage, "open_object", lambda url: io.BytesIO())
    there = dataclasses.replace(opened, source=source)
    with pytest.raises(raised):
        with damage.naming_damage(there):
            raise kind(None, None, "HTTP response code: 503")


def test_damage_of_another_kind_is_not_renamed(opened):
    with pytest.raises(ZeroDivisionError):
        with damage.naming_damage(opened):
            raise ZeroDivisionError


def test_examples_without_time_have_one_window(tmp_path, log_folder):
    split = {"validation": 0.2, "test": 0.2}
    document = tiny.config_document(data__time=None, data__split=split)
    preprocess(parse_config(document, "c"), log_folder, tmp_path / "out")
    opened = ExampleSet.open(tmp_path / "out")
    assert list(opened.windows("train")) == ["all"]
    rows, windows, _ = epoch_of(opened)
    assert set(windows) == {0}
    assert len(rows) == opened.rows("train")


def test_the_schema_survives_its_file(opened):
    document = json.loads((opened.path / "schema.json").read_text())
    assert json.loads(json.dumps(opened.schema.to_dict())) == document
    bare = dataclasses.replace(opened.schema, fingerprint="")
    written = json.loads(json.dumps(bare.to_dict()))
    assert dataset.Schema.from_dict(written, opened.path) == bare
