"""Warm-up and batch-size scaling."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers.rows import RowAdam
from steadyrank.components.optimizers.schedules import RULES, Backoff, WarmUp, scale
from tests.helpers import reference


def test_warm_up_is_linear_then_constant():
    schedule = WarmUp(0.5, steps=4, start=0.1)
    found = [float(schedule(tf.constant(t, tf.int64))) for t in range(7)]
    assert found == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5])
    assert float(WarmUp(0.5, steps=0)(0)) == 0.5


def test_earlier_steps_do_not_count():
    schedule = WarmUp(0.8, steps=2, start=0.0, end=6, begin=100)
    found = [float(schedule(tf.constant(100 + t, tf.int64))) for t in range(8)]
    assert found == pytest.approx([0.0, 0.4, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0])


def test_warm_up_serialises():
    schedules = tf.keras.optimizers.schedules
    config = schedules.serialize(WarmUp(0.5, steps=4, start=0.1, begin=9))
    revived = schedules.deserialize(config)
    assert isinstance(revived, WarmUp)
    expected = {"learning_rate": 0.5, "steps": 4, "start": 0.1, "end": None, "begin": 9}
    assert revived.get_config() == expected


def test_decay_falls_to_zero_at_the_end():
    schedule = WarmUp(0.8, steps=2, start=0.0, end=6)
    found = [float(schedule(tf.constant(t, tf.int64))) for t in range(8)]
    assert found == pytest.approx([0.0, 0.4, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0])
    with pytest.raises(ValueError, match="Received: steps=2, end=2"):
        WarmUp(0.8, steps=2, end=2)


def test_backoff_lowers_a_rate_while_it_runs():
    factor = tf.Variable(1.0)
    rates = [Backoff(WarmUp(0.5, steps=4, start=0.1), factor), Backoff(0.2, factor)]
    current = tf.function(lambda step: [rate(step) for rate in rates])
    assert [float(r) for r in current(tf.constant(9))] == pytest.approx([0.5, 0.2])
    factor.assign(0.25)
    assert [float(r) for r in current(tf.constant(9))] == pytest.approx([0.125, 0.05])


def test_backoff_serialises():
    schedules = tf.keras.optimizers.schedules
    config = schedules.serialize(Backoff(WarmUp(0.5, steps=4), 0.25))
    revived = schedules.deserialize(config)
    assert isinstance(revived.schedule, WarmUp) and revived.factor == 0.25


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("none", (1e-4, 1e-5, 8e-4)),
        ("sqrt", (4e-4, 4e-5, 32e-4)),
        ("linear", (16e-4, 1e-5, 128e-4)),
        ("n2_lambda", (1e-4, 256e-5, 32e-4)),
        ("cowclip", (1e-4, 16e-5, 32e-4)),  # the published 16K row, Criteo
        ("sde", (4e-4, 1e-5, 32e-4)),
        ("momentum", (4e-4, 1e-5, 128e-4)),
    ],
)
def test_rules(rule, expected):
    found = scale(rule, 16, 1e-4, 1e-5, dense_rate=8e-4)
    assert found[:3] == pytest.approx(expected)
    if rule not in ("sde", "momentum"):
        assert found.adam == {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}


def test_moments_forget_per_example_under_sde():
    adam = scale("sde", 16, 1e-4, 1e-5, dense_rate=8e-4).adam
    assert adam["beta_1"] == pytest.approx(0.9**16)
    assert adam["beta_2"] == pytest.approx(0.999**16)
    assert adam["epsilon"] == pytest.approx(1e-7 / 4)


def test_momentum_stays_as_long_as_what_scales_it_outlives_it():
    adam = scale("momentum", 64, 1e-3, 0.0, dense_rate=1e-3).adam
    assert adam == pytest.approx({"beta_1": 0.9, "beta_2": 0.999**64, "epsilon": 1e-7 / 8})
    assert scale("momentum", 64, 1.0, 0.0, dense_rate=1.0).dense_rate == 64
    assert (
        scale(
            "momentum", 64, 1.0, 0.0, dense_rate=1.0, dense_optimizer="adagrad"
        ).dense_rate
        == 8
    )
    for s in (128, 1024):
        adam = scale("momentum", s, 1e-3, 0.0, dense_rate=1e-3).adam
        assert adam["beta_1"] == adam["beta_2"] == pytest.approx(0.999**s)
        RowAdam(semantics="lazy", **adam)  # which refuses a momentum that outlives


@pytest.mark.parametrize("s", [4, 16])
def test_sde_keeps_the_path_of_a_noisy_weight(s):
    """A weight in an even, weak pull under strong noise drifts as far in as many rows."""
    random, steps = np.random.default_rng(1), 4096

    def drift(s, rule):
        rate, _, _, adam = scale(rule, s, 1e-3, 0.0, dense_rate=0.0)
        w, m, v = (np.zeros(400) for _ in range(3))
        for t in range(1, steps // s + 1):
            g = 0.1 + random.normal(size=400) / np.sqrt(s)
            adam_only = {k: adam[k] for k in ("beta_1", "beta_2", "epsilon")}
            w, m, v = reference.adam(w, g, m, v, t, rate, **adam_only)
        return w.mean()

    base = drift(1, "none")
    assert drift(s, "sde") == pytest.approx(base, rel=0.1)
    assert abs(drift(s, "none")) < 0.6 * abs(base)


@pytest.mark.parametrize("rule", RULES)
def test_scaling_by_one_changes_nothing(rule):
    adam = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    assert scale(rule, 1, 0.1, 0.2, dense_rate=0.3) == (0.1, 0.2, 0.3, adam)


def test_errors():
    with pytest.raises(ValueError, match="Received: rule='cube'"):
        scale("cube", 2, 0.1, 0.1, dense_rate=0.1)
    with pytest.raises(ValueError, match="s must be positive. Received: s=0"):
        scale("none", 0, 0.1, 0.1, dense_rate=0.1)
    with pytest.raises(ValueError, match="Received: steps=-1"):
        WarmUp(0.1, -1)
