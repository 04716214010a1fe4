"""Task weights against naive NumPy, hand-worked numbers and what must always hold."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.components import task_weights


def vector(*numbers):
    return tf.constant(numbers, tf.float32)


def test_decay_by_hand():
    found = task_weights.decayed(vector(1, 2), vector(0.5, 1.0), 3)
    np.testing.assert_allclose(found, [0.125, 2.0])


def test_uncertainty_by_hand_and_at_its_rest():
    s, losses, c = vector(0.0, math.log(4)), vector(0.7, 2.0), vector(1.0, 0.5)
    np.testing.assert_allclose(
        task_weights.uncertainty_weights(s, c), [1.0, 0.125], rtol=1e-6
    )
    moved = task_weights.uncertainty_step(s, losses, c, 0.1)
    # gradients 1/2 - 0.7 and 1/2 - 0.125 * 2
    np.testing.assert_allclose(moved, [0.02, math.log(4) - 0.025], rtol=1e-5)
    rest = tf.math.log(2 * c * losses)  # c e^-s L = 1/2
    np.testing.assert_allclose(
        task_weights.uncertainty_step(rest, losses, c, 0.1), rest, atol=1e-6
    )
    idle = task_weights.uncertainty_step(s, vector(0, 0), c, 0.1)
    np.testing.assert_array_equal(idle, s)


def test_one_spike_moves_uncertainty_by_the_rate_at_most():
    s, c = vector(0.0, 0.3, 0.0), vector(1.0, 1.0, 1.0)
    moved = task_weights.uncertainty_step(s, vector(3313, np.inf, np.nan), c, 0.01)
    np.testing.assert_allclose(moved, [0.01, 0.3, 0.0], rtol=1e-6)


def test_uncertainty_step_is_the_gradient_of_the_papers_loss():
    s, losses, c = vector(0.3, -0.4), vector(0.7, 2.0), vector(1.0, 0.5)
    with tf.GradientTape() as tape:
        tape.watch(s)
        loss = tf.reduce_sum(c * tf.exp(-s) * losses + s / 2)
    expected = s - 0.1 * tape.gradient(loss, s)
    found = task_weights.uncertainty_step(s, losses, c, 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def naive_gradnorm(w, norms, ratios, alpha, rate):
    norms = [n / (sum(norms) / len(norms)) for n in norms]
    mean = sum(a * b for a, b in zip(w, norms, strict=True)) / len(w)
    moved = []
    for a, b, r in zip(w, norms, ratios, strict=True):
        target = mean * (r / (sum(ratios) / len(ratios))) ** alpha
        slope = b if a * b > target else -b if a * b < target else 0.0
        moved.append(max(a - rate * slope, 1e-3))
    return [len(w) * m / sum(moved) for m in moved]


@given(
    st.lists(st.tuples(*[st.floats(0.1, 3)] * 3), min_size=2, max_size=5),
    st.floats(0, 2),
)
@settings(max_examples=30)
def test_gradnorm_equals_the_naive_one(tasks, alpha):
    w, norms, ratios = (np.array(column, np.float32) for column in zip(*tasks, strict=True))
    expected = naive_gradnorm(w.tolist(), norms.tolist(), ratios.tolist(), alpha, 0.05)
    found = task_weights.gradnorm_step(w, norms, ratios, alpha, rate=0.05).numpy()
    assert found.sum() == pytest.approx(len(tasks), rel=1e-5)
    assert (found > 0).all()
    gaps = w * norms / np.mean(w * norms) - (ratios / ratios.mean()) ** alpha
    if np.abs(gaps).min() > 1e-4:  # else rounding decides a sign
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_gradnorm_makes_norms_alike():
    w, norms = tf.ones(3), tf.constant([1.0, 4.0, 0.5])
    step = tf.function(task_weights.gradnorm_step, autograph=False)
    for _ in range(2000):
        w = step(w, norms, tf.ones(3), 1.5, rate=0.005)
    balanced = w.numpy() * norms.numpy()
    np.testing.assert_allclose(balanced / balanced.mean(), 1, atol=0.06)


def test_gradnorm_without_gradients_stays():
    w = vector(0.5, 1.5)
    found = task_weights.gradnorm_step(w, vector(0, 0), vector(0, 0), 1.5, rate=0.1)
    np.testing.assert_allclose(found, w)


def test_dwa_by_hand():
    found = task_weights.dwa(vector(1, 3), vector(2, 3), 2.0)
    powers = [math.exp(0.25), math.exp(0.5)]
    np.testing.assert_allclose(found, [2 * p / sum(powers) for p in powers], rtol=1e-6)
    np.testing.assert_allclose(task_weights.dwa(vector(1, 3), vector(0, 0), 2.0), 1)


def naive_pcgrad(gradients, orders):
    total = np.zeros(len(gradients[0]))
    for i, g in enumerate(gradients):
        g = np.array(g, np.float64)
        for j in orders[i]:
            if j == i:
                continue
            other = np.array(gradients[j], np.float64)
            inner = float(g @ other)
            if inner < 0:
                g = g - inner / float(other @ other) * other
        total += g
    return total


@pytest.mark.parametrize("seed", range(5))
def test_pcgrad_equals_the_naive_one(seed):
    random = np.random.default_rng(seed)
    gradients = random.normal(size=[4, 7]).astype(np.float32)
    orders = np.stack([random.permutation(4) for _ in range(4)])
    found = task_weights.pcgrad(tf.constant(gradients), tf.constant(orders))
    np.testing.assert_allclose(found, naive_pcgrad(gradients, orders), rtol=1e-4, atol=1e-5)


def test_pcgrad_of_two_opposed_tasks_by_hand():
    gradients = vector(1, 0), vector(-1, 1)
    # g1 + 1/2 (-1, 1) = (1/2, 1/2); g2 + 1 (1, 0) = (0, 1)
    found = task_weights.pcgrad(tf.stack(gradients), tf.constant([[0, 1], [1, 0]]))
    np.testing.assert_allclose(found, [0.5, 1.5])


def test_pcgrad_without_conflict_is_the_sum_and_an_absent_task_adds_nothing():
    gradients = tf.constant([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    orders = tf.constant([[0, 1, 2], [2, 1, 0], [1, 0, 2]])
    np.testing.assert_array_equal(task_weights.pcgrad(gradients, orders), [2.0, 1.0])
