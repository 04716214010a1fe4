"""The average of dense weights against a loop, alone and under two replicas."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers.average import WeightAverage
from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from tests.helpers.ranker import BOTTOM, FEATURES, SCORE, SPECS, TASKS, batch_of, half

BATCHES = [batch_of(16, seed) for seed in range(4)]


def build(average):
    model = build_model(FEATURES, TASKS, SCORE, BOTTOM, seed=3)
    model.compile(
        DENSE_OPTIMIZERS["adam"](0.05), ROW_OPTIMIZERS["adam"](0.05), average=average
    )
    return model


def looped(history, decay):
    average = None
    for t, weights in enumerate(history):
        kept = min(decay, t / (t + 9))
        average = weights if t == 0 else kept * average + (1 - kept) * weights
    return average


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_the_average_is_that_of_a_loop(decay):
    random = np.random.default_rng(1)
    history = random.normal(size=(30, 4)).astype(np.float32)
    weight = tf.Variable(random.normal(size=4).astype(np.float32), name="w")
    average = WeightAverage(decay, [weight])
    for values in history:
        weight.assign(values)
        average.take([weight])
    np.testing.assert_allclose(average.weights[0], looped(history, decay), rtol=1e-5)
    assert int(average.steps) == 30 and not average.trainable_variables


def test_steps_move_as_without_and_the_tables_have_no_second_copy():
    with_average, without, history = build(0.9), build(None), []
    for batch in BATCHES:
        for model in (with_average, without):
            model.train_step(batch)
        history.append([v.numpy() for v in with_average.dense_variables])
    for a, b in zip(with_average.variables, without.variables, strict=False):
        np.testing.assert_array_equal(a, b)
    averages = with_average.average.weights
    assert len(averages) == len(with_average.dense_variables)
    for i, average in enumerate(averages):
        wanted = looped([weights[i] for weights in history], 0.9)
        np.testing.assert_allclose(average, wanted, rtol=1e-4, atol=1e-6)
    before = [v.numpy() for v in with_average.saved_weights().values()]
    with with_average.averaged():
        for weight, average in zip(with_average.dense_variables, averages, strict=True):
            np.testing.assert_array_equal(weight, average)
        for smear in with_average.smears.values():
            smear.assign(3.0)
    for weight, value in zip(with_average.saved_weights().values(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_two_replicas_have_the_average_of_one(two_replicas):
    one = build(0.9)
    with two_replicas.scope():
        two = build(0.9)

    @tf.function(input_signature=[SPECS], autograph=False)
    def step_two(batch):
        return two_replicas.run(lambda: two.train_step(half(batch)))

    for batch in BATCHES:
        one.train_step(batch)
        step_two(batch)
    for a, b, w in zip(
        one.average.weights, two.average.weights, two.dense_variables, strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3)
        first, second = two_replicas.experimental_local_results(b)
        np.testing.assert_array_equal(first, second)
        assert np.abs(w - b).max() > 0
