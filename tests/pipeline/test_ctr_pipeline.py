"""CTR models and shared tables through all stages: from log to the same scores served."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import agree
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import evaluate, export, preprocess, train
from steadyrank.pipeline.kinds.ranking.model import compiled_model
from tests.helpers import tiny

RECENT = {"name": "recent", "kind": "categorical", "max_values": 3, "oov_buckets": 3}
SHARED = ["user", "country", "age"]


def document(trunk="deepfm", **changes):
    base = tiny.config_document(
        model={"trunk": trunk},
        train__embedding={"l2": 1e-4, "semantics": "lazy"},
        serving={"shared": SHARED},
        gates={"divergence": {"max_micro": 9}, "skew": {"max_difference": 1e-5}},
        **changes,
    )
    for key in ("deep_units", "embedding_dim"):
        if trunk not in ("lr", "fm") or (trunk == "fm" and key == "embedding_dim"):
            base["model"][key] = [8] if key == "deep_units" else 4
    base["features"].append({**RECENT, "table": "item"})
    return base


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The tiny log with a history: the items of the last rows."""
    folder, rows = tmp_path_factory.mktemp("log"), tiny.make_rows()
    tiny.write_log(folder, rows)
    table = pq.read_table(folder / "log.parquet")
    items = [row["item"] for row in rows]
    recent = [[i for i in items[max(0, n - 3) : n] if i] for n in range(len(items))]
    recent[5] = ["only in histories"]
    table = table.append_column("recent", pa.array(recent, pa.list_(pa.string())))
    pq.write_table(table, folder / "log.parquet")
    return folder


@pytest.fixture(scope="module")
def examples(log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples") / "examples"
    preprocess(parse_config(document(), "c"), log, folder)
    return folder


def test_a_shared_table_has_one_vocabulary(examples):
    item, recent = (
        (examples / "vocab" / f"{name}.txt").read_text(encoding="utf-8")
        for name in ("item", "recent")
    )
    assert item == recent and "only in histories" not in item
    features = {f.name: f for f in ExampleSet.open(examples).schema.features}
    assert features["recent"].table == "item"
    assert features["recent"].vocabulary_size == features["item"].vocabulary_size


@pytest.mark.parametrize("too", [False, True])
def test_the_warm_up_is_of_the_dense_weights_rate(examples, too):
    """As in CowClip's published code, whose tables have their whole rate from the start."""
    config = parse_config(document(train__warmup_steps=10), "c")
    embedding = config.train.embedding.model_copy(update={"warmup": too})
    train = config.train.model_copy(update={"embedding": embedding})
    config = config.model_copy(update={"train": train})
    model = compiled_model(config, agree(config, ExampleSet.read_schema(examples)))
    rates = [
        [float(optimizer._learning_rate(step)) for step in (0, 5, 10)]
        for optimizer in (model.dense_optimizer, model.embedding_optimizer)
    ]
    warm = np.array([0, 0.5, 1])
    whole = np.ones(3)
    expected = config.train.dense.learning_rate * warm
    np.testing.assert_allclose(rates[0], expected, rtol=1e-5, atol=2e-8)
    expected = config.train.embedding.learning_rate * (warm if too else whole)
    np.testing.assert_allclose(rates[1], expected, rtol=1e-5, atol=2e-8)


def test_values_of_another_type_are_refused(log, tmp_path):
    wrong = document()
    wrong["features"][-1] |= {"table": "user", "oov_buckets": 1}
    with pytest.raises(
        InputError,
        match="recent: shares user's table, but its values are of type string",
    ):
        preprocess(parse_config(wrong, "c"), log, tmp_path / "examples")


def test_a_config_that_shares_otherwise_is_refused(examples, tmp_path):
    other = document()
    del other["features"][-1]["table"]
    with pytest.raises(InputError, match="table is '' in the config"):
        train(parse_config(other, "c"), examples, tmp_path / "train")


# linear weights and products beside a network, crosses beside one: the other trunks are
# put together of the same layers
@pytest.mark.parametrize("trunk", ["deepfm", "dcn_v2"])
def test_what_was_trained_is_what_is_served(examples, tmp_path, trunk):
    config = parse_config(document(trunk), "c")
    train(config, examples, tmp_path / "train")
    folder = export(config, tmp_path / "train", tmp_path / "export")
    verdict = evaluate(config, examples, folder, tmp_path / "evaluation")
    skew = [gate for gate in verdict["gates"] if gate["gate"] == "skew"]
    assert [gate["verdict"] for gate in skew] == ["PASS"]
    signatures = tf.saved_model.load(str(folder)).signatures
    once = {
        "user": tf.constant([3], tf.int64),
        "country": tf.constant(["de"]),
        "age": tf.constant([30.0]),
    }
    items = {
        "item": tf.constant(["i1", "i2", "never seen"]),
        "tags": tf.constant(["t1|t2", "", "t3"]),
        "recent": tf.constant([["i1", "i4"], ["i2", ""], ["", ""]]),
        "price": tf.constant([1.0, np.nan, 7.0]),
    }
    whole = {name: tf.repeat(value, 3, axis=0) for name, value in once.items()}
    expected = signatures["serving_default"](**whole, **items)
    found = signatures["candidates"](**once, **items)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)
