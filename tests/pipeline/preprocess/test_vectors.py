"""Lists of numbers from the log to what is served: the same numbers, or a reason."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from steadyrank.models.features import Feature
from steadyrank.models.inputs import OUTLIER, FeatureInputs, standardise
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import evaluate, export, preprocess, train
from steadyrank.pipeline.raw_log.columns import as_lists, as_matrix, raw_type, to_vectors
from tests.helpers import tiny

WIDTH, NAN = 3, float("nan")


def config(trunk="wide_deep", **changes):
    document = tiny.config_document(
        model={"trunk": trunk, "embedding_dim": 4, "deep_units": [6]},
        tasks=[{"name": "click"}],
        gates={"skew": {"max_difference": 1e-5}},
        serving={"shared": ["user", "country", "age", "taste"]},
        train__epochs=2,
        **changes,
    )
    document["features"] += [
        {"name": "picture", "kind": "vector", "length": WIDTH},
        {"name": "taste", "column": "user_taste", "kind": "vector", "length": 2},
    ]
    return parse_config(document, "c")


def write_log(folder, spoiled=()) -> list:
    """A picture of most rows, of the side table's users a taste; what was written."""
    rows, random = tiny.make_rows(), np.random.default_rng(1)
    tiny.write_log(folder, rows)
    table = pq.read_table(folder / "log.parquet")
    pictures = [
        list(random.normal(5, 2, WIDTH)) if i % 7 else None for i in range(len(rows))
    ]
    for place, value in spoiled:
        pictures[place] = value
    kind = pa.list_(pa.float64())
    table = table.append_column("picture", pa.array(pictures, kind))
    pq.write_table(table, folder / "log.parquet")
    users = pq.read_table(folder / "users.parquet")
    tastes = [[user / 10, -user] for user in range(len(users))]
    users = users.append_column("taste", pa.array(tastes, pa.list_(pa.float32(), 2)))
    pq.write_table(users, folder / "users.parquet")
    return pictures


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    pictures = write_log(folder / "log")
    preprocess(config(), folder / "log", folder / "examples")
    return folder / "examples", pictures


def test_the_numbers_of_the_log_are_those_of_the_examples(made):
    path, pictures = made
    examples = ExampleSet.open(path)
    batches = evaluation_dataset(examples, "test", 64, extra=True)
    found = np.concatenate([batch[0]["picture"].numpy() for batch in batches])
    last = [r["number"] for r in tiny.make_rows() if r["number"] >= 500]
    wanted = [pictures[number] or [NAN] * WIDTH for number in last]
    assert found.shape == (examples.rows("test"), WIDTH)
    assert sorted(map(repr, found.tolist())) == sorted(
        map(repr, np.float32(wanted).tolist())
    )
    (feature,) = (f for f in examples.schema.features if f.name == "picture")
    train_ = [p for p in pictures[:400] if p]
    assert (feature.mean, feature.std) == pytest.approx((np.mean(train_), np.std(train_)))
    numbers = json.loads((path / "statistics.json").read_text())["features"]["picture"]
    assert numbers["missing"] == sum(p is None for p in pictures[:400])


@pytest.mark.parametrize("trunk", ["wide_deep", "dcn_v2"])
def test_every_signature_takes_them_as_the_model_was_trained(made, trunk, tmp_path):
    train(config(trunk), made[0], tmp_path / "t")
    export(config(trunk), tmp_path / "t", tmp_path / "e")
    verdict = evaluate(config(trunk), made[0], tmp_path / "e", tmp_path / "v")
    (skew,) = (gate for gate in verdict["gates"] if gate["gate"] == "skew")
    assert skew["passed"], skew
    found = verdict["metrics"]["skew"]["signatures"]
    assert set(found) == {"serving_default", "tf_example", "candidates"}


@pytest.mark.parametrize(
    "value",
    [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [1.0, None, 3.0], [1.0, NAN, 2.0], [1e39] * 3],
)
def test_a_list_that_is_no_such_vector_is_rejected_with_the_reason(value, tmp_path):
    write_log(tmp_path / "log", spoiled=[(3, value), (9, value)])
    preprocess(config(), tmp_path / "log", tmp_path / "examples")
    rejected = ExampleSet.open(tmp_path / "examples").manifest["rows"]["rejected"]
    assert rejected == {"feature picture: not a list of 3 numbers": 2}


def test_what_is_no_list_of_numbers_is_refused():
    for kind in (pa.float64(), pa.string(), pa.list_(pa.string())):
        with pytest.raises(InputError, match="which a vector cannot read"):
            raw_type("vector", kind, "features.v: column 'v'", False)
    assert raw_type("vector", pa.list_(pa.int32()), "", False) == "float"


def test_lists_become_a_matrix_and_back():
    lists = pa.array([[9, 9], [1, 2], None, [3], [], [4, 5]], pa.list_(pa.int64()))[1:]
    matrix, bad = to_vectors(lists, 2)
    assert bad.tolist() == [False, False, True, True, False]
    np.testing.assert_array_equal(matrix[[0, 1, 4]], [[1, 2], [NAN, NAN], [4, 5]])
    again = as_matrix(as_lists(matrix)[1:].take(pa.array([3, 0])))
    np.testing.assert_array_equal(again, [[4, 5], [NAN, NAN]])
    nothing, bad = to_vectors(pa.nulls(2), 4)
    assert nothing.shape == (2, 4) and not bad.any()


def test_a_vector_is_scaled_as_one_and_missing_as_one():
    feature = Feature("v", "numeric", width=2, mean=1.0, std=2.0)
    values = tf.constant([[3.0, -1.0], [NAN, 1.0], [1e30, 1.0]])
    expected = [[1, -1, 0], [0, 0, 1], [OUTLIER, 0, 0]]
    np.testing.assert_array_equal(standardise(feature, values), expected)
    assert Feature.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature


def test_linear_weights_are_those_of_each_number():
    features = [
        Feature("a", "numeric"),
        Feature("v", "numeric", width=2),
        Feature("b", "numeric"),
    ]
    layer = FeatureInputs(features, 1, linear_units=1)
    batch = {
        "a": tf.constant([2.0]),
        "v": tf.constant([[3.0, 5.0]]),
        "b": tf.constant([7.0]),
    }
    layer(batch)
    layer.linear_kernel.assign(10.0 ** np.arange(7)[:, None])
    # of a: value, missing; of v: two values, missing; of b: value, missing
    assert layer.linear(batch).numpy() == [[2 + 3e2 + 5e3 + 7e5]]
    assert layer.linear(batch, shared=["v"]).numpy() == layer.linear(batch).numpy()
