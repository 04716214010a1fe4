"""NextItNet's layer: its written-out gradient against TensorFlow's of the plain formula."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.sequences.causal_convolution import (
    convolution_norm_relu,
    from_rows,
    to_rows,
)

B, T, D, F = 3, 7, 4, 5
NAMES = ("x", "kernel", "bias", "gamma", "beta")


def arguments(seed=0):
    random = np.random.default_rng(seed)
    shapes = ([B, T, D], [3, D, F], [F], [F], [F])
    return [tf.constant(random.normal(size=shape), tf.float32) for shape in shapes]


def plain(x, kernel, bias, gamma, beta, dilation):
    padded = tf.pad(x, [[0, 0], [2 * dilation, 0], [0, 0]])
    y = sum(padded[:, k * dilation :][:, :T] @ kernel[k] for k in range(3)) + bias
    mean, variance = tf.nn.moments(y, [-1], keepdims=True)
    return tf.nn.relu((y - mean) / tf.sqrt(variance + 1e-8) * gamma + beta)


def fused(x, kernel, bias, gamma, beta, dilation):
    z = convolution_norm_relu(to_rows(x), kernel, bias, gamma, beta=beta, back=dilation * B)
    return from_rows(z, B)


@pytest.mark.parametrize("dilation", [1, 2, 3, 4, 7, 9])  # 4: 2 q, and 7: q is all of T
def test_output_and_gradients_are_those_of_the_plain_formula(dilation):
    weights = tf.constant(np.random.default_rng(1).normal(size=[B, T, F]), tf.float32)
    found = []
    for layer in (plain, fused):
        given = arguments()
        with tf.GradientTape() as tape:
            tape.watch(given)
            z = layer(*given, dilation)
            loss = tf.reduce_sum(z * weights)
        found.append([z, *tape.gradient(loss, given)])
    for name, expected, actual in zip(("z", *NAMES), *found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5, err_msg=name)
        assert np.abs(expected).max() > 0.1, name


def test_rows_are_positions_of_all_sequences():
    x = np.arange(B * T * 1).reshape(B, T, 1)
    rows = to_rows(tf.constant(x))
    assert rows[:4, 0].numpy().tolist() == [0, T, 2 * T, 1]
    np.testing.assert_array_equal(from_rows(rows, B), x)
