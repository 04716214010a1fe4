"""A loss of the order within groups under two replicas, each with groups of its own."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from steadyrank.models.features import GROUP, Task
from tests.helpers.ranker import BOTTOM, FEATURES, batch_of, half


def build(ranking):
    tasks = (Task("click", mean=0.3, ranking=ranking, ranking_weight=2.0),)
    model = build_model(FEATURES, tasks, "click", BOTTOM, seed=3)
    model.compile(DENSE_OPTIMIZERS["adagrad"](0.2), ROW_OPTIMIZERS["adagrad"](0.05))
    return model


def batch(rows=40):
    """Groups of four rows, both labels in each, none of them in both halves."""
    features, labels, masks = batch_of(rows)
    labels["click"] = tf.constant(np.arange(rows) % 3 == 0, tf.float32)
    labels[GROUP] = tf.constant(np.arange(rows) // 4, tf.int64)
    return features, {n: labels[n] for n in ("click", GROUP)}, {"click": masks["click"]}


@pytest.mark.parametrize("ranking", ["pairwise", "jrc"])
def test_two_replicas_move_as_one(two_replicas, ranking):
    rows = batch()
    alone, plain = build(ranking), build("none")
    loss = alone.train_step(rows)["losses"]["click"]
    assert loss > 1.1 * plain.train_step(rows)["losses"]["click"]
    with two_replicas.scope():
        model = build(ranking)
    found = two_replicas.run(
        tf.function(lambda: model.train_step(half(rows)), autograph=False)
    )
    parts = two_replicas.experimental_local_results(found["losses"]["click"])
    assert sum(map(float, parts)) == pytest.approx(float(loss), rel=1e-5)
    for ours, theirs in zip(
        alone.trainable_variables, model.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
