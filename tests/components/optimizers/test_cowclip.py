"""CowClip: the reference, both forms, rows under the bound bit for bit."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyrank.components.optimizers.cowclip import cow_clip, group_clip, threshold
from tests.helpers import reference


def example(rows=50, dim=4, scale=0.05):
    random = np.random.default_rng(2)
    g = scale * random.normal(size=[rows, dim]) * np.exp(random.normal(size=[rows, 1]))
    w = 0.01 * random.normal(size=[rows, dim])
    return g.astype("f"), w.astype("f"), random.integers(1, 20, rows).astype("f")


@pytest.mark.parametrize(("r", "zeta"), [(1.0, 1e-5), (0.3, 1e-5), (1.0, 0.05)])
def test_equals_the_reference(r, zeta):
    g, w, counts = example()
    got, mask = cow_clip(*map(tf.constant, (g, w, counts)), r, zeta=zeta)
    expected, clipped = reference.cow_clip(g, w, counts, r, zeta=zeta)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    np.testing.assert_array_equal(mask, clipped)
    assert 0 < np.mean(mask) < 1
    np.testing.assert_array_equal(got.numpy()[~clipped], g[~clipped])


def test_bound_grows_with_the_count():
    _, w, _ = example(rows=5)
    bounds = [threshold(tf.constant(w), tf.fill([5], c)) for c in (1.0, 2.0, 9.0)]
    assert np.all(bounds[0] < bounds[1]) and np.all(bounds[1] < bounds[2])
    np.testing.assert_allclose(bounds[2], 9 * bounds[0], rtol=1e-6)


def test_reference_form():
    _, w, counts = map(tf.constant, example())
    paper = threshold(w, counts, 1.0, 2e-2 * np.sqrt(4))
    np.testing.assert_allclose(
        threshold(w, counts, 1.0, 2e-2, form="reference"), paper, rtol=1e-6
    )
    zero = tf.zeros([1, 4])  # r = 2 multiplies the floor twice: 2 * (2 * zeta * sqrt(4))
    floor = threshold(zero, tf.ones([1]), 2.0, 0.5, form="reference")
    np.testing.assert_allclose(floor, [4.0])
    np.testing.assert_allclose(threshold(zero, tf.ones([1]), 2.0, 0.5), [0.5])
    with pytest.raises(ValueError, match="form must be one of .*Received: form='code'"):
        threshold(zero, tf.ones([1]), form="code")


@settings(max_examples=100)
@given(
    g=arrays(np.float32, (3, 2), elements=st.floats(-(2.0**66), 2.0**66, width=32)),
    w=arrays(np.float32, (3, 2), elements=st.floats(-10, 10, width=32)),
)
def test_finite_in_finite_out_within_the_bound(g, w):
    counts = np.array([1, 2, 30], "f")
    got, _ = cow_clip(*map(tf.constant, (g, w, counts)))
    bound = threshold(tf.constant(w), tf.constant(counts))
    assert np.all(np.isfinite(got))
    norms = np.linalg.norm(got.numpy().astype(float), axis=1)
    assert np.all(norms <= bound.numpy() * (1 + 1e-5) + 1e-15)


def test_no_rows():
    got, mask = cow_clip(tf.zeros([0, 4]), tf.zeros([0, 4]), tf.zeros([0]))
    assert got.shape == [0, 4] and mask.shape == [0]


@pytest.mark.parametrize("count", [1, 3])
def test_one_factor_for_a_group(count):
    g, w, _ = example()
    groups = np.arange(len(g)) % count
    g[groups == 0] *= 100  # one group is far over its bound, the others are under it
    g[groups != 0] *= 1e-3
    got, mask = group_clip(tf.constant(g), tf.constant(w), groups, count, r=0.5)
    for group in range(count):
        inside = groups == group
        length, bound = np.linalg.norm(g[inside]), 0.5 * np.linalg.norm(w[inside])
        expected = g[inside] * min(1.0, bound / length)
        np.testing.assert_allclose(got.numpy()[inside], expected, rtol=1e-5)
        assert np.all(mask.numpy()[inside] == (length > bound)) and (length > bound) == (
            group == 0
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_row_that_is_not_finite_changes_nothing_for_its_group(bad):
    """1e30 is finite, its square is not."""
    g, w, _ = example()
    groups = np.zeros(len(g), int)
    usual, _ = group_clip(tf.constant(g[1:]), tf.constant(w[1:]), groups[1:], 1, r=0.01)
    g[0], w[0] = bad, 0
    got, _ = group_clip(tf.constant(g), tf.constant(w), groups, 1, r=0.01)
    np.testing.assert_allclose(got[1:], usual, rtol=1e-6)
    assert np.linalg.norm(usual) < np.linalg.norm(g[1:])


def test_without_r_the_bound_does_not_adapt():
    g, w, counts = example()
    bound = threshold(tf.constant(w), tf.constant(counts), r=0.0, zeta=0.05)
    np.testing.assert_allclose(bound, 0.05 * counts, rtol=1e-6)


def test_zero_gradients_are_safe():
    zero = tf.zeros([3, 2])
    for got, mask in (
        cow_clip(zero, zero, tf.ones([3]), 1.0, zeta=0.0),
        group_clip(zero, zero, tf.constant([0, 0, 1]), 2, r=1.0, zeta=0.0),
    ):
        np.testing.assert_array_equal(got, zero)
        assert not np.any(mask)
