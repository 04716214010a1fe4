"""The shared bottom: its options, and where its weights start."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.build import build_trunk
from steadyrank.models.trunks.shared_bottom import SharedBottom

TASKS = ["click", "like"]
X = tf.random.stateless_normal([5, 6], [1, 2])


def bottom(**options):
    layer = SharedBottom(TASKS, [8, 4], seed=3, **options)
    return layer, layer(X)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_all_tasks_read_one_output_and_all_weights_have_a_gradient(layer_norm):
    layer = SharedBottom(TASKS, [8, 4], 3, layer_norm=layer_norm)
    with tf.GradientTape() as tape:
        outputs = layer(X)
        loss = tf.reduce_sum(tf.square(outputs["click"]))
    assert list(outputs) == TASKS and outputs["like"] is outputs["click"]
    assert outputs["click"].shape == [5, 4]
    assert len(layer.weights) == 4 + 2 * layer_norm
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.any(gradient.numpy() != 0)


def test_the_norm_is_over_each_row():
    layer, outputs = bottom(layer_norm=True)
    mean, variance = tf.nn.moments(X, [1], keepdims=True)
    normed = (X - mean) / tf.sqrt(variance + 1e-3)
    np.testing.assert_allclose(outputs["like"], layer.bottom(normed), 1e-4, 1e-6)


def test_without_options_it_is_the_plain_network():
    layer, outputs = bottom()
    np.testing.assert_array_equal(outputs["click"], layer.bottom(X))


def test_the_table_of_trunks_passes_the_options_on():
    settings = {"trunk": "shared_bottom", "bottom_units": [4], "layer_norm": True}
    assert build_trunk(TASKS, settings, 1).norm is not None
    with pytest.raises(TypeError, match="layer_norms"):
        build_trunk(TASKS, {**settings, "layer_norms": True}, 1)
