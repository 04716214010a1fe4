"""Masked losses: the mean over a task's own samples, and no NaN from behind a mask."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.losses import (
    binary_cross_entropy,
    distilled,
    gamma,
    masked_mean,
    product_cross_entropy,
    squared_error,
    tweedie,
    weighted_logistic,
)
from tests.helpers import reference

NAN = float("nan")
OF_MEANS = {  # loss and its published form, of y and the mean m
    "tweedie": (
        lambda y, z: tweedie(y, z, 1.3),
        lambda y, m: -y * m**-0.3 / -0.3 + m**0.7 / 0.7,
    ),
    "gamma": (gamma, lambda y, m: y / m + np.log(m)),
    "weighted_logistic": (
        weighted_logistic,
        lambda y, m: -y * np.log(m / (1 + m)) - np.log(1 / (1 + m)),
    ),
}
LOSSES = [binary_cross_entropy, squared_error, *(loss for loss, _ in OF_MEANS.values())]


def test_binary_cross_entropy_equals_log_loss():
    labels, logits = np.array([1.0, 0, 1, 0], "f"), np.array([2.0, -1, -3, 0.5], "f")
    mean = np.mean(binary_cross_entropy(labels, tf.constant(logits)))
    probabilities = 1 / (1 + np.exp(-logits.astype(float)))
    assert mean == pytest.approx(reference.log_loss(labels, probabilities), rel=1e-6)
    extreme = binary_cross_entropy(tf.constant([0.0, 1.0]), tf.constant([1e4, -1e4]))
    np.testing.assert_array_equal(extreme, [1e4, 1e4])


def test_squared_error():
    found = squared_error(tf.constant([1.0, NAN, 3.0]), tf.constant([2.0, 1.0, 1.0]))
    np.testing.assert_array_equal(found, [1, np.nan, 4])


@pytest.mark.parametrize("name", OF_MEANS)
def test_losses_of_means_are_as_published_and_least_at_the_mean(name):
    loss, published = OF_MEANS[name]
    random = np.random.default_rng(1)
    values = random.exponential(3.0, 5000) * (random.random(5000) < 0.4) + (name == "gamma")
    z = random.normal(size=5000)
    labels, means = tf.constant(values, tf.float64), tf.constant(z, tf.float64)
    np.testing.assert_allclose(
        loss(labels, means), published(values, np.exp(z)), rtol=1e-9, atol=1e-9
    )
    grid = np.linspace(0.2, 4.0, 400)
    found = [float(tf.reduce_mean(loss(labels, tf.fill([5000], np.log(m))))) for m in grid]
    assert grid[np.argmin(found)] == pytest.approx(values.mean(), abs=0.02)


def test_product_cross_entropy_is_that_of_the_product():
    logits = np.array([[0.3, -1.0], [2.0, 3.0], [-4.0, 0.0], [9.0, 8.0]])
    labels = np.array([1.0, 0, 0, 1])
    p = np.prod(1 / (1 + np.exp(-logits)), axis=1)
    wanted = -labels * np.log(p) - (1 - labels) * np.log(1 - p)
    found = product_cross_entropy(tf.constant(labels), tf.constant(logits))
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_product_cross_entropy_and_its_gradient_are_finite(label):
    logits = tf.Variable([[a, b] for a in (-90.0, 0, 90) for b in (-90.0, 0, 90)])
    with tf.GradientTape() as tape:
        loss = product_cross_entropy(tf.fill([9], label), logits)
    gradient = tape.gradient(loss, logits)
    assert np.isfinite(loss).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_hidden_labels_reach_neither_loss_nor_gradient(loss):
    outputs = tf.Variable([0.3, -2.0, 5.0, 1.0])
    mask = tf.constant([1.0, 0.0, 1.0, 0.0])
    results = []
    for hidden in (NAN, 0.0, 1e30):
        labels = tf.constant([1.0, hidden, 0.0, hidden])
        with tf.GradientTape() as tape:
            value = masked_mean(loss(labels, outputs), mask, 2.0)
        results.append((float(value), tape.gradient(value, outputs).numpy()))
        own = tf.gather(loss(labels, outputs), [0, 2])
        assert value == tf.reduce_mean(own)
    for value, gradient in results:
        assert value == results[0][0] and np.isfinite(value)
        np.testing.assert_array_equal(gradient, results[0][1])
        assert gradient[1] == gradient[3] == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_task_without_samples_is_zero_with_zero_gradient(loss):
    outputs, labels = tf.Variable([0.3, -2.0]), tf.constant([NAN, NAN])
    with tf.GradientTape() as tape:
        value = masked_mean(loss(labels, outputs), tf.zeros([2]), 0.0)
    assert value == 0
    np.testing.assert_array_equal(tape.gradient(value, outputs), [0, 0])


@pytest.mark.parametrize("loss", LOSSES)
def test_a_forgotten_mask_is_loud(loss):
    value = masked_mean(loss(tf.constant([NAN]), tf.constant([0.1])), tf.ones([1]), 1)
    assert np.isnan(value)


def test_replicas_add_up():
    values, mask = tf.constant([1.0, 2.0, 3.0, 4.0]), tf.constant([1.0, 1.0, 1.0, 0.0])
    halves = [masked_mean(values[i : i + 2], mask[i : i + 2], 3) for i in (0, 2)]
    assert float(sum(halves)) == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["binary", *OF_MEANS])
def test_a_label_mixed_with_the_teachers_is_a_mixture_of_losses(name):
    loss = OF_MEANS[name][0] if name in OF_MEANS else binary_cross_entropy
    y, q = tf.constant([1.0, 0, 1, NAN, 1]), tf.constant([0.2, 0.9, NAN, 0.5, 1])
    z = tf.constant([0.3, -2.0, 1.0, 0.1, 0.0])
    found = loss(distilled(y, q, 0.3), z)
    wanted = 0.7 * loss(y, z) + 0.3 * loss(q, z)
    known = [0, 1, 4]
    np.testing.assert_allclose(
        tf.gather(found, known), tf.gather(wanted, known), rtol=1e-5, atol=1e-6
    )
    assert float(found[2]) == pytest.approx(float(loss(y, z)[2]))  # the label alone
    assert np.isnan(found[3])  # without a label a row is in no sample space


def test_the_square_of_a_mixture_pulls_as_both_do():
    y, q, z = tf.constant([3.0]), tf.constant([1.0]), tf.Variable([0.5])
    with tf.GradientTape(persistent=True) as tape:
        mixed = squared_error(distilled(y, q, 0.25), z)
        both = 0.75 * squared_error(y, z) + 0.25 * squared_error(q, z)
    np.testing.assert_allclose(tape.gradient(mixed, z), tape.gradient(both, z), rtol=1e-6)
