"""Absent rows in closed form, against the steps themselves."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyrank.components.optimizers import lazy_catch_up as absence
from steadyrank.components.optimizers.rules import AdamRule
from tests.helpers import reference

RULE = AdamRule(0.9, 0.999, 1e-7)
FINITE = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)


def adam(w, m, v, last, steps, rate, l2):
    """``absence.adam`` for rows with one and the same history."""
    per_row = [np.full(len(w), x, np.float32) for x in (steps, rate * steps, last)]
    gone = dict(zip(("rates", "last"), per_row[1:], strict=True))
    rows = (x.astype(np.float32) for x in (w, m, v))
    got = absence.adam(*rows, per_row[0], **gone, l2=l2, rule=RULE)
    return [x.numpy() for x in got]


def state(rate, l2, last, scale, seed=0, gap=7):
    """Rows as training leaves them: a gradient every ``gap`` steps, L2 in every step."""
    random = np.random.default_rng(seed)
    w = 0.01 * random.normal(size=[200, 3])
    m, v, pull = np.zeros_like(w), np.zeros_like(w), scale * random.normal(size=w.shape) / 3
    for t in range(1, last + 1):
        g = 2 * l2 * w
        if (last - t) % gap == 0:
            g = g + pull + scale * random.normal(size=w.shape)
        w, m, v = reference.adam(w, g, m, v, t, rate)
    return w, m, v


@settings(max_examples=50)
@given(
    w=arrays(np.float32, (3, 2), elements=FINITE),
    m=arrays(np.float32, (3, 2), elements=FINITE),
    v=arrays(
        np.float32, (3, 2), elements=st.floats(0, 1e3, width=32, allow_subnormal=False)
    ),
    last=st.integers(0, 10**6),
    l2=st.sampled_from([0.0, 1e-5, 1.0]),
)
def test_no_step_changes_no_bit(w, m, v, last, l2):
    zero = tf.zeros([3])
    rows = absence.adam(
        w, m, v, zero, rates=zero, last=tf.fill([3], float(last)), l2=l2, rule=RULE
    )
    for got, given_ in zip(rows, (w, m, v), strict=True):
        np.testing.assert_array_equal(got, given_)
    got = absence.adagrad(tf.constant(w), tf.constant(v), zero, zero, l2=l2, epsilon=1e-7)
    np.testing.assert_array_equal(got[0], w)
    np.testing.assert_array_equal(got[1], v)


@pytest.mark.parametrize("steps", [1, 3, 30, 1000, 20_000])
@pytest.mark.parametrize("last", [1, 20, 2000])
def test_without_l2_a_row_coasts(last, steps):
    w, m, v = state(1e-3, 0.0, last, 1e-3)
    got = adam(w, m, v, last, steps, 1e-3, 0.0)
    expected = reference.absent_adam(w, m, v, last, steps, 1e-3, 0.0)
    moved = np.abs(expected[0] - w).mean()
    assert moved > 1e-4
    assert np.abs(got[0] - expected[0]).mean() < (0.03 if last > 100 else 0.1) * moved
    for one, other in zip(got[1:], expected[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-12)


@pytest.mark.parametrize("steps", [5, 100, 1000, 6000])
@pytest.mark.parametrize(
    ("rate", "l2", "scale"),
    [(1e-4, 1e-5, 1e-4), (1e-3, 1e-5, 1e-4), (1e-3, 1e-3, 1e-4), (1e-4, 1.6e-4, 6e-6)],
    ids=str,
)
def test_with_l2_it_goes_where_the_steps_go(rate, l2, scale, steps):
    last = 1500
    w, m, v = state(rate, l2, last, scale)
    got = adam(w, m, v, last, steps, rate, l2)
    expected = reference.absent_adam(w, m, v, last, steps, rate, l2)
    moved, off = np.abs(expected[0] - w), np.abs(got[0] - expected[0])
    assert off.mean() < 0.05 * moved.mean()
    assert np.all(off < 0.12 * (moved + rate))  # and none of them goes elsewhere


def test_a_row_that_never_had_a_gradient_is_pulled_to_zero():
    w = np.array([[0.01, -0.02, 0.3]])
    zero = np.zeros_like(w)
    for steps in (50, 500, 5000):
        got = adam(w, zero, zero, 0, steps, 1e-4, 1e-3)[0]
        expected = reference.absent_adam(w, zero, zero, 0, steps, 1e-4, 1e-3)[0]
        assert np.all(np.abs(got - expected) < 0.2 * np.abs(expected - w))
        assert np.all(np.abs(got) < np.abs(w)) and np.all(got * w >= 0)


@pytest.mark.parametrize("row_wise", [False, True])
@pytest.mark.parametrize("steps", [1, 40, 1000])
def test_adagrad(steps, row_wise):
    random = np.random.default_rng(1)
    w = random.normal(size=[50, 4])
    G = 0.1 + random.random(size=[50, 1 if row_wise else 4])
    rates = np.full(50, 0.05 * steps, np.float32)
    got = absence.adagrad(
        *(tf.constant(x, tf.float32) for x in (w, G)),
        np.full(50, steps, np.float32),
        rates,
        l2=1e-3,
        epsilon=1e-7,
    )
    expected = reference.absent_adagrad(w, G, steps, 0.05, 1e-3, row_wise)
    np.testing.assert_allclose(got[0], expected[0], rtol=2e-2)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-3)
    assert np.abs(expected[0] - w).mean() > 1e-5
