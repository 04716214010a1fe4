"""Features to inputs, by hand."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.history import MeanHistory
from steadyrank.models.features import Feature
from steadyrank.models.inputs import FeatureInputs, row_ids, standardise

NAN, INF = float("nan"), float("inf")


def test_a_number_is_standardised_and_marked_where_missing():
    feature = Feature("x", "numeric", mean=2.0, std=4.0)
    found = standardise(feature, tf.constant([2.0, 10.0, -6.0, NAN, INF, -INF]))
    expected = [[0, 0], [2, 0], [-2, 0], [0, 1], [0, 1], [0, 1]]
    np.testing.assert_allclose(found, expected)


def test_an_outlier_is_kept_within_ten_deviations():
    feature = Feature("x", "numeric", mean=1.0, std=2.0)
    found = standardise(feature, tf.constant([21.0, 21.5, 1e30, -3e38, -18.0]))
    np.testing.assert_allclose(found[:, 0], [10, 10, 10, -10, -9.5])
    np.testing.assert_array_equal(found[:, 1], np.zeros(5))


def test_log1p_keeps_the_sign():
    feature = Feature("x", "numeric", transform="log1p", mean=0.5, std=2.0)
    values = [0.0, math.e - 1, 1 - math.e, 100.0]
    found = standardise(feature, tf.constant(values))[:, 0]
    logs = [math.copysign(math.log(1 + abs(v)), v) for v in values]
    np.testing.assert_allclose(found, [(x - 0.5) / 2 for x in logs], rtol=1e-6)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [("identity", [1.0, 1.0, 3.0, 4.0, 4.0]), ("log1p", np.log1p([2.0, 2, 6, 8, 8]) / 2)],
)
def test_a_clipped_number_is_at_most_its_limits(transform, expected):
    feature = Feature("x", "numeric", clip=(2.0, 8.0), std=2.0, transform=transform)
    found = standardise(feature, tf.constant([-1e30, 2.0, 6.0, 8.0, 3e38, NAN]))
    np.testing.assert_allclose(found[:, 0], [*expected, 0.0], rtol=1e-6)
    assert found[:, 1].numpy().tolist() == [0, 0, 0, 0, 0, 1]
    assert Feature.from_dict(json.loads(json.dumps(feature.to_dict()))) == feature


def test_the_bucket_of_a_number_by_hand():
    feature = Feature("x", "numeric", boundaries=(1.0, 5.0, 9.0))
    assert feature.rows == 5
    values = tf.constant([0.9, 1.0, 4.9, 5.0, 9.0, 1e9, -1e9, NAN, INF])
    assert row_ids(feature, values).numpy().tolist() == [1, 2, 2, 3, 4, 4, 1, 0, 0]


def test_features_come_in_their_order_whatever_their_kind():
    features = [
        Feature("n", "numeric"),
        Feature("c", "categorical", dim=2, vocabulary_size=3),
        Feature("b", "numeric", dim=3, boundaries=(0.0,)),
        Feature("m", "categorical", dim=2, max_values=2, vocabulary_size=1, pooling="sum"),
    ]
    layer = FeatureInputs(features, seed=1)
    batch = {
        "n": tf.constant([1.5, NAN]),
        "c": tf.constant([4, 0]),
        "b": tf.constant([-1.0, NAN]),
        "m": tf.constant([[2, 1], [0, 0]]),
        "unknown": tf.constant(["x", "y"]),
    }
    layer(batch)
    two, three = (layer.tables[width].embeddings for width in ("2", "3"))
    assert two.shape == (5 + 3, 2)
    assert three.shape == (3, 3)
    two.assign(np.arange(16).reshape(8, 2))
    three.assign(100.0 + np.arange(9).reshape(3, 3))
    expected = [
        [1.5, 0, 8, 9, 103, 104, 105, 14 + 12, 15 + 13],
        [0, 1, 0, 1, 100, 101, 102, 10, 11],
    ]
    np.testing.assert_allclose(layer(batch), expected)
    assert {v.ref() for v in layer.embedding_variables} == {two.ref(), three.ref()}


def test_a_sequence_between_features_of_several_values_keeps_its_place():
    """Kernels are cut by column: ``call`` must lay the vector out as ``parts`` do."""
    several = [
        Feature(name, "categorical", dim=2, max_values=2, vocabulary_size=3)
        for name in ("tags", "topics")
    ]
    past = Feature("past", "sequence", dim=2, max_values=2, vocabulary_size=3, table="item")
    item = Feature("item", "categorical", dim=2, vocabulary_size=3)
    features = [item, several[0], past, several[1]]
    layer = FeatureInputs(features, seed=1, encoders={"past": MeanHistory()})
    batch = {f.name: tf.constant([[2, 3], [4, 0]]) for f in features}
    batch["item"] = tf.constant([2, 3])
    found = layer(batch)
    parts = layer.parts(batch)
    assert list(parts) == ["item", "tags", "past", "topics"]
    np.testing.assert_array_equal(found, tf.concat(list(parts.values()), axis=1))


def lists(**kinds):
    """An id, lists of three of the kinds named, and an id; all of one width."""
    usual = {"dim": 2, "vocabulary_size": 7}
    several = [
        Feature(name, "sequence", max_values=3, table="item", **usual)
        if kind == "sequence"
        else Feature(name, "categorical", max_values=3, pooling=kind, **usual)
        for name, kind in kinds.items()
    ]
    ends = [Feature(name, "categorical", **usual) for name in ("item", "tab")]
    return [ends[0], *several, ends[1]]


@pytest.mark.parametrize(
    "features",
    [
        lists(a="mean", b="mean"),
        lists(a="mean", b="sum"),
        lists(a="sum", b="mean", c="sum"),
        lists(a="mean", past="sequence"),
    ],
    ids=["alike", "two poolings", "in turn", "a sequence"],
)
def test_what_a_step_gathers_is_what_the_layer_reads(features):
    """Linear weights add up whatever the vectors' pooling: another order of rows."""
    layer = FeatureInputs(features, 1, linear_units=2, encoders={"past": MeanHistory()})
    draw = np.random.default_rng(0)
    batch = {
        f.name: tf.constant(draw.integers(0, 9, (5, 3) if f.max_values else 5), tf.int32)
        for f in features
    }
    layer(batch)
    for table in layer.embedding_variables:
        table.assign(draw.normal(size=table.shape))
    located = layer.locate(batch)
    gathered = {
        name: tf.gather(layer.tables[name].embeddings, rows)
        for name, rows in located.items()
    }
    np.testing.assert_allclose(layer(batch, gathered), layer(batch), rtol=1e-6)
    np.testing.assert_allclose(
        layer.linear(batch, gathered), layer.linear(batch), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("oov_buckets", [1, 3])
def test_rows_of_a_table(oov_buckets):
    feature = Feature("c", "categorical", oov_buckets=oov_buckets, vocabulary_size=7)
    assert feature.rows == 1 + oov_buckets + 7
