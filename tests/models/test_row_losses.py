"""Which rows train a task, and by what, against counting by hand."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.features import Task
from steadyrank.models.row_losses import row_losses
from steadyrank.models.serving_head import served

NAN = float("nan")
CHAIN = (
    Task("click"),
    Task("like", given="click", space="all"),
    Task("share", given="like", space="all"),
)
#         click, like, share: the masks are those of today's sample spaces
ROWS = {
    "not clicked": ((0, NAN, NAN), (1, 0, 0)),
    "liked, it says, without a click": ((0, 1, NAN), (1, 0, 0)),
    "not liked": ((1, 0, NAN), (1, 1, 0)),
    "liked": ((1, 1, 0), (1, 1, 1)),
    "shared": ((1, 1, 1), (1, 1, 1)),
    "nobody knows of a like": ((1, NAN, NAN), (1, 0, 0)),
    "nor of a click": ((NAN, NAN, NAN), (0, 0, 0)),
}
LOGITS = np.array([[0.2, -0.3, 0.5]] * len(ROWS), "f") + np.arange(len(ROWS), dtype="f")[
    :, None
] * np.float32(0.1)


def of_rows(numbers) -> dict:
    columns = np.array(numbers, "f").T
    names = (task.name for task in CHAIN)
    return {n: tf.constant(c) for n, c in zip(names, columns, strict=True)}


def test_a_chain_is_trained_on_every_row_whose_end_is_known():
    labels, masks = (of_rows(each) for each in zip(*ROWS.values(), strict=True))
    found = row_losses(CHAIN, labels, masks, of_rows(LOGITS))
    assert found["click"][1].numpy().tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert found["like"][1].numpy().tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert found["share"][1].numpy().tolist() == [1, 1, 1, 1, 1, 0, 0]
    sigmoid = 1 / (1 + np.exp(-LOGITS.astype(float)))
    for task, deep, came in (("like", 2, (0, 0, 0, 1, 1)), ("share", 3, (0, 0, 0, 0, 1))):
        p = sigmoid[:5, :deep].prod(axis=1)
        wanted = [-np.log(q if came_ else 1 - q) for q, came_ in zip(p, came, strict=True)]
        np.testing.assert_allclose(found[task][0][:5], wanted, rtol=1e-5)


def test_what_is_not_known_moves_nothing():
    labels, masks = (of_rows(each) for each in zip(*ROWS.values(), strict=True))
    logits = {name: tf.Variable(value) for name, value in of_rows(LOGITS).items()}
    with tf.GradientTape() as tape:
        found = row_losses(CHAIN, labels, masks, logits)
        total = sum(
            tf.reduce_sum(tf.where(mask > 0, loss, 0.0)) for loss, mask in found.values()
        )
    for name, gradient in tape.gradient(total, logits).items():
        moved = np.abs(gradient.numpy()) > 0
        assert np.isfinite(gradient).all()
        assert moved.tolist() == [True] * 5 + [name == "click", False]


@pytest.mark.parametrize("loss", ["tweedie", "gamma", "weighted_logistic"])
def test_a_mean_is_learned_in_its_own_unit_and_served_in_it(loss):
    """Gradient descent on one number ends at the mean of what was seen."""
    task = Task("watch", "regression", mean=40_000.0, std=9e4, loss=loss)
    values = np.random.default_rng(0).exponential(25_000.0, 400).astype("f") + 1
    labels, masks = {"watch": tf.constant(values)}, {"watch": tf.ones(400)}
    z = tf.Variable(0.0)
    assert float(served(task, z)) == pytest.approx(40_000)  # before any step
    for _ in range(300):
        with tf.GradientTape() as tape:
            outputs = {"watch": tf.fill([400], z)}
            value = tf.reduce_mean(row_losses([task], labels, masks, outputs)["watch"][0])
        z.assign_sub(0.5 * tape.gradient(value, z))
    assert float(served(task, z)) == pytest.approx(values.mean(), rel=1e-3)
    assert float(served(task, z, 1.1)) == pytest.approx(1.1 * values.mean(), rel=1e-3)
