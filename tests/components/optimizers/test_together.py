"""Embedding, experts, losses and both optimizers in one step; mixed precision too."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.embeddings import FusedEmbedding
from steadyrank.components.layers.experts import CGC
from steadyrank.components.losses import binary_cross_entropy, masked_mean
from steadyrank.components.optimizers.dense import Adagrad
from steadyrank.components.optimizers.rows import RowAdam

TASKS = ["click", "like"]


class Model(tf.keras.Model):
    def __init__(self):
        super().__init__()
        initializer = tf.keras.initializers.RandomNormal(stddev=0.01, seed=1)
        poolings = [None, "mean"]
        self.embed = FusedEmbedding([50, 20], 4, poolings, initializer=initializer)
        self.level = CGC(TASKS, 1, 1, [8, 1], shared_gate=False, activation="tanh", seed=1)

    def call(self, ids):
        x = tf.concat(self.embed(ids), axis=1)
        outputs, _ = self.level(dict.fromkeys(TASKS, x), x)
        return {task: tf.cast(y[:, 0], tf.float32) for task, y in outputs.items()}


def batch(size=64):
    random = np.random.default_rng(0)
    user, tags = random.integers(0, 50, size), random.integers(0, 20, [size, 3])
    click = (user % 2).astype(np.float32)
    like = np.where(click == 1, (user % 4 == 1), np.nan).astype(np.float32)
    return [tf.constant(user), tf.constant(tags)], {"click": click, "like": like}


def trained_losses(steps):
    model, dense, rows = Model(), Adagrad(0.3), RowAdam(0.05)
    ids, labels = batch()
    masks = {task: tf.cast(~np.isnan(y), tf.float32) for task, y in labels.items()}

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            losses = {
                task: masked_mean(
                    binary_cross_entropy(labels[task], logits),
                    masks[task],
                    tf.reduce_sum(masks[task]),
                )
                for task, logits in model(ids).items()
            }
            total = tf.add_n(list(losses.values()))
        table, weights = model.embed.embeddings, model.level.trainable_variables
        gradients = tape.gradient(total, [table, *weights])
        rows.apply_gradients([(gradients[0], table)])
        dense.apply_gradients(zip(gradients[1:], weights, strict=True))
        return losses

    history = [step() for _ in range(steps)]
    assert int(dense.nonfinite_count) == int(rows.nonfinite_count) == 0
    return {task: [float(losses[task]) for losses in history] for task in TASKS}


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_both_tasks_are_learnt(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        losses = trained_losses(60)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    for task in TASKS:
        assert losses[task][0] == pytest.approx(np.log(2), abs=0.05)
        assert losses[task][-1] < 0.5 * losses[task][0]
