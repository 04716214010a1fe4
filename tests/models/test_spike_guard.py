"""One step of a model whose gradient is far beyond the usual: rows and dense weights."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from tests.helpers.ranker import BOTTOM, FEATURES, SCORE, SPECS, TASKS, batch_of, half

STEPS = 5


def build(spike_guard):
    """A model whose steps are as long as its gradients: plain sums in the tables too."""
    model = build_model(FEATURES, TASKS, SCORE, BOTTOM, seed=3)
    dense = DENSE_OPTIMIZERS["adagrad"](0.2, clip="none")
    rows = ROW_OPTIMIZERS["adagrad"](0.1, clip="none")
    model.compile(dense, rows, spike_guard=spike_guard)
    return model


def spoiled(batch, times=1e6):
    """The batch with values of one task that many times too large."""
    features, labels, masks = batch
    return features, {**labels, "watch": labels["watch"] * times}, masks


def train(model, batches):
    return [model.train_step(batch) for batch in batches]


def values(model):
    return [v.numpy() for v in model.trainable_variables]


BATCHES = [batch_of(16, seed) for seed in range(STEPS)]


def moved(spike_guard, last):
    """How far each weight goes in a step after healthy ones."""
    model = build(spike_guard)
    train(model, BATCHES)
    before = values(model)
    (log,) = train(model, [last])
    steps = (a - b for a, b in zip(values(model), before, strict=True))
    return model, [np.abs(step).max() for step in steps], log


def test_healthy_steps_are_the_same_bit_by_bit():
    with_guard, without = build(4.0), build(None)
    logs = train(with_guard, BATCHES)
    train(without, BATCHES)
    assert all(float(log["spike_factor"]) == 1.0 for log in logs)
    for a, b in zip(values(with_guard), values(without), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "spike_factor" not in train(without, BATCHES[:1])[0]


def test_a_spike_is_held_back_in_dense_weights_and_in_rows():
    model, _, log = moved(4.0, spoiled(BATCHES[0]))
    f = float(log["spike_factor"])
    assert 0 < f < 0.5
    # the accumulated squares took f g where those of an unguarded model took g
    free, _, _ = moved(None, spoiled(BATCHES[0]))
    healthy = build(None)
    train(healthy, BATCHES)
    tables = model.embedding_variables
    for i, table in enumerate(tables):
        start = healthy.embedding_optimizer.slots_of(healthy.embedding_variables[i])[0]
        held = model.embedding_optimizer.slots_of(table)[0] - start
        whole = free.embedding_optimizer.slots_of(free.embedding_variables[i])[0] - start
        at = np.argmax(whole)
        assert np.ravel(held)[at] == pytest.approx(f**2 * np.ravel(whole)[at], rel=1e-3)
    for i, variable in enumerate(model.dense_variables):
        (start,) = healthy.dense_optimizer.state_of(healthy.dense_variables[i])
        held = model.dense_optimizer.state_of(variable)[0] - start
        whole = free.dense_optimizer.state_of(free.dense_variables[i])[0] - start
        at = np.argmax(whole)
        assert np.ravel(held)[at] == pytest.approx(f**2 * np.ravel(whole)[at], rel=1e-2)


def test_a_step_that_is_not_finite_moves_nothing():
    features, labels, masks = BATCHES[0]
    bad = features, {**labels, "watch": tf.fill([16], np.inf)}, masks
    _, steps, log = moved(4.0, bad)
    assert max(steps) == 0 and float(log["spike_factor"]) == 0
    assert int(log["nonfinite"]) > 0


def test_two_replicas_guard_the_sum_of_both(two_replicas):
    batches = [*BATCHES, spoiled(BATCHES[0]), *BATCHES[:2]]
    one = build(4.0)
    alone = [float(log["spike_factor"]) for log in train(one, batches)]
    with two_replicas.scope():
        two = build(4.0)

    @tf.function(input_signature=[SPECS], autograph=False)
    def step_two(batch):
        return two_replicas.run(lambda: two.train_step(half(batch)))

    together = []
    for batch in batches:
        factors = step_two(batch)["spike_factor"]
        first, second = map(float, two_replicas.experimental_local_results(factors))
        assert first == second
        together.append(first)
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    assert min(together) < 0.5 and together[-1] == 1.0
    for a, b in zip(values(one), values(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)
