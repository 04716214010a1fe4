"""Row optimizers: the reference step, untouched rows, no op over the whole table."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.row_optimizers import RowAdagrad, RowAdam
from tests import reference

ROWS, DIM = 9, 3
BOTH = [RowAdam, RowAdagrad]


def start(rows=ROWS):
    random = np.random.default_rng(3)
    return tf.Variable(random.normal(size=[rows, DIM], scale=0.01).astype(np.float32))


def slices(indices, values, rows=ROWS):
    values = np.asarray(values, np.float32).reshape(-1, DIM)
    indices = tf.constant(indices, tf.int32, shape=[len(values)])
    return tf.IndexedSlices(tf.constant(values), indices, tf.constant([rows, DIM]))


def batches(steps=4, size=12, scale=0.5):
    random = np.random.default_rng(5)
    for _ in range(steps):
        indices = random.integers(0, ROWS - 2, size)  # the last two rows never come
        yield indices, scale * random.normal(size=[size, DIM])


@pytest.mark.parametrize(
    "arguments",
    [{"clip": False}, {"r": 1.0}, {"r": 0.5, "zeta": 0.3}, {"l2": 0.1}],
    ids=str,
)
def test_steps_equal_the_reference(arguments):
    given_ = dict(arguments)
    clip = "cowclip" if given_.pop("clip", True) else "none"
    optimizer, w = RowAdam(0.02, clip=clip, **given_), start()
    first = w.numpy().astype(np.float64)
    state = first.copy(), np.zeros_like(first), np.zeros_like(first)
    for t, (indices, values) in enumerate(batches(), start=1):
        optimizer.apply_gradients([(slices(indices, values), w)])
        reference.row_adam_step(state, indices, values, t, 0.02, **arguments)
        np.testing.assert_allclose(w, state[0], rtol=2e-5, atol=1e-6)
        for slot, expected in zip(optimizer._slots_of(w), state[1:], strict=True):
            np.testing.assert_allclose(slot, expected, rtol=2e-5, atol=1e-7)
    np.testing.assert_array_equal(w.numpy()[-2:], start().numpy()[-2:])


@pytest.mark.parametrize("clip", ["none", "cowclip", "clippy"])
@pytest.mark.parametrize("cls", BOTH)
@settings(max_examples=25, deadline=None)
@given(
    indices=arrays(np.int32, 6, elements=st.integers(0, ROWS - 1)),
    values=arrays(np.float32, (6, DIM), elements=st.floats(width=32)),
)
def test_other_rows_stay_bit_for_bit_and_bad_rows_too(cls, clip, indices, values):
    optimizer, w = cls(0.1, clip=clip, l2=0.01), start()
    optimizer.apply_gradients([(slices(indices, values), w)])
    initial = 0.1 if cls is RowAdagrad else 0.0
    bad = {i for i, row in zip(indices, values, strict=True) if not np.isfinite(row).all()}
    for i in range(ROWS):
        if i not in indices or i in bad:
            np.testing.assert_array_equal(w.numpy()[i], start().numpy()[i])
            for slot in optimizer._slots_of(w):
                assert np.all(slot.numpy()[i] == np.float32(initial))
    assert len(bad) <= int(optimizer.nonfinite_count) <= len(set(indices))
    for tensor in (w, *optimizer._slots_of(w)):
        assert np.all(np.isfinite(tensor))


@settings(max_examples=40, deadline=None)
@given(
    values=arrays(np.float32, (4, DIM), elements=st.floats(-(2.0**63), 2.0**63, width=32))
)
def test_clippy_bounds_every_weight_row_by_row(values):
    optimizer, w = RowAdagrad(5.0, clip="clippy", r=0.5, zeta=1e-2), start()
    optimizer.apply_gradients([(slices([0, 1, 2, 1], values), w)])
    before = start().numpy()
    bound = 0.5 * np.abs(before) + 1e-2
    rounding = np.spacing(np.abs(before) + bound)
    assert np.all(np.abs(w.numpy() - before) <= bound + rounding)


@pytest.mark.parametrize("cls", BOTH)
def test_reports_are_by_variable(cls):
    optimizer, calm, wild = cls(0.1, zeta=1e-3), start(), start()
    optimizer.build([calm, wild])
    small, large = 1e-7 * np.ones([3, DIM]), [[1e3] * DIM, [1e-9] * DIM, [np.nan] * DIM]
    optimizer.apply_gradients(
        [(slices([1, 2, 3], small), calm), (slices([1, 2, 3], large), wild)]
    )
    assert [float(f) for f in optimizer.clipped_fractions] == [0, pytest.approx(1 / 3)]
    assert float(optimizer.clipped_fraction(wild)) == pytest.approx(1 / 3)
    assert [int(n) for n in optimizer.nonfinite_counts] == [0, 1]
    assert int(optimizer.nonfinite_count) == 1


@pytest.mark.parametrize("cls", BOTH)
def test_a_batch_without_rows_changes_nothing(cls):
    optimizer, w = cls(0.1), start()

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int32),
            tf.TensorSpec([None, DIM], tf.float32),
        ]
    )
    def step(indices, values):
        gradient = tf.IndexedSlices(values, indices, tf.constant([ROWS, DIM]))
        optimizer.apply_gradients([(gradient, w)])

    step(tf.zeros([0], tf.int32), tf.zeros([0, DIM]))
    np.testing.assert_array_equal(w.numpy(), start().numpy())
    assert float(optimizer.clipped_fractions[0]) == 0
    step(tf.constant([2, 2]), tf.ones([2, DIM]))
    assert not np.array_equal(w.numpy()[2], start().numpy()[2])


@pytest.mark.parametrize("clip", ["cowclip", "clippy"])
@pytest.mark.parametrize("cls", BOTH)
def test_no_op_touches_the_whole_table(cls, clip):
    assert whole_table_ops(cls(0.1, clip=clip, l2=1e-5)) == []


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_that_test_sees_a_dense_op(name):
    assert whole_table_ops(getattr(tf.keras.optimizers, name)(0.1)) != []


def whole_table_ops(optimizer):
    """Ops of a training step that read, write or make a tensor of the table's size."""
    rows = 70_001
    w = start(rows)
    optimizer.build([w])

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.gather(w, ids) - 1.0))
        optimizer.apply_gradients([(tape.gradient(loss, w), w)])

    operations = step.get_concrete_function(tf.constant([1, 2, 1])).graph.get_operations()
    assert "ResourceGather" in {op.type for op in operations}
    return [op.type for op in operations if any(rows in x for x in shapes_around(op))]


def shapes_around(op):
    for tensor in (*op.inputs, *op.outputs):
        if tensor.shape.rank:
            yield tensor.shape.as_list()


@pytest.mark.parametrize("cls", BOTH)
def test_a_dense_gradient_is_refused(cls):
    with pytest.raises(ValueError, match="gradient must be tf.IndexedSlices.*Received"):
        cls().apply_gradients([(tf.ones([ROWS, DIM]), start())])
