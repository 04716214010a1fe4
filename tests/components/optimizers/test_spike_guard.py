"""The guard in front of all optimizers: by hand, against plain Python, on replicas."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.components.optimizers.spike_guard import SpikeGuard, hold_back

NORMS = st.one_of(
    st.floats(0, 1e3, width=32), st.sampled_from([0.0, 1e18, math.inf, math.nan])
)


def plain(norms, kappa, beta=0.9):
    """Factors by the definition, step by step, in double precision."""
    a, c, factors = 0.0, 0, []
    for n in norms:
        if not math.isfinite(n):
            factors.append(0.0)
            continue
        f = 1.0
        if c >= 3:
            limit = kappa * math.sqrt(a / (1 - beta**c))
            f = limit / n if n > limit else 1.0
        factors.append(f)
        if n > 0:
            a, c = beta * a + (1 - beta) * (f * n) ** 2, c + 1
    return factors


def guarded(norms, kappa=3.0):
    guard = SpikeGuard(kappa)
    step = tf.function(lambda n: guard([tf.reshape(n, [1])]), autograph=False)
    return [float(step(tf.constant(n, tf.float32))) for n in norms]


def test_by_hand():
    # three steps of norm 2: the usual norm is 2, and 3 times that may pass
    assert guarded([2, 2, 2, 12])[3] == pytest.approx(0.5)
    assert guarded([2, 2, 2, 5.9])[3] == 1.0
    assert guarded([2, 2, 12]) == [1, 1, 1]  # too few to judge by
    # what was held back to 6 counts as 6: .9 * 4 (1 - .9^3) + .1 * 36 = 4.5756, so that
    # 3 sqrt(4.5756 / (1 - .9^4)) = 10.943 passes next
    assert guarded([2, 2, 2, 12, 12])[4] == pytest.approx(10.943 / 12, rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e25])
def test_what_is_not_finite_moves_nothing_and_teaches_nothing(bad):
    assert guarded([bad, 2, 2, 2, bad, 12]) == pytest.approx([0, 1, 1, 1, 0, 0.5])


def test_steps_without_an_example_teach_nothing():
    assert guarded([0, 0, 0, 0, 2, 2, 2, 12]) == pytest.approx([1] * 7 + [0.5])


def test_gradients_that_are_longer_for_good_are_let_through():
    factors = guarded([1] * 20 + [50] * 20)
    assert factors[20] == pytest.approx(3 / 50, rel=1e-2) and factors[-1] == 1.0
    assert factors[20:] == sorted(factors[20:])


@settings(deadline=None, max_examples=60)
@given(st.lists(NORMS, min_size=1, max_size=25), st.sampled_from([2.0, 3.0, 5.0]))
def test_as_defined(norms, kappa):
    norms = [float(np.float32(n)) for n in norms]
    norms = [0.0 if 0 < n < 1e-15 else n for n in norms]  # whose squares are 0
    a, c, found = tf.constant(0.0), tf.constant(0, tf.int64), []
    for n in norms:
        f, a, c = hold_back(tf.constant(n, tf.float32), a, c, kappa)
        found.append(float(f))
    np.testing.assert_allclose(found, plain(norms, kappa), rtol=1e-4, atol=1e-30)
    assert math.isfinite(float(a))


def test_the_norm_is_of_all_gradients_together():
    guard = SpikeGuard(3.0)
    for scale in (1.0, 1.0, 1.0):
        guard([tf.fill([4], scale * 1.5), tf.fill([2, 2], scale * 2.0)])  # norm 5
    f = guard([tf.zeros([4]), tf.fill([2, 2], 15.0)])  # norm 30
    assert float(f) == pytest.approx(0.5) == float(guard.factor)


def test_a_limit_that_holds_back_every_other_step_is_refused():
    with pytest.raises(ValueError, match="above 1.*Received: kappa=1.0"):
        SpikeGuard(1.0)
