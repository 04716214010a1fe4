"""What a step says of units that let no row through: of shared layers, by all replicas."""

import numpy as np
import pytest
import tensorflow as tf

from tests.helpers.ranker import BOTTOM, PLE, SPECS, batch_of, build, half

SHUT = -1e3  # a bias that no input of these batches opens


def test_those_of_shared_layers_are_counted_and_no_others():
    model = build(PLE)
    found = model.train_step(batch_of(16, like=False))["dead_units"]
    assert found and all("experts_shared" in layer for layer in found)
    assert any("level_1" in layer for layer in found)
    assert build(BOTTOM).train_step(batch_of(16))["dead_units"].keys() == {
        "shared_bottom/bottom/dense_0"
    }


def test_units_that_were_shut_by_hand():
    model = build(BOTTOM)
    model.train_step(batch_of(16))
    (bias,) = model.rectified_biases
    bias.assign(tf.concat([[SHUT] * 6, bias[6:] + 5.0], axis=0))  # the others are open
    (share,) = model.train_step(batch_of(16, seed=1))["dead_units"].values()
    assert float(share) == pytest.approx(6 / 8)


def test_a_unit_that_lives_on_one_replica_lives(two_replicas):
    with two_replicas.scope():
        model = build(BOTTOM)
    alone = build(BOTTOM)

    @tf.function(input_signature=[SPECS], autograph=False)
    def step(batch):
        return two_replicas.run(lambda: model.train_step(half(batch))["dead_units"])

    for seed in range(4):
        batch = batch_of(4, seed)  # so few rows that units are shut in some halves
        (both,) = step(batch).values()
        (one,) = alone.train_step(batch)["dead_units"].values()
        shares = [float(each) for each in two_replicas.experimental_local_results(both)]
        np.testing.assert_allclose(shares, [float(one)] * 2)


def test_what_a_guard_holds_back_is_not_dead():
    model = build(BOTTOM)
    model.train_step(batch_of(16))
    model.spike_guard = Shut()
    (bias,) = model.rectified_biases
    bias.assign(tf.fill([8], 5.0))  # all open
    shares = model.train_step(batch_of(16))["dead_units"].values()
    assert [float(share) for share in shares] == [0.0]


class Shut(tf.Module):
    factor = tf.constant(0.0)

    def __call__(self, gradients):
        return self.factor
