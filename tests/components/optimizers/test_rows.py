"""Row optimizers: the reference step, untouched rows, no op over the whole table."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyrank.components.optimizers.base_rows import SEMANTICS
from steadyrank.components.optimizers.gradients import sum_duplicates
from steadyrank.components.optimizers.rows import RowAdagrad, RowAdam, RowWiseAdagrad
from tests.helpers import reference

ROWS, DIM = 9, 3
BOTH = [RowAdam, RowAdagrad]
ALL = [*BOTH, RowWiseAdagrad]


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
    optimizer, w = RowAdam(0.02, clip=clip, semantics="touched", **given_), start()
    first = w.numpy().astype(np.float64)
    state = first.copy(), np.zeros_like(first), np.zeros_like(first)
    for t, (indices, values) in enumerate(batches(), start=1):
        optimizer.apply_gradients([(slices(indices, values), w)])
        reference.row_adam_step(state, indices, values, t, 0.02, **arguments)
        np.testing.assert_allclose(w, state[0], rtol=2e-5, atol=1e-6)
        for slot, expected in zip(optimizer.slots_of(w), state[1:], strict=True):
            np.testing.assert_allclose(slot, expected, rtol=2e-5, atol=1e-7)
    np.testing.assert_array_equal(w.numpy()[-2:], start().numpy()[-2:])


def test_row_wise_adagrad_takes_the_mean_of_a_rows_squares():
    """By hand: of (3, -4, 0), and then of twice that, from an id that comes twice."""
    w, rate = start(), 0.6
    optimizer = RowWiseAdagrad(rate, clip="none")
    before, moved = w.numpy()[4], np.zeros(DIM)
    for accumulated in (0.1 + 25 / 3, 0.1 + 25 / 3 + 4 * 25 / 3):
        repeats = 1 if accumulated < 10 else 2
        optimizer.apply_gradients([(slices([4] * repeats, [[3, -4, 0]] * repeats), w)])
        moved += rate * repeats * np.array([3, -4, 0]) / np.sqrt(accumulated)
        (G,) = optimizer.slots_of(w)
        assert G.shape == [ROWS, 1] and float(G[4, 0]) == pytest.approx(accumulated)
        np.testing.assert_allclose(w[4], before - moved, rtol=1e-5)


@pytest.mark.parametrize("r", [1.0, 0.3])
def test_dense_semantics_equal_the_published_algorithm(r):
    optimizer, w = RowAdam(0.02, r=r, l2=0.05, semantics="dense"), start()
    first = w.numpy().astype(np.float64)
    state = first.copy(), np.zeros_like(first), np.zeros_like(first)
    for t, (indices, values) in enumerate(batches(steps=6, scale=0.02), start=1):
        optimizer.apply_gradients([(slices(indices, values), w)])
        reference.published_cowclip_step(state, indices, values, t, 0.02, 0.05, r)
        np.testing.assert_allclose(w, state[0], rtol=2e-5, atol=1e-6)
    assert 0 < float(optimizer.clipped_fraction(w)) <= 1
    assert not np.allclose(w.numpy()[-2:], first[-2:], rtol=0.05)  # absent, and moved


def rare_batches(rows, steps, scale, seed=8):
    """Ids of which half come often and half seldom."""
    random = np.random.default_rng(seed)
    pull = random.normal(size=[rows, DIM])
    for _ in range(steps):
        often = random.integers(0, rows // 2, 20)
        seldom = random.integers(rows // 2, rows, 2)
        ids = np.concatenate([often, seldom]).astype(np.int32)
        yield ids, scale * (pull[ids] + random.normal(size=[len(ids), DIM]))


def trained(cls, semantics, l2, settle_at=(), fast=False, steps=300, rows=60, **arguments):
    optimizer, w = cls(2e-3, l2=l2, semantics=semantics, **arguments), start(rows)
    optimizer.build([w])
    take = fast_step if fast else slow_step
    take = tf.function(take, reduce_retracing=True, autograph=False)
    for t, (indices, values) in enumerate(rare_batches(rows, steps, 1e-3)):
        take(optimizer, w, tf.constant(indices), tf.constant(values, tf.float32))
        if t in settle_at:
            optimizer.catch_up(w)
    optimizer.catch_up(w)
    return optimizer, w.numpy()


def slow_step(optimizer, w, indices, values):
    gradient = tf.IndexedSlices(values, indices, tf.shape(w))
    optimizer.apply_gradients([(gradient, w)])


def fast_step(optimizer, w, indices, values):
    rows, summed, counts = sum_duplicates(indices, values)
    optimizer.apply_rows([(w, optimizer.read(w, rows), summed, counts)])


@pytest.mark.parametrize(
    ("cls", "l2"),
    [
        (RowAdam, 0.0),
        (RowAdam, 1e-3),
        (RowAdagrad, 0.3),
        (RowAdagrad, 1.0),  # so much of it is clipped: by CowClip's bound, at r ||w||
        (RowWiseAdagrad, 0.3),
    ],
)
def test_lazy_semantics_give_what_dense_ones_give(cls, l2):
    dense, lazy, touched = (
        trained(cls, name, l2)[1] for name in ("dense", "lazy", "touched")
    )
    lost = np.abs(touched - dense).mean()
    assert lost > 0.01 * np.abs(dense).mean()  # else there is nothing to show
    assert np.abs(lazy - dense).mean() < 0.05 * lost


@pytest.mark.parametrize(
    ("cls", "l2", "bound"),
    [
        (RowAdam, 1e-3, {"r": 0.0, "zeta": 1e-3}),
        (RowAdagrad, 1.0, {"r": 0.5, "zeta": 1e-2}),
    ],
)
def test_an_absent_row_keeps_the_floor_of_its_bound(cls, l2, bound):
    dense, lazy, touched = (
        trained(cls, name, l2, **bound)[1] for name in ("dense", "lazy", "touched")
    )
    lost = np.abs(touched - dense).mean()
    assert lost > 0.01 * np.abs(dense).mean()
    assert np.abs(lazy - dense).mean() < 0.05 * lost


@pytest.mark.parametrize("cls", ALL)
def test_without_l2_adagrad_knows_no_absence(cls):
    results = [trained(cls, name, 0.0, steps=40)[1] for name in SEMANTICS]
    same = all(np.allclose(results[0], result, rtol=1e-6) for result in results)
    assert same == (cls is not RowAdam)


@pytest.mark.parametrize("cls", ALL)
def test_settling_on_the_way_changes_nothing_later(cls):
    _, once = trained(cls, "lazy", 1e-3, steps=120)
    _, often = trained(cls, "lazy", 1e-3, settle_at=(30, 31, 90), steps=120)
    assert np.abs(once - often).mean() < 0.01 * np.abs(once).mean()


def test_small_rates_are_not_lost_beside_what_has_passed():
    """A row absent for one step of 1e-4, with and without a long life before."""
    read = []
    for before in (0.0, 3000.0):
        optimizer, w = RowAdam(1e-4), start()
        optimizer.build([w])
        memory, passed = optimizer.state_of(w)
        passed.assign(before)
        memory[:, -1].assign(tf.fill([ROWS], before))
        optimizer.catch_up(w)
        for row in (0, 1):
            optimizer.apply_gradients([(slices([row], np.ones([1, DIM])), w)])
        read.append(optimizer.read(w, tf.constant([0])).w.numpy() - w.numpy()[0])
    assert np.all(read[0] != 0)
    np.testing.assert_allclose(read[1], read[0], rtol=1e-3)


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("cls", ALL)
def test_both_ways_to_step_are_one(cls, semantics):
    slow = trained(cls, semantics, 1e-2, steps=30, r=0.1)
    fast = trained(cls, semantics, 1e-2, steps=30, r=0.1, fast=True)
    np.testing.assert_allclose(slow[1], fast[1], rtol=1e-6, atol=1e-9)
    assert int(fast[0].iterations) == int(slow[0].iterations) == 30
    clipped = [float(optimizer.clipped_fractions[0]) for optimizer, _ in (slow, fast)]
    assert clipped[0] == clipped[1]


def test_a_table_may_be_left_unclipped():
    optimizer, clipped, free, plain = RowAdagrad(0.1, r=1e-3), start(), start(), start()
    optimizer.leave_unclipped([free])
    optimizer.build([clipped, free])
    gradient = slices([1, 2], np.ones([2, DIM]))
    optimizer.apply_gradients([(gradient, clipped), (gradient, free)])
    RowAdagrad(0.1, clip="none").apply_gradients([(gradient, plain)])
    np.testing.assert_array_equal(free, plain)
    assert not np.allclose(clipped, plain, rtol=1e-3)
    assert [float(f) for f in optimizer.clipped_fractions] == [1, 0]


def test_a_global_norm_shares_one_factor():
    values = np.array([[3.0, 0, 0], [0, 4.0, 0]]) * 1e3
    one, other = start(), start()
    RowAdagrad(0.1, clip="global", r=0.5).apply_gradients([(slices([1, 2], values), one)])
    bound = 0.5 * np.linalg.norm(start().numpy()[[1, 2]])
    scaled = values * bound / np.linalg.norm(values)
    RowAdagrad(0.1, clip="none").apply_gradients([(slices([1, 2], scaled), other)])
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_a_field_shares_one_factor():
    """Rows 0 and 1 are a field, the others another; only the first is over its bound."""
    values = np.array([[3e3, 0, 0], [0, 4e3, 0], [1e-6, 0, 0], [0, 0, 1e-6]])
    rows, told, other = [0, 1, 2, 3], start(), start()
    optimizer = RowAdagrad(0.1, clip="field", r=0.5)
    optimizer.tell_fields(told, [0, 2])
    optimizer.apply_gradients([(slices(rows, values), told)])
    scaled = values.copy()
    scaled[:2] *= 0.5 * np.linalg.norm(start().numpy()[:2]) / np.linalg.norm(values[:2])
    RowAdagrad(0.1, clip="none").apply_gradients([(slices(rows, scaled), other)])
    np.testing.assert_allclose(told, other, rtol=1e-5)
    assert float(optimizer.clipped_fractions[0]) == 0.5


@pytest.mark.parametrize("cls", ALL)
def test_read_gives_what_settle_writes(cls):
    optimizer, w = cls(1e-2, l2=0.5), start()
    for indices, values in batches():
        optimizer.apply_gradients([(slices(indices, values), w)])
        optimizer.apply_gradients([(slices([0], [[1e-3] * DIM]), w)])
    seen = optimizer.read(w, tf.range(ROWS))
    stale = w.numpy()
    optimizer.catch_up(w)
    np.testing.assert_array_equal(w, seen.w)
    assert not np.allclose(stale[-1], w.numpy()[-1], rtol=1e-3)
    for slot, value in zip(optimizer.slots_of(w), seen.slots, strict=True):
        np.testing.assert_array_equal(slot, value)
    np.testing.assert_array_equal(optimizer.read(w, tf.range(ROWS)).w, seen.w)


def test_a_long_absence_and_a_schedule_keep_all_finite():
    optimizer, w = RowAdam(1e-3, l2=1e-4), start()
    optimizer.build([w])
    optimizer.apply_gradients([(slices([0, 1], np.ones([2, DIM])), w)])
    optimizer.iterations.assign(3_000_000)
    optimizer.state_of(w)[1].assign(3000.0)
    held = optimizer.read(w, tf.range(ROWS))
    np.testing.assert_allclose(held.w, np.zeros([ROWS, DIM]), atol=1e-6)
    for value in held.slots:
        assert np.all(np.isfinite(value))


@pytest.mark.parametrize("cls", ALL)
@settings(max_examples=30)
@given(
    clip=st.sampled_from(["none", "cowclip", "clippy"]),  # the others share a norm
    indices=arrays(np.int32, 6, elements=st.integers(0, ROWS - 1)),
    values=arrays(np.float32, (6, DIM), elements=st.floats(width=32)),
)
def test_other_rows_stay_bit_for_bit_and_bad_rows_too(cls, clip, indices, values):
    optimizer, w = cls(0.1, clip=clip, l2=0.01), start()
    optimizer.apply_gradients([(slices(indices, values), w)])
    initial = 0.0 if cls is RowAdam else 0.1
    bad = {i for i, row in zip(indices, values, strict=True) if not np.isfinite(row).all()}
    for i in range(ROWS):
        if i not in indices or i in bad:
            np.testing.assert_array_equal(w.numpy()[i], start().numpy()[i])
            for slot in optimizer.slots_of(w):
                assert np.all(slot.numpy()[i] == np.float32(initial))
    assert len(bad) <= int(optimizer.nonfinite_count) <= len(set(indices))
    for tensor in (w, *optimizer.slots_of(w)):
        assert np.all(np.isfinite(tensor))


@settings(max_examples=40)
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
        ],
        autograph=False,
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
@pytest.mark.parametrize("cls", ALL)
def test_no_op_touches_the_whole_table(cls, clip):
    assert whole_table_ops(cls(0.1, clip=clip, l2=1e-5)) == []
    assert whole_table_ops(cls(0.1, clip=clip, l2=1e-5), fast=True) == []


def test_dense_semantics_do():
    assert whole_table_ops(RowAdam(0.1, semantics="dense")) != []


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_that_test_sees_a_dense_op(name):
    assert whole_table_ops(getattr(tf.keras.optimizers, name)(0.1)) != []


def whole_table_ops(optimizer, fast=False):
    """Ops of a training step that read, write or make a tensor of the table's size."""
    rows = 70_001
    w = start(rows)
    optimizer.build([w])

    @tf.function(autograph=False)
    def step(ids):
        if fast:
            values = tf.gather(optimizer.read(w, tf.unique(ids).y).w, ids)
            return fast_step(optimizer, w, ids, values)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.gather(w, ids) - 1.0))
        return optimizer.apply_gradients([(tape.gradient(loss, w), w)])

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
