"""Units that die are seen at their biases, once a spell."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.components.layers.mlp import MLP
from steadyrank.components.metrics.early_warning import EarlyWarning, dead_share


def test_a_bias_says_which_units_let_no_row_through():
    """Against the activations themselves, of a layer whose units are shut by hand."""
    random = np.random.default_rng(1)
    net = MLP([6, 1], seed=3)
    inputs = tf.constant(random.normal(size=[32, 4]).astype("f4"))
    net(inputs)
    net.layers[0].bias.assign([0.0, -50.0, 0.0, 0.0, -50.0, -2.0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(net(inputs) - 1.0))
    (gradient,) = tape.gradient(loss, [net.layers[0].bias])
    shut = np.mean(~(net.layers[0](inputs).numpy() > 0).any(axis=0))
    assert 0 < shut < 1
    assert float(dead_share(gradient)) == pytest.approx(shut)


def test_what_is_not_finite_says_nothing():
    assert float(dead_share(tf.constant([0.0, 0.0, np.nan]))) == 0.0
    assert float(dead_share(tf.constant([0.0, 0.0, np.inf]))) == 0.0
    assert float(dead_share(tf.constant([0.0, -0.0, 1.0, 2.0]))) == 0.5


def test_three_steps_in_a_row_are_a_warning_and_three_others_end_the_spell():
    early = EarlyWarning(share=0.1, steps=3)
    shares = [
        0.2,
        0.2,
        0.05,
        0.11,
        0.12,
        0.3,
        0.9,
        0.0,
        0.0,
        0.2,
        0.0,
        0.0,
        0.0,
        0.5,
        0.5,
        0.5,
    ]
    said = [early.update(step, {"a": 0.01, "b": x}) for step, x in enumerate(shares, 1)]
    at = [warning["step"] for warning in said if warning]
    assert at == [6, 16] and said[5] == {"step": 6, "layer": "b", "share": 0.3}
    assert early.warnings == [warning for warning in said if warning]
    assert EarlyWarning().update(1, {}) is None


@settings(deadline=None, max_examples=100)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4))
def test_spells_are_those_of_a_naive_reading(high, steps):
    early = EarlyWarning(share=0.5, steps=steps)
    found = [bool(early.update(n, {"a": 1.0 * x})) for n, x in enumerate(high)]
    wanted, inside = [], False
    for n in range(len(high)):
        last = high[max(0, n - steps + 1) : n + 1]
        turns = len(last) == steps and all(x != inside for x in last)
        wanted.append(turns and not inside)
        inside = inside != turns
    assert found == wanted
