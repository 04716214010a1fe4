"""Encoders of a history against loops over events, in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.history import (
    LastState,
    MeanHistory,
    TargetAttention,
    target_attention,
)
from steadyrank.components.sequences.encoder import SequenceEncoder

IDS = np.array([[0, 4, 2, 9], [0, 0, 0, 7], [0, 0, 0, 0], [1, 3, 3, 5]], np.int32)


def draw(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def events_of(ids):
    """How many places count: all events, or the one that stands for none."""
    return max(int((ids > 0).sum()), 1)


def naive_attention(history, ids, target, weight):
    rows = np.zeros((len(target), history.shape[2]))
    for row in range(len(target)):
        for place in range(4 - events_of(ids[row]), 4):
            event = history[row, place]
            rows[row] += weight(event, target[row]) * event
    return rows


def test_target_attention_sums_relevant_events_and_no_padding():
    history, target = draw(4, 4, 3), draw(4, 3)
    found = target_attention(
        history, IDS, target, lambda e, v: tf.reduce_sum(e * v, axis=2, keepdims=True)
    )
    expected = naive_attention(history, IDS, target, np.dot)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_one_history_is_seen_from_many_items():
    layer, history, target = TargetAttention(5, seed=3), draw(1, 4, 3), draw(6, 3)
    found = layer(history, IDS[:1], target)
    repeated = layer(np.repeat(history, 6, 0), np.repeat(IDS[:1], 6, 0), target)
    assert found.shape == (6, 3) and np.ptp(found, axis=0).min() > 1e-3
    np.testing.assert_allclose(found, repeated, rtol=1e-5, atol=1e-6)


def test_the_weights_are_those_of_an_mlp_on_both_sides_and_their_product():
    layer, history, target = TargetAttention(5, seed=3), draw(4, 4, 3), draw(4, 3)
    found = layer(history, IDS, target)
    w = {v.name.split(":")[0].split("/", 1)[1]: v.numpy() for v in layer.weights}
    names = ("of_event", "of_target", "of_product")
    kernel = np.concatenate([w[f"{name}/kernel"] for name in names])

    def weight(event, item):
        h = np.concatenate([event, item, event * item]) @ kernel + w["of_event/bias"]
        hidden = h / (1 + np.exp(-h))
        return float((hidden @ w["weight/kernel"] + w["weight/bias"])[0])

    expected = naive_attention(history, IDS, target, weight)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def last_state_of(kind):
    """Blocks that are not the identity: alphas away from their start."""
    layer = LastState(SequenceEncoder(kind, 2, max_length=4, seed=1))
    layer(draw(4, 4, 3), IDS)
    for weight in layer.weights:
        weight.assign(weight + draw(*weight.shape) * 0.3 + 0.1)
    return layer


LAYERS = {
    "mean": MeanHistory,
    "attention": lambda: TargetAttention(5, seed=3),
    "convolution": lambda: last_state_of("nextitnet"),
    "self-attention": lambda: last_state_of("sasrec"),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_padding_changes_nothing_and_gets_no_gradient(kind):
    layer, history, target = LAYERS[kind](), tf.constant(draw(4, 4, 3)), draw(4, 3)
    with tf.GradientTape() as tape:
        tape.watch(history)
        found = layer(history, IDS, target)
        total = tf.reduce_sum(found**2)
    padding = np.array([[place < 4 - events_of(ids) for place in range(4)] for ids in IDS])
    gradient = tape.gradient(total, history).numpy()
    assert not gradient[padding].any() and np.abs(gradient[~padding]).max(1).min() > 0
    history = np.where(padding[..., None], np.float32(9.0), history)
    np.testing.assert_array_equal(layer(history, IDS, target), found)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_longer_padding_changes_nothing(kind):
    layer, history, target = LAYERS[kind](), draw(4, 4, 3), draw(4, 3)
    short = layer(history[:2, 1:], IDS[:2, 1:], target[:2])
    whole = layer(history[:2], IDS[:2], target[:2])
    np.testing.assert_allclose(short, whole, rtol=1e-5, atol=1e-6)


def test_blocks_start_as_the_latest_event():
    history = draw(4, 4, 3)
    layer = LastState(SequenceEncoder("nextitnet", 3, seed=1))
    np.testing.assert_array_equal(layer(history, IDS), history[:, -1])


@pytest.mark.parametrize(
    "layer",
    [
        TargetAttention(5, seed=3),
        LastState(SequenceEncoder("sasrec", 2, max_length=4, seed=2)),
    ],
)
def test_a_layer_is_rebuilt_from_its_config(layer):
    again = type(layer).from_config(layer.get_config())
    inputs = draw(4, 4, 3), IDS, draw(4, 3)
    np.testing.assert_array_equal(layer(*inputs), again(*inputs))
