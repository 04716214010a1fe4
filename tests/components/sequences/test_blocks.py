"""Sequence blocks: naive NumPy equality, causality, reach, masks, alpha, configs."""

import inspect
import math

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.sequences.blocks import (
    NextItNetBlock,
    SASRecBlock,
    StochasticSharedIds,
    receptive_field,
)

B, T, D = 2, 11, 4
BLOCKS = [
    lambda **a: NextItNetBlock(dilation=2, seed=3, **a),
    lambda **a: SASRecBlock(heads=2, seed=3, **a),
    lambda **a: SASRecBlock(heads=1, normalize_first=True, seed=3, **a),
]
IDS = ["NextItNet", "SASRec", "SASRec, normalized first"]


def items(seed=0, length=T):
    return np.random.default_rng(seed).normal(size=[B, length, D]).astype(np.float32)


def weights_of(block):
    """Local name -> value, every weight moved away from where it started."""
    random = np.random.default_rng(5)
    for weight in block.weights:
        weight.assign_add(0.3 * random.normal(size=weight.shape))
    return {
        w.name.split(":")[0].removeprefix(block.name + "/"): w.numpy()
        for w in block.weights
    }


def layer_norm(x, gamma, beta):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-8) * gamma + beta


def naive_convolution(x, kernel, bias, q):
    y = np.zeros([*x.shape[:2], kernel.shape[-1]])
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            y[b, t] = bias
            for k in range(3):
                if t - (2 - k) * q >= 0:
                    y[b, t] += x[b, t - (2 - k) * q] @ kernel[k]
    return y


def naive_next_it_net(block, w, x):
    h = x
    for i in range(2):
        h = naive_convolution(h, w[f"kernel_{i}"], w[f"bias_{i}"], block.dilation * (i + 1))
        h = np.maximum(layer_norm(h, w[f"norm_{i}/gamma"], w[f"norm_{i}/beta"]), 0)
    return x + w.get("alpha", 1.0) * h


def naive_attention(x, kernel, bias, heads):
    width = x.shape[-1] // heads
    y = np.zeros_like(x)
    for b in range(len(x)):
        q, k, v = np.split(x[b] @ kernel + bias, 3, axis=1)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            for t in range(x.shape[1]):
                scores = [q[t, part] @ k[s, part] / math.sqrt(width) for s in range(t + 1)]
                powers = np.exp(np.array(scores) - max(scores))
                for s in range(t + 1):
                    y[b, t, part] += powers[s] / powers.sum() * v[s, part]
    return y


def naive_sasrec(block, w, x):
    def attention(z):
        return naive_attention(
            z, w["query_key_value"], w["query_key_value_bias"], block.heads
        )

    def feed_forward(z):
        z = np.maximum(z @ w["feed_forward_0/kernel"] + w["feed_forward_0/bias"], 0)
        return z @ w["feed_forward_1/kernel"] + w["feed_forward_1/bias"]

    for i, part in enumerate((attention, feed_forward)):
        gamma, beta = w[f"norm_{i}/gamma"], w[f"norm_{i}/beta"]
        alpha = w.get(f"alpha_{i}", 1.0)
        if block.normalize_first:
            x = x + alpha * part(layer_norm(x, gamma, beta))
        else:
            x = layer_norm(x + alpha * part(x), gamma, beta)
    return x


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("make", BLOCKS, ids=IDS)
def test_a_block_equals_its_formula(make, alpha):
    block = make(alpha=alpha)
    block(items())
    w = weights_of(block)
    assert any("alpha" in name for name in w) is alpha
    naive = naive_next_it_net if isinstance(block, NextItNetBlock) else naive_sasrec
    expected = naive(block, w, items(1).astype(np.float64))
    np.testing.assert_allclose(block(items(1)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", BLOCKS, ids=IDS)
def test_a_later_item_never_changes_an_earlier_output(make):
    block = make(alpha=False)
    before = block(items()).numpy()
    for t in range(T):
        changed = items()
        changed[:, t] += 1.0
        after = block(changed).numpy()
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert np.abs(after[:, t] - before[:, t]).max() > 1e-3


@pytest.mark.parametrize("make", BLOCKS, ids=IDS)
def test_left_padding_changes_nothing_under_a_mask(make):
    """Whatever stands there: it is as if the sequence began after the padding."""
    block = make(alpha=False)
    whole = block(items())
    padded = np.concatenate([9 * items(1, 5), items()], axis=1)
    mask = np.array([[False] * 5 + [True] * T] * B)
    found = block(padded, mask=tf.constant(mask))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 5:], whole, rtol=1e-5, atol=1e-5)
    assert np.abs(block(padded)[:, 5:] - whole).max() > 0.01  # without: an item like others


@pytest.mark.parametrize("blocks", [2, 4])
def test_the_receptive_field_is_fifteen_a_block(blocks):
    dilations = [1, 4] * (blocks // 2)
    reach = 1 + 15 * blocks
    assert receptive_field(dilations) == reach
    net = [NextItNetBlock(q, alpha=False, seed=i) for i, q in enumerate(dilations)]
    x = tf.constant(items(length=reach + 6))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        for block in net:
            y = block(y)
        last = tf.reduce_sum(y[:, -1] * tf.range(1.0, D + 1))
    seen = np.abs(tape.gradient(last, x)).max(axis=(0, 2)) > 0
    assert not seen[:6].any() and seen[6], seen  # the oldest in reach, and none before


@pytest.mark.parametrize("make", BLOCKS, ids=IDS)
def test_alpha_starts_at_zero_and_can_leave_it(make):
    block = make(alpha=True)
    x = items()
    expected = x
    if isinstance(block, SASRecBlock) and not block.normalize_first:
        ones, zeros = np.ones(D), np.zeros(D)
        expected = layer_norm(layer_norm(x, ones, zeros), ones, zeros)
    with tf.GradientTape() as tape:
        y = block(x)
        loss = tf.reduce_sum(tf.square(y - 1.0) * tf.range(1.0, D + 1))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    alphas = [w for w in block.trainable_variables if "alpha" in w.name]
    assert all(float(a) == 0 for a in alphas)
    assert all(abs(float(g)) > 1e-3 for g in tape.gradient(loss, alphas))


@pytest.mark.parametrize("make", BLOCKS, ids=IDS)
def test_any_length_and_batch_of_one_are_taken(make):
    signature = [tf.TensorSpec([None, None, D])]
    step = tf.function(make(), input_signature=signature, autograph=False)
    for length in (1, 3, T):
        assert step(items(length=length)[:1]).shape == [1, length, D]


ARGUMENTS = {
    NextItNetBlock: {"dilation": 4, "alpha": False, "alpha_start": 0.5, "seed": 3},
    SASRecBlock: {
        "heads": 2,
        "dropout": 0.25,
        "alpha": False,
        "alpha_start": 0.5,
        "normalize_first": True,
        "seed": 3,
    },
    StochasticSharedIds: {"rows": 7, "rate": 0.5, "seed": 3},
}


@pytest.mark.parametrize("cls", ARGUMENTS)
def test_config_round_trips_every_argument(cls):
    arguments = ARGUMENTS[cls]
    assert set(inspect.signature(cls).parameters) == {*arguments, "kwargs"}
    layer = cls(**arguments)
    found = layer.get_config()
    assert {name: found[name] for name in arguments} == arguments
    revived = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    assert type(revived) is cls and revived.get_config() == found


@pytest.mark.parametrize("cls", [NextItNetBlock, SASRecBlock])
def test_a_seed_decides_the_start(cls):
    starts = []
    for seed in (1, 1, 2):
        block = cls(seed=seed, alpha=False)
        block(items())
        starts.append(block(items()).numpy())
    np.testing.assert_array_equal(starts[0], starts[1])
    assert np.abs(starts[0] - starts[2]).max() > 1e-3


def test_dropout_acts_in_training_alone():
    block = SASRecBlock(dropout=0.5, alpha=False, seed=1)
    without = SASRecBlock(alpha=False, seed=1)
    np.testing.assert_array_equal(block(items()), without(items()))
    assert np.abs(block(items(), training=True) - without(items())).max() > 0.01


def test_ids_are_shared_in_training_at_the_rate_given():
    layer = StochasticSharedIds(rows=1000, rate=0.3, seed=1)
    ids = tf.constant(np.random.default_rng(0).integers(0, 2, [100, 100]) * 500)
    np.testing.assert_array_equal(layer(ids), ids)
    found = layer(ids, training=True).numpy()
    real = ids.numpy() > 0
    assert not found[~real].any()  # padding stays padding
    assert (found[real] != 500).mean() == pytest.approx(0.3, abs=0.02)
    assert found[real].min() >= 1 and found.max() <= 999
    drawn = found[real & (found != 500)]
    assert drawn.mean() == pytest.approx(500, abs=30)


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: NextItNetBlock(dilation=0), "dilation=0"),
        (lambda: SASRecBlock(heads=3)(items()), "heads=3"),
        (lambda: StochasticSharedIds(5, 1.5), "rate=1.5"),
    ],
)
def test_errors_name_what_was_received(make, value):
    with pytest.raises(ValueError, match=value):
        make()
