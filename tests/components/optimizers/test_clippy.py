"""The pure function: hand numbers, the reference, the invariant in float32."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyrank.components.optimizers.clippy import PRESETS, factor, shrink
from tests.helpers import reference

INF = float("inf")
TINY = np.finfo(np.float32).tiny  # below it TensorFlow flushes to zero
DELTA = st.floats(-1.5 * 2.0**127, 1.5 * 2.0**127, width=32)
WEIGHT = st.one_of(st.floats(-10, 10, width=32), st.floats(-(2.0**100), 2.0**100, width=32))


@pytest.mark.parametrize(
    ("delta", "w", "relative", "absolute", "sigma"),
    [
        ([2.0], [4.0], 0.1, 0.02, 0.21),  # PAPERS 1.4.2
        ([2.0], [-4.0], 0.1, 0.02, 0.21),
        ([-2.0], [4.0], 0.1, 0.02, 0.21),
        ([1.0, 1.0], [1.0, 0.1], 0.1, 0.01, 0.02),
        ([0.1, 0.1], [1.0, 1.0], 0.5, 0.0, 1.0),
        ([0.5], [1.0], 0.5, 0.0, 1.0),  # exactly at the bound
        ([0.0, 1.0], [0.0, 4.0], 0.5, 0.0, 1.0),  # 0/0 does not stop the others
        ([1e-9, 1.0], [0.0, 4.0], 0.5, 0.0, 0.0),  # a zero bound does
        ([1e38, 1.0], [0.0, 4.0], INF, INF, 1.0),
        ([1e38, 1.0], [1.0, 4.0], INF, 0.0, 1.0),
        ([1e30], [1.0], 0.5, 1e-30, 0.5e-30),
    ],
)
def test_hand_numbers(delta, w, relative, absolute, sigma):
    got, found = shrink(tf.constant(delta), tf.constant(w), relative, absolute)
    np.testing.assert_allclose(found, sigma, rtol=1e-6)
    np.testing.assert_allclose(got, np.multiply(delta, sigma), rtol=1e-6)
    if sigma == 1:
        np.testing.assert_array_equal(got, np.float32(delta))


@settings(max_examples=200)
@given(
    delta=arrays(np.float32, 4, elements=DELTA),
    w=arrays(np.float32, 4, elements=WEIGHT),
    bounds=st.sampled_from([*PRESETS.values(), {"relative": 1e-3, "absolute": 0.0}]),
)
def test_bound_holds_in_float32_and_direction_is_kept(delta, w, bounds):
    got, sigma = shrink(tf.constant(delta), tf.constant(w), **bounds)
    relative, absolute = (np.float32(bounds[k]) for k in ("relative", "absolute"))
    bound = relative * np.abs(w) + absolute
    assert np.all(np.abs(got) <= bound) and 0 <= sigma <= 1
    usual = np.abs(delta) > 1e-30  # elsewhere products and quotients fade to zero
    expected = reference.clippy_factor(
        delta[usual].astype(float), w[usual].astype(float), **bounds
    )
    if 1e-30 < expected and np.all(bound > 1e-30):
        np.testing.assert_allclose(sigma, expected, rtol=2e-6)
    np.testing.assert_allclose(got, np.float32(sigma) * delta, rtol=0, atol=TINY)
    again, _ = shrink(got, tf.constant(w), **bounds)
    np.testing.assert_allclose(again, got, rtol=1e-6)


def test_bound_holds_for_many_random_tensors():
    random = np.random.default_rng(0)
    w = random.normal(size=[2000, 8]).astype(np.float32)
    delta = (random.normal(size=w.shape) * np.exp(random.normal(size=w.shape) * 9)).astype(
        "f"
    )
    got, sigma = shrink(tf.constant(delta), tf.constant(w), 0.5, 1e-2, axis=[1])
    assert sigma.shape == [2000, 1]
    assert np.all(np.abs(got) <= np.float32(0.5) * np.abs(w) + np.float32(1e-2))
    for i in range(0, 2000, 100):
        expected = factor(tf.constant(delta[i]), tf.constant(w[i]), 0.5, 1e-2)
        assert expected == sigma[i, 0]
    whole = factor(tf.constant(delta), tf.constant(w), 0.5, 1e-2)
    assert whole == tf.reduce_min(sigma)


def test_bound_is_reached_up_to_the_shave():
    got, _ = shrink(tf.constant([7.0]), tf.constant([2.0]), 0.5, 0.0)
    assert 1 - 1e-6 < got[0] <= 1
