"""Masked losses: the mean over a task's own samples, and no NaN from behind a mask."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.losses import binary_cross_entropy, masked_mean, squared_error
from tests import reference

NAN = float("nan")
LOSSES = [binary_cross_entropy, squared_error]


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
