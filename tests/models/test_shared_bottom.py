"""The shared bottom: its options, and where its weights start."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.build import TRUNKS
from steadyrank.models.trunks.shared_bottom import SharedBottom

TASKS = ["click", "like"]
X = tf.random.stateless_normal([5, 6], [1, 2])


def bottom(**options):
    layer = SharedBottom(TASKS, [8, 4], seed=3, **options)
    return layer, layer(X)


@pytest.mark.parametrize("cross_layers", [0, 1, 2])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_all_tasks_read_one_output_and_all_weights_have_a_gradient(
    cross_layers, layer_norm
):
    layer = SharedBottom(TASKS, [8, 4], 3, cross_layers, layer_norm)
    with tf.GradientTape() as tape:
        outputs = layer(X)
        loss = tf.reduce_sum(tf.square(outputs["click"]))
    assert list(outputs) == TASKS and outputs["like"] is outputs["click"]
    assert outputs["click"].shape == [5, 4]
    assert len(layer.weights) == 4 + 2 * cross_layers + 2 * layer_norm
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.any(gradient.numpy() != 0)


def test_crosses_are_those_of_dcn_v2():
    layer, outputs = bottom(cross_layers=2)
    x = x0 = X.numpy().astype(np.float64)
    for cross in layer.crosses:
        kernel, bias = (weight.numpy() for weight in cross.weights)
        x = x0 * (x @ kernel + bias) + x
    np.testing.assert_allclose(outputs["click"], layer.bottom(tf.cast(x, tf.float32)), 1e-5)


def test_norm_comes_after_the_crosses():
    layer, outputs = bottom(cross_layers=1, layer_norm=True)
    x = X * (X @ layer.crosses[0].weights[0]) + X
    mean, variance = tf.nn.moments(x, [1], keepdims=True)
    normed = (x - mean) / tf.sqrt(variance + 1e-3)
    np.testing.assert_allclose(outputs["like"], layer.bottom(normed), 1e-4, 1e-6)


def test_no_two_crosses_start_alike_and_a_seed_gives_the_same_ones():
    (layer, one), (_, again) = bottom(cross_layers=2), bottom(cross_layers=2)
    first, second = (cross.weights[0].numpy() for cross in layer.crosses)
    assert np.max(np.abs(first - second)) > 0.01
    np.testing.assert_array_equal(one["click"], again["click"])
    other = SharedBottom(TASKS, [8, 4], seed=4, cross_layers=2)
    assert np.any(other(X)["click"].numpy() != one["click"].numpy())


def test_without_options_it_is_the_plain_network():
    layer, outputs = bottom()
    np.testing.assert_array_equal(outputs["click"], layer.bottom(X))


def test_the_table_of_trunks_passes_the_options_on():
    settings = {"bottom_units": [4], "cross_layers": 1, "layer_norm": True}
    trunk = TRUNKS["shared_bottom"](TASKS, 1, **settings)
    assert len(trunk.crosses) == 1 and trunk.norm is not None
