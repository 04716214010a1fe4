"""Encoders of a history against loops over events, in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from components.blocks import NextItNetBlock, SASRecBlock
from components.history import (
    LastState,
    MeanHistory,
    TargetAttention,
    last_state,
    target_attention,
)

IDS = np.array([[4, 2, 9, 0], [7, 0, 0, 0], [0, 0, 0, 0], [1, 3, 3, 5]], np.int32)


def draw(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def events_of(ids):
    """How many places count: all events, or the one that stands for none."""
    return max(int((ids > 0).sum()), 1)


def naive_attention(history, ids, target, weight):
    rows = np.zeros((len(target), history.shape[2]))
    for row in range(len(target)):
        for place in range(events_of(ids[row])):
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


def last_state_of(block):
    """Blocks that are not the identity: alphas away from their start."""
    layer = LastState([block], positions=4, seed=1)
    layer(draw(4, 4, 3), IDS)
    for weight in layer.weights:
        weight.assign(weight + draw(*weight.shape) * 0.3 + 0.1)
    return layer


LAYERS = {
    "mean": MeanHistory,
    "attention": lambda: TargetAttention(5, seed=3),
    "convolution": lambda: last_state_of(NextItNetBlock(seed=1)),
    "self-attention": lambda: last_state_of(SASRecBlock(seed=1)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_padding_changes_nothing_and_gets_no_gradient(kind):
    layer = LAYERS[kind]()
    history, target = tf.Variable(draw(4, 4, 3)), draw(4, 3)
    with tf.GradientTape() as tape:
        found = layer(history, IDS, target)
        total = tf.reduce_sum(found**2)
    padding = np.array([[place >= events_of(ids) for place in range(4)] for ids in IDS])
    gradient = tape.gradient(total, history).numpy()
    assert not gradient[padding].any() and np.abs(gradient[~padding]).max(1).min() > 0
    history.assign(np.where(padding[..., None], 9.0, history))
    np.testing.assert_array_equal(layer(history, IDS, target), found)


def test_the_last_state_is_that_of_the_latest_event():
    states = draw(4, 4, 3)
    expected = [states[row, events_of(IDS[row]) - 1] for row in range(4)]
    np.testing.assert_array_equal(last_state(states, IDS), expected)


def test_places_count_back_from_the_latest_event():
    layer, history = LastState([], positions=4), draw(4, 4, 3)
    layer(history, IDS)
    layer.places.assign(np.arange(12.0).reshape(4, 3))
    expected = last_state(history, IDS) + [0.0, 1.0, 2.0]
    np.testing.assert_allclose(layer(history, IDS), expected)
    sums = LastState([tf.keras.layers.Lambda(tf.cumsum, arguments={"axis": 1})], 4)
    sums(history, IDS)
    sums.places.assign(layer.places)
    counts = [events_of(ids) for ids in IDS]
    expected = [
        history[row, :count].sum(0) + np.arange(12.0).reshape(4, 3)[:count].sum(0)
        for row, count in enumerate(counts)
    ]
    np.testing.assert_allclose(sums(history, IDS), expected, rtol=1e-5)


def test_a_layer_is_rebuilt_from_its_config():
    layer = TargetAttention(5, seed=3)
    again = TargetAttention.from_config(layer.get_config())
    inputs = draw(4, 4, 3), IDS, draw(4, 3)
    np.testing.assert_array_equal(layer(*inputs), again(*inputs))
