"""One replica equals two: same global batch, unequal masks on its two halves."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.losses import binary_cross_entropy, masked_mean
from steadyrank.components.optimizers.dense import CLIPS, Adagrad, Adam
from steadyrank.components.optimizers.rows import RowAdagrad, RowAdam
from steadyrank.components.optimizers.schedules import WarmUp

BATCH, ROWS, DIM, STEPS = 8, 7, 3, 4


def batches():
    random = np.random.default_rng(11)
    for _ in range(STEPS):
        ids = random.integers(0, ROWS, BATCH).astype(np.int32)
        ids[0] = ids[-1] = 2  # repeated across the halves
        labels = random.integers(0, 2, BATCH).astype(np.float32)
        mask = np.array([1, 1, 1, 1, 0, 0, 1, 0], np.float32)
        labels[mask == 0] = np.nan
        yield ids, labels, mask


def new_model(dense, rows):
    random = np.random.default_rng(1)
    table = tf.Variable(random.normal(size=[ROWS, DIM], scale=0.3).astype(np.float32))
    kernel = tf.Variable(random.normal(size=[DIM, 1]).astype(np.float32))
    bias = tf.Variable(tf.zeros([1]))
    return table, [kernel, bias], dense(), rows()


def train_step(model, ids, labels, mask, count):
    table, weights, dense, rows = model
    with tf.GradientTape() as tape:
        x = tf.gather(table, ids)
        logits = tf.squeeze(x @ weights[0] + weights[1], axis=1)
        loss = masked_mean(binary_cross_entropy(labels, logits), mask, count)
    gradients = tape.gradient(loss, [table, *weights])
    rows.apply_gradients([(gradients[0], table)])
    dense.apply_gradients(zip(gradients[1:], weights, strict=True))


def result(model):
    table, weights, dense, rows = model
    reports = [*dense.clipping_factors, *rows.clipped_fractions]
    return [v.numpy() for v in map(tf.convert_to_tensor, (table, *weights, *reports))]


def train_one(make):
    model = new_model(*make)
    for ids, labels, mask in batches():
        train_step(model, *map(tf.constant, (ids, labels, mask, mask.sum())))
    return result(model)


def train_two(make, strategy):
    with strategy.scope():
        model = new_model(*make)

    @tf.function(autograph=False)
    def step(*batch):
        strategy.run(train_step, (model, *batch))

    for ids, labels, mask in batches():
        count = tf.constant(mask.sum())

        def half(context, parts=(ids, labels, mask), count=count):
            i = context.replica_id_in_sync_group * BATCH // 2
            return (*(tf.constant(p[i : i + BATCH // 2]) for p in parts), count)

        values = strategy.experimental_distribute_values_from_function(half)
        step(*unzip(strategy, values))
    return result(model)


def unzip(strategy, values):
    local = strategy.experimental_local_results(values)
    for each in zip(*local, strict=True):
        yield strategy.experimental_distribute_values_from_function(
            lambda context, each=each: each[context.replica_id_in_sync_group]
        )


MAKERS = {
    "clippy and row adam": (
        lambda: Adagrad(2.0),
        lambda: RowAdam(0.05, r=0.1, l2=1e-3),
    ),
    "adam and row adagrad": (lambda: Adam(0.1), lambda: RowAdagrad(0.5, r=0.01)),
    "schedules": (lambda: Adagrad(WarmUp(2.0, 3)), lambda: RowAdam(WarmUp(0.1, 9))),
    **{
        clip: (
            lambda clip=clip: Adagrad(1.0, clip=clip),
            lambda: RowAdagrad(0.5, clip="clippy"),
        )
        for clip in CLIPS
        if clip in ("global_norm", "agc", "lamb")
    },
}


@pytest.mark.parametrize("name", MAKERS)
def test_one_replica_equals_two(name, two_replicas):
    one = train_one(MAKERS[name])
    two = train_two(MAKERS[name], two_replicas)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    if name == "clippy and row adam":  # the comparison must see both clips at work
        assert min(one[3:5]) < 1 and one[5] > 0


def test_a_poisoned_replica_poisons_no_weight(two_replicas):
    with two_replicas.scope():
        model = new_model(*MAKERS["clippy and row adam"])

    @tf.function(autograph=False)
    def step():
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        logits = tf.where(first, [np.inf, 0.0], [0.0, 0.0])
        labels, ids = tf.constant([1.0, 0.0]), tf.constant([2, 3])
        table, weights, dense, rows = model
        values = logits[:, tf.newaxis] * tf.ones([2, DIM]) + labels[:, tf.newaxis]
        rows.apply_gradients([(tf.IndexedSlices(values, ids, [ROWS, DIM]), table)])
        dense.apply_gradients([(tf.ones([DIM, 1]) * logits[0], weights[0])])

    before = result(model)
    two_replicas.run(step)
    table, weights, dense, rows = model
    assert int(dense.nonfinite_count) == 1 and int(rows.nonfinite_count) == 1
    np.testing.assert_array_equal(weights[0].numpy(), before[1])
    np.testing.assert_array_equal(table.numpy()[2], before[0][2])
