"""What biased the log is added while a model trains, and is no part of what it serves."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from steadyrank.models.features import Feature
from tests.helpers import ranker

POSITION = Feature("position", "categorical", dim=4, vocabulary_size=5, reference=2.0)
HEIGHT = Feature("height", "numeric", mean=1.0, std=2.0, reference=1.5)
FEATURES = (*ranker.FEATURES, POSITION, HEIGHT)


def build(settings=ranker.BOTTOM):
    model = build_model(FEATURES, ranker.TASKS, ranker.SCORE, settings, seed=3)
    model.compile(DENSE_OPTIMIZERS["adam"](0.05), ROW_OPTIMIZERS["adam"](0.05))
    return model


def batch(rows, seed=0):
    features, labels, masks = ranker.batch_of(rows, seed)
    random = np.random.default_rng(seed)
    features["position"] = tf.constant(random.integers(0, 7, rows), tf.int32)
    features["height"] = tf.constant(random.normal(size=rows), tf.float32)
    return features, labels, masks


@pytest.mark.parametrize("settings", [ranker.PLE, {"trunk": "lr"}, {"trunk": "fm"}])
def test_the_reference_adds_nothing_and_another_value_the_difference(settings):
    dim = {"embedding_dim": 4} if settings["trunk"] == "fm" else {}
    if settings["trunk"] == "fm":
        features = tuple(f for f in FEATURES if f.name not in ("age", "price"))
    else:
        features = FEATURES
    model = build_model(features, ranker.TASKS, "click", settings | dim, seed=3)
    model.compile(DENSE_OPTIMIZERS["adam"](0.05), ROW_OPTIMIZERS["adam"](0.05))
    rows = batch(30)
    for _ in range(3):
        model.train_step(rows)
    features = rows[0]
    served = model(features)
    biased = model(features, training=True)
    same = features | {
        "position": tf.fill([30], 2),
        "height": tf.fill([30], 1.5),
    }
    at_reference = model(same, training=True)
    added = model.bias_tower(features)
    for task in served:
        np.testing.assert_allclose(at_reference[task], served[task], atol=1e-6)
        np.testing.assert_allclose(biased[task], served[task] + added[task], atol=1e-6)
        assert np.abs(added[task]).max() > 1e-3


def test_what_is_served_reads_no_bias():
    model = build()
    features, labels, masks = batch(10)
    model.train_step((features, labels, masks))
    logged, alone = model.head.predict_logged(features), model(features)
    added = model.bias_tower(features)["click"]
    wanted = tf.sigmoid(alone["click"] + added)
    np.testing.assert_allclose(logged["click"], wanted, atol=1e-6)
    assert np.abs(added).max() > 1e-3
    served = model.head.predict_tasks(features)
    bare = {n: v for n, v in features.items() if n not in ("position", "height")}
    for name, values in model.head.predict_tasks(bare).items():
        np.testing.assert_array_equal(values, served[name])


def test_a_bias_is_learned_in_its_tower_and_not_in_the_net():
    """Clicks hang on the position alone: the net, which has the reference's, stays flat."""
    features = (ranker.FEATURES[0], POSITION)
    model = build_model(features, ranker.TASKS[:1], "click", ranker.BOTTOM, seed=3)
    model.compile(DENSE_OPTIMIZERS["adam"](0.02), ROW_OPTIMIZERS["adam"](0.02))
    step = tf.function(model.train_step, autograph=False)
    random, rates = np.random.default_rng(1), np.array([0.5, 0.5, 0.6, 0.4, 0.2, 0.1, 0.05])
    for _ in range(150):
        position = random.integers(2, 7, 256).astype(np.int32)
        label = (random.random(256) < rates[position]).astype(np.float32)
        x = {
            "user": tf.constant(random.integers(0, 11, 256), tf.int32),
            "position": position,
        }
        step((x, {"click": tf.constant(label)}, {"click": tf.ones(256)}))
    served = model.head.predict_tasks({"user": tf.range(2, 11)})["click"].numpy()
    assert abs(served.mean() - 0.6) < 0.06
    at_last = {"user": tf.range(2, 11), "position": tf.fill([9], 6)}
    there = tf.sigmoid(model(at_last, training=True)["click"]).numpy()
    assert there.mean() < 0.1


def test_two_replicas_move_the_bias_as_one(two_replicas):
    rows = batch(40)
    alone = build()
    alone.train_step(rows)
    with two_replicas.scope():
        model = build()
    halves = tf.function(lambda rows: model.train_step(ranker.half(rows)), autograph=False)
    two_replicas.run(halves, (rows,))
    for ours, theirs in zip(
        alone.bias_tower.variables, model.bias_tower.variables, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)  # Adam, of gradients near 0
