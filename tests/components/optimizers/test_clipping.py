"""The rivals' factors: hand numbers, bounds, extremes."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers import clipping

G = tf.constant([[3.0, 0.0], [4.0, 0.5]])  # norms of the units: 5 and 0.5
W = tf.constant([[0.6, 0.0], [0.8, 0.0]])  # norms of the units: 1 and 0


def test_hand_numbers():
    np.testing.assert_allclose(clipping.by_value(G, 1.0), [[1 / 3, 1], [1 / 4, 1]])
    np.testing.assert_allclose(clipping.by_norm(G, 1.0), 1 / np.sqrt(25.25))
    np.testing.assert_allclose(clipping.by_global_norm(tf.constant(8.0), 2.0), 0.25)
    np.testing.assert_allclose(clipping.agc(G, W, 0.5), [[0.1, 1e-3]])
    np.testing.assert_allclose(clipping.agc_tensor(G, W, 0.5), 0.5 / np.sqrt(25.25))
    np.testing.assert_allclose(clipping.lamb(W, G, 0.1), 0.1 / np.sqrt(25.25))


def test_a_vector_is_one_unit_for_agc():
    g, w = tf.constant([3.0, 4.0]), tf.constant([0.6, 0.8])
    np.testing.assert_allclose(clipping.agc(g, w, 0.5), 0.1)
    np.testing.assert_allclose(clipping.agc(g[0], w[0], 0.5), 0.1)
    assert clipping.agc(tf.ones([2, 3, 4]), tf.ones([2, 3, 4]), 1.0).shape == [1, 1, 4]


def factors(g, w):
    return {
        "value": clipping.by_value(g, 0.1),
        "norm": clipping.by_norm(g, 0.1),
        "global_norm": clipping.by_global_norm(clipping.norm(g), 0.1),
        "agc": clipping.agc(g, w, 0.1),
        "agc_tensor": clipping.agc_tensor(g, w, 0.1),
    }


@pytest.mark.parametrize("name", factors(G, W))
def test_small_is_untouched_zero_is_safe_and_overflow_is_zero(name):
    w = tf.ones([2, 2])
    assert np.all(factors(1e-3 * w, w)[name] == 1)
    assert np.all(factors(0.0 * w, 0.0 * w)[name] == 1)
    huge = factors(3e38 * w, w)[name]
    assert np.all(huge < 1e-30) and np.all(huge >= 0)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1000.0])
def test_norm_is_bounded_after(scale):
    g = scale * tf.random.stateless_normal([5, 4], [1, 2])
    w = tf.random.stateless_normal([5, 4], [3, 4])
    found = factors(g, w)
    assert np.max(np.abs(found["value"] * g)) <= 0.1 * (1 + 1e-6)
    assert np.linalg.norm(found["norm"] * g) <= 0.1 * (1 + 1e-6)
    limit = 0.1 * np.linalg.norm(w, axis=0)
    assert np.all(np.linalg.norm(found["agc"] * g, axis=0) <= limit * (1 + 1e-6))


def test_lamb_moves_zero_weights_and_may_lengthen():
    zero, r = tf.zeros([2]), tf.constant([3.0, 4.0])
    assert clipping.lamb(zero, r, 0.1) == np.float32(0.1)
    assert clipping.lamb(r, zero, 0.1) == np.float32(0.1)
    np.testing.assert_allclose(clipping.lamb(100.0 * r, r, 0.1), 10.0, rtol=1e-6)
