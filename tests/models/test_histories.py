"""Rankers that read histories: the same served as trained, one replica or two."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers.rows import RowAdagrad
from steadyrank.models.build import DENSE_OPTIMIZERS, HISTORIES, build_model
from steadyrank.models.features import Feature, Task

ROWS, LENGTH, ITEMS = 12, 5, 9
FEATURES = (
    Feature("user", "categorical", dim=4, vocabulary_size=5),
    Feature("tags", "categorical", dim=4, max_values=LENGTH, vocabulary_size=ITEMS),
    Feature(
        "past", "sequence", dim=4, max_values=LENGTH, vocabulary_size=ITEMS, table="item"
    ),
    Feature("topics", "categorical", dim=4, max_values=LENGTH, vocabulary_size=ITEMS),
    Feature("item", "categorical", dim=4, vocabulary_size=ITEMS),
    Feature("price", "numeric", mean=1.0, std=2.0),
)
TASKS = (Task("click", mean=0.3),)
TRUNKS = {
    "deepfm": {"trunk": "deepfm", "embedding_dim": 4, "deep_units": [4]},
    "shared_bottom": {
        "trunk": "shared_bottom",
        "bottom_units": [8],
    },
}


def build(trunk, encoder, blocks=None):
    settings = {**TRUNKS[trunk], "tower_units": [4]}
    settings["history"] = {"encoder": encoder, "blocks": blocks}
    return build_model(FEATURES, TASKS, "click", settings, seed=3)


def batch(seed=0):
    random = np.random.default_rng(seed)
    lengths = random.integers(0, LENGTH + 1, (ROWS, 1))
    past = random.integers(1, ITEMS + 2, (ROWS, LENGTH))
    return {
        "user": random.integers(0, 7, ROWS).astype(np.int32),
        "tags": random.integers(0, ITEMS + 2, (ROWS, LENGTH)).astype(np.int32),
        "topics": random.integers(0, ITEMS + 2, (ROWS, LENGTH)).astype(np.int32),
        "past": (past * (np.arange(LENGTH) >= LENGTH - lengths)).astype(np.int32),
        "item": random.integers(0, ITEMS + 2, ROWS).astype(np.int32),
        "price": random.normal(size=ROWS).astype(np.float32),
    }


def awake(model):
    """Weights away from zeros, alphas too, and embeddings of a size that tells."""
    random = np.random.default_rng(5)
    for weight in model.trainable_variables:
        weight.assign_add(random.normal(0, 0.3, weight.shape))
    return model


@pytest.mark.parametrize("encoder", HISTORIES)
@pytest.mark.parametrize(
    ("trunk", "shared"),
    [
        ("shared_bottom", ["user", "past"]),
        ("shared_bottom", ["past"]),
        ("deepfm", ["user", "past"]),
    ],
)
def test_one_history_and_many_items_score_as_rows_do(encoder, trunk, shared):
    model, features = awake(build(trunk, encoder)), batch()
    for name in shared:
        features[name] = np.repeat(features[name][1:2], ROWS, axis=0)
    assert np.count_nonzero(features["past"][0]) > 1
    features = tf.nest.map_structure(tf.constant, features)
    once = {n: v[:1] if n in shared else v for n, v in features.items()}
    wanted = model.head.predict_tasks(features)
    for cuts in (None, model.head.cut_kernels(once, shared)):
        found = model.head.predict_candidates(once, shared, cuts)
        for name, values in wanted.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("encoder", HISTORIES)
def test_the_order_counts_for_all_but_the_mean_and_the_attention(encoder):
    model, features = awake(build("shared_bottom", encoder)), batch()
    click = []
    for past in ([0, 3, 4, 5, 6], [0, 4, 3, 6, 5]):
        features["past"][:] = past
        click.append(model.head.predict_tasks(features)["click"].numpy())
    moved = np.abs(click[0] - click[1]).max()
    assert (moved > 1e-4) == (encoder in ("nextitnet", "sasrec"))


def test_blocks_are_counted():
    shallow, deep = (len(build("deepfm", "sasrec", b).dense_variables) for b in (1, 3))
    usual = len(build("deepfm", "sasrec").dense_variables)
    assert (deep - shallow) / 2 == usual - shallow > 0


def compiled(encoder):
    model = build("shared_bottom", encoder)
    model.compile(DENSE_OPTIMIZERS["adagrad"](0.1), RowAdagrad(0.05))
    return model


def labelled(seed):
    features, random = batch(seed), np.random.default_rng([seed, 1])
    labels = {t.name: random.integers(0, 2, ROWS).astype(np.float32) for t in TASKS}
    masks = {name: np.ones(ROWS, np.float32) for name in labels}
    return tf.nest.map_structure(tf.constant, (features, labels, masks))


def test_two_replicas_equal_one(two_replicas):
    one = compiled("attention")
    with two_replicas.scope():
        two = compiled("attention")
    started = [v.numpy() for v in one.dense_variables]
    step = tf.function(
        lambda data: two_replicas.run(two.train_step, (data,)), autograph=False
    )
    half = ROWS // 2
    for seed in range(3):
        data = labelled(seed)
        one.train_step(data)
        parts = two_replicas.experimental_distribute_values_from_function(
            lambda c, data=data: tf.nest.map_structure(
                lambda x: x[c.replica_id_in_sync_group * half :][:half], data
            )
        )
        step(parts)
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    moved = [
        v.name
        for v, start in zip(one.dense_variables, started, strict=True)
        if "history_past" in v.name and np.abs(v - start).max() > 0
    ]
    assert moved
