"""Fused tables: one gather, padding, missing, out of range, shared tables."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers import embeddings
from steadyrank.components.layers.embeddings import FusedEmbedding

ROWS, DIM = [6, 4, 1], 3
IDS = [
    np.array([5, 0], np.int32),
    np.array([[1, 3, 0], [0, 0, 0]], np.int32),
    np.array([[2, 2, 4], [0, 5, 0]], np.int32),
    np.array([[0], [0]], np.int32),
]


def layer(**changes):
    arguments = {
        "rows": ROWS,
        "dim": DIM,
        "poolings": [None, "mean", "sum", None],
        "tables": [0, 1, 0, 2],
    }
    return FusedEmbedding(**{**arguments, **changes})


def call(fused, ids=IDS):
    return fused([tf.constant(each) for each in ids])


def naive(fused):
    w = fused.embeddings.numpy()
    one, two, three = w[:6], w[6:10], w[10:]
    return [
        one[[5, 0]],
        np.stack([(two[1] + two[3]) / 2, two[0]]),
        np.stack([2 * one[2] + one[4], one[5]]),
        np.stack([three[[0]], three[[0]]]),
    ]


def test_equals_naive():
    fused = layer()
    for got, expected in zip(call(fused), naive(fused), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert fused.embeddings.shape == [11, DIM]
    assert len(fused.trainable_variables) == 1


def test_defaults_and_initial_scale():
    fused = FusedEmbedding([20_000, 3], 8)
    outputs = call(fused, [np.array([1]), np.array([2])])
    assert [each.shape for each in outputs] == [[1, 8], [1, 8]]
    assert np.std(fused.embeddings) == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_large_table_is_drawn_in_parts(monkeypatch, two_replicas, mirrored):
    monkeypatch.setattr(embeddings, "INITIAL_ROWS", 1000)
    initializer = tf.keras.initializers.RandomNormal(stddev=0.5, seed=3)
    strategy = two_replicas if mirrored else tf.distribute.get_strategy()
    with strategy.scope():
        fused = FusedEmbedding([2500, 7], 8, initializer=initializer)
        fused.build(None)
    for table in strategy.experimental_local_results(fused.embeddings):
        drawn = table.numpy()
        assert drawn.shape == (2507, 8)
        assert len(np.unique(drawn)) > 0.99 * drawn.size
        for part in (drawn[:1000], drawn[1000:2000], drawn[2000:]):
            assert np.std(part) == pytest.approx(0.5, rel=0.05)
    first = initializer([1000, 8]).numpy()
    np.testing.assert_array_equal(drawn[:1000], first)


def test_one_gather_and_a_sparse_gradient():
    fused = layer()
    call(fused)
    specs = [tf.TensorSpec([None, *each.shape[1:]], tf.int32) for each in IDS]

    @tf.function(input_signature=specs, autograph=False)
    def gradient(*ids):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(each) for each in fused(list(ids))])
        found = tape.gradient(loss, fused.embeddings)
        assert isinstance(found, tf.IndexedSlices)
        return found

    graph = gradient.get_concrete_function().graph
    types = [op.type for op in graph.get_operations()]
    assert types.count("ResourceGather") == 1 and "ReadVariableOp" not in types
    dense = tf.convert_to_tensor(gradient(*IDS)).numpy()[:, 0]
    expected = [1, 0, 2, 0, 1, 2] + [1, 0.5, 0, 0.5] + [2]
    np.testing.assert_allclose(dense, expected)


@pytest.mark.parametrize("bad", [-1, 6, 10**6, -(2**31)])
def test_out_of_range_reads_out_of_vocabulary(bad):
    fused = layer()
    got = call(fused, [np.array([bad, 0], np.int32), *IDS[1:]])[0]
    np.testing.assert_array_equal(got[0], fused.embeddings[1])
    assert np.all(np.isfinite(call(fused, [*IDS[:3], np.array([[bad], [0]])])[3]))


def test_int64_and_mixed_types():
    fused = layer()
    mixed = [each.astype(np.int64 if i % 2 else np.int32) for i, each in enumerate(IDS)]
    mixed[0] = mixed[0].astype(np.int64) + np.array([2**33, 0])  # far out of range
    got = call(fused, mixed)
    np.testing.assert_array_equal(got[0][0], fused.embeddings[1])
    np.testing.assert_allclose(got[2], naive(fused)[2], rtol=1e-6)


def test_batch_of_one_and_of_none():
    fused = layer()
    for size in (1, 0):
        shapes = [each.shape for each in call(fused, [each[:size] for each in IDS])]
        assert shapes == [[size, DIM], [size, DIM], [size, DIM], [size, 1, DIM]]


def test_config_round_trips():
    fused = layer(initializer=tf.keras.initializers.RandomUniform(seed=7), name="tables")
    revived = FusedEmbedding.from_config(fused.get_config())
    assert revived.get_config() == fused.get_config()
    for a, b in zip(call(fused), call(revived), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saved_model_parity(tmp_path):
    fused = layer()
    expected = call(fused)
    module = tf.Module()
    module.layer = fused
    specs = [tf.TensorSpec([None, *each.shape[1:]], tf.int32) for each in IDS]
    module.score = tf.function(lambda *ids: fused(list(ids)), input_signature=specs)
    tf.saved_model.save(module, str(tmp_path / "m"))
    revived = tf.saved_model.load(str(tmp_path / "m"))
    got = revived.score(*map(tf.constant, IDS))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": [3, 0]}, "rows must .*Received: rows=.3, 0."),
        ({"rows": []}, "rows must .*Received: rows="),
        ({"tables": [0, 1, 2, 3]}, "tables must .*Received: tables=.0, 1, 2, 3."),
        ({"poolings": ["mean"]}, "poolings must hold 4 entries.*Received: poolings="),
        ({"poolings": [None, "max", "sum", None]}, "poolings must .*Change 'max'"),
    ],
)
def test_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        layer(**changes)


def test_wrong_number_of_inputs():
    with pytest.raises(ValueError, match="inputs must hold 4 tensors. Received: 2"):
        call(layer(), IDS[:2])
