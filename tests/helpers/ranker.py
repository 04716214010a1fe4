"""Small rankers, and batches for them."""

import numpy as np
import tensorflow as tf

from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from steadyrank.models.features import Feature, Task

NAN = float("nan")


FEATURES = (
    Feature("user", "categorical", dim=4, vocabulary_size=9),
    Feature("tags", "categorical", dim=4, max_values=2, vocabulary_size=5),
    Feature("price", "numeric", mean=1.0, std=2.0),
    Feature("age", "numeric", dim=3, boundaries=(0.0, 1.0)),
)


TASKS = (
    Task("click", mean=0.3),
    Task("like", given="click", mean=0.02, weight=2.0),
    Task("watch", "regression", "click", "log1p", 0.5, mean=1.5, std=0.8),
)


PLE = {
    "trunk": "ple",
    "levels": 2,
    "shared_experts": 1,
    "task_experts": 1,
    "expert_units": [8],
    "tower_units": [4],
}


BOTTOM = {
    "trunk": "shared_bottom",
    "bottom_units": [8],
    "front": "cross",
    "layer_norm": True,
    "tower_units": [],
}


SCORE = "click * (like + 0.5) ** 0.5 + log1p(watch)"


def build(settings=PLE, seed=3, tasks=TASKS, clip="clippy"):
    model = build_model(FEATURES, tasks, SCORE, settings, seed=seed)
    model.compile(DENSE_OPTIMIZERS["adagrad"](0.2, clip=clip), ROW_OPTIMIZERS["adam"](0.05))
    return model


def batch_of(rows, seed=0, like=True):
    """A batch in which the tasks' sample spaces differ between its two halves."""
    random = np.random.default_rng(seed)
    features = {
        "user": random.integers(0, 11, rows).astype(np.int32),
        "tags": random.integers(0, 7, (rows, 2)).astype(np.int32),
        "price": random.normal(size=rows).astype(np.float32),
        "age": random.normal(size=rows).astype(np.float32),
    }
    features["price"][random.random(rows) < 0.3] = NAN
    features["age"][random.random(rows) < 0.3] = NAN
    click = np.where(np.arange(rows) < rows // 2, 1, random.random(rows) < 0.3)
    labels = {
        "click": click.astype(np.float32),
        "like": (random.random(rows) < 0.5).astype(np.float32),
        "watch": random.lognormal(size=rows).astype(np.float32),
    }
    labels["watch"][::3] = NAN
    masks = {
        "click": np.ones(rows, np.float32),
        "like": click.astype(np.float32) * like,
        "watch": (click * (labels["watch"] == labels["watch"])).astype(np.float32),
    }
    return tuple(
        {k: tf.constant(v) for k, v in part.items()} for part in (features, labels, masks)
    )


def weights_of(model):
    variables = [*model.dense_variables, *model.embedding_variables]
    return [v.numpy() for v in variables]


SPECS = (
    {
        "user": tf.TensorSpec([None], tf.int32),
        "tags": tf.TensorSpec([None, 2], tf.int32),
        "price": tf.TensorSpec([None]),
        "age": tf.TensorSpec([None]),
    },
    {task.name: tf.TensorSpec([None]) for task in TASKS},
    {task.name: tf.TensorSpec([None]) for task in TASKS},
)


def half(batch):
    """A replica's half of a batch; the second is the smaller one, or has no row."""
    rows = tf.shape(batch[0]["user"])[0]
    size = (rows + 1) // 2
    start = size * tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.nest.map_structure(lambda x: x[start : start + size], batch)
