"""Sequences through all stages: what is kept of them, and the same scores served."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import evaluate, export, preprocess, replay, train
from tests.helpers import tiny

LENGTH = 4
SHARED = ["user", "country", "age", "past"]
SEQUENCES = [
    {"name": "past", "kind": "sequence", "of": "item", "length": LENGTH},
    {
        "name": "visits",
        "column": "visited",
        "kind": "sequence",
        "of": "country",
        "length": 2,
        "separator": ">",
    },
]


def document(**changes):
    base = tiny.config_document(
        model={"trunk": "shared_bottom", "embedding_dim": 4, "bottom_units": [8]},
        tasks=[{"name": "click"}],
        serving={"shared": SHARED},
        gates={"divergence": {"max_micro": 9}, "skew": {"max_difference": 1e-5}},
        **changes,
    )
    base["features"] += [dict(sequence) for sequence in SEQUENCES]
    return base


def made(changes):
    config = document()
    config["features"][-2] |= changes
    return config


@pytest.fixture(scope="module")
def rows():
    """What came before a row: up to seven items, and the countries of a journey."""
    rows = tiny.make_rows()
    items = [row["item"] for row in rows]
    for n, row in enumerate(rows):
        row["past"] = items[max(0, n - n % 8) : n]
        row["visited"] = ">".join(["de", "fr", "", "nowhere", "de"][: n % 6]) or None
    rows[9]["past"] = ["only in histories"]
    rows[10]["past"] = None
    return rows


@pytest.fixture(scope="module")
def log(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    tiny.write_log(folder, rows)
    table = pq.read_table(folder / "log.parquet").drop_columns(["past"])
    past = pa.array([row["past"] for row in rows], pa.list_(pa.string()))
    pq.write_table(table.append_column("past", past), folder / "log.parquet")
    return folder


@pytest.fixture(scope="module")
def examples(log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "examples"
    preprocess(parse_config(document(), "c"), log, folder)
    return folder


@pytest.fixture(scope="module")
def trained(examples):
    folder = examples.parent / "train"
    train(parse_config(document(), "c"), examples, folder)
    return folder


def naive(values, lines, length, buckets):
    """Nothing, then the last known values' ids, oldest first; unknown ones by bucket."""
    known = [value for value in values or () if value][-length:]
    ids = [
        lines.index(v) + 1 + buckets if v in lines else 1 if buckets == 1 else -1
        for v in known
    ]
    return [0] * (length - len(ids)) + ids


def test_the_last_values_are_kept_in_their_order(rows, examples):
    schema = ExampleSet.open(examples).schema
    lines = {
        name: (examples / "vocab" / f"{name}.txt").read_text().splitlines()
        for name in ("item", "country", "past", "visits")
    }
    assert lines["past"] == lines["item"] and lines["visits"] == lines["country"]
    features = {feature.name: feature for feature in schema.features}
    assert features["past"].rows == features["item"].rows == len(lines["item"]) + 4
    late = [row for row in rows if row["number"] >= 500]
    expected = {
        tuple(naive(row["past"], lines["item"], LENGTH, 3))
        + tuple(naive((row["visited"] or "").split(">"), lines["country"], 2, 1))
        for row in late
    }
    found = set()
    for batch, *_ in evaluation_dataset(ExampleSet.open(examples), "test", 512):
        past = batch["past"].numpy()
        past[(past > 0) & (past < 4)] = -1  # one of the buckets
        found |= set(map(tuple, np.concatenate([past, batch["visits"]], 1).tolist()))
    assert found == expected and len(expected) > 50


def test_what_was_cut_off_is_counted(rows, examples):
    manifest = json.loads((examples / "manifest.json").read_text())
    cut = [f["unknown"]["past"]["beyond_max_values"] for f in manifest["files"]]
    lengths = [len([i for i in row["past"] or () if i]) for row in rows]
    assert sum(cut) == sum(max(0, n - LENGTH) for n in lengths) > 100


def test_from_log_to_the_same_scores(trained, examples, tmp_path):
    config = parse_config(document(), "c")
    folder = export(config, trained, tmp_path / "export")
    verdict = evaluate(config, examples, folder, tmp_path / "evaluation")
    gates = {gate["gate"]: gate for gate in verdict["gates"]}
    assert gates["skew"]["verdict"] == "PASS"
    skew = verdict["metrics"]["skew"]["signatures"]
    assert skew["serving_default"] == skew["tf_example"] == 0 <= skew["candidates"]
    signatures = tf.saved_model.load(str(folder)).signatures
    once = {
        "user": tf.constant([3], tf.int64),
        "country": tf.constant(["de"]),
        "age": tf.constant([30.0]),
        "past": tf.constant([["too long ago", "i3", "", "i4", "i5", "i1"]]),
    }
    items = {
        "item": tf.constant(["i1", "i2", "never seen"]),
        "tags": tf.constant(["t1|t2", "", "t3"]),
        "visits": tf.constant(["", "de>fr>de", "fr"]),
        "price": tf.constant([1.0, np.nan, 7.0]),
    }
    whole = {name: tf.repeat(value, 3, axis=0) for name, value in once.items()}
    expected = signatures["serving_default"](**whole, **items)
    found = signatures["candidates"](**once, **items)
    last = {**whole, "past": tf.constant([["i3", "i4", "i5", "i1"]] * 3)}
    turned = {**whole, "past": tf.constant([["i3", "i4", "i5", "i9"]] * 3)}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)
        kept = signatures["serving_default"](**last, **items)[name]
        np.testing.assert_array_equal(kept, values)
    other = signatures["serving_default"](**turned, **items)["click"]
    assert np.abs(other - expected["click"]).max() > 0


def test_a_batch_of_histories_is_explained(trained, examples):
    found = replay(parse_config(document(), "c"), examples, trained, epoch=0, batch=0)
    assert any("/history_past/" in name for name in found["layers"])
    assert {"past", "visits"}.isdisjoint(row["feature"] for row in found["ids"])


def test_another_length_wants_other_examples(examples, tmp_path):
    shorter = parse_config(made({"length": 3}), "c")
    with pytest.raises(InputError, match="past: max_values is 3 in the config"):
        train(shorter, examples, tmp_path / "train")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (made({"of": "itm"}), "past.of: 'itm' is no categorical .*mean 'item'"),
        (made({"of": "price"}), "past.of: 'price' is no categorical"),
        (made({"of": "tags"}), "past.of: tags holds several values"),
        (made({"length": 0}), "past.length: .*must be 1 or more"),
        (made({"pooling": "mean"}), "past.pooling: unknown key.*separator"),
        (document(model__history={"encoder": "din"}), "model.history.encoder: .*attention"),
        (document(model__history={"blocks": 2}), "'attention' has no blocks"),
        (document(model__history={"layers": 2}), "history.layers: unknown key.*blocks"),
    ],
)
def test_what_cannot_be_a_history_is_refused(config, said):
    with pytest.raises(InputError, match=said):
        parse_config(config, "c")


def test_a_column_of_single_values_is_no_sequence(log, tmp_path):
    with pytest.raises(InputError, match="column 'item' .*length needs a list"):
        preprocess(parse_config(made({"column": "item"}), "c"), log, tmp_path / "examples")
