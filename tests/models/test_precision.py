"""A trunk that computes in bfloat16, beside weights, gradients and losses of float32."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.precision import computing_in
from steadyrank.models.build import TRUNKS, WIDE, build_trunk
from tests.models.trunks.test_trunks import SETTINGS, TASKS, X

DEEP = {"deep_units": [8, 4]}
EVERY = SETTINGS | {name: DEEP for name in WIDE if TRUNKS[name][0]}


@pytest.mark.parametrize("name", EVERY)
def test_every_trunk_is_near_that_of_float32_and_has_its_weights(name):
    layers = []
    for precision in ("float32", "bfloat16"):
        with computing_in(precision):
            layers.append(build_trunk(TASKS, {"trunk": name, **EVERY[name]}, 3))
    found = []
    for layer in layers:
        with tf.GradientTape() as tape:
            outputs = layer(tf.constant(X))
            total = [tf.reduce_sum(tf.cast(y, tf.float32) ** 2) for y in outputs.values()]
            loss = tf.add_n([*total, *(tf.cast(x, tf.float32) for x in layer.losses)])
        found.append((outputs, tape.gradient(loss, layer.trainable_variables)))
    (exact, of_exact), (rough, of_rough) = found
    assert {y.dtype for y in rough.values()} == {tf.bfloat16}
    for task, y in exact.items():
        np.testing.assert_allclose(tf.cast(rough[task], tf.float32), y, rtol=0.1, atol=0.1)
    variables = zip(*(layer.trainable_variables for layer in layers), strict=True)
    for a, b in variables:
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert b.dtype == tf.float32
    assert {g.dtype for g in of_rough} == {tf.float32}
    flat = [np.concatenate([np.ravel(g) for g in of]) for of in (of_exact, of_rough)]
    assert 0 < np.linalg.norm(flat[1] - flat[0]) < 0.05 * np.linalg.norm(flat[0])


def test_layers_made_later_are_as_before_whatever_happened():
    with pytest.raises(ZeroDivisionError), computing_in("bfloat16"):
        raise ZeroDivisionError
    assert tf.keras.layers.Dense(1)(tf.ones([1, 1])).dtype == tf.float32
