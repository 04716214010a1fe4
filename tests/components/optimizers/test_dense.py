"""Adagrad and Adam for dense weights: the invariant, parity, non-finite gradients."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from steadyrank.components.optimizers.clippy import PRESETS
from steadyrank.components.optimizers.dense import CLIPS, Adagrad, Adam
from tests.helpers import reference

ANY = st.floats(width=32, allow_nan=True, allow_infinity=True)
USUAL = st.floats(-100, 100, width=32)
SIZE = 5


def random_steps(steps=6, shape=(4, 3), scale=3.0, seed=0):
    random = np.random.default_rng(seed)
    return [
        tf.constant(scale * random.normal(size=shape), tf.float32) for _ in range(steps)
    ]


def start(shape=(4, 3), seed=1):
    return tf.Variable(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def run(optimizer, gradients, variable=None):
    variable = start() if variable is None else variable
    for g in gradients:
        optimizer.apply_gradients([(g, variable)])
    return variable.numpy()


@pytest.fixture(scope="module")
def clippy_steps():
    """One traced step for each base rule, to be fed with many gradients."""
    steps = {}
    for cls in (Adagrad, Adam):
        optimizer, w = cls(3.0), tf.Variable(tf.zeros([SIZE]))
        optimizer.build([w])

        @tf.function(reduce_retracing=True, autograph=False)
        def step(g, o=optimizer, w=w):
            o.apply_gradients([(g, w)])

        steps[cls] = (optimizer, w, step)
    return steps


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("cls", [Adagrad, Adam])
@settings(max_examples=60)
@given(data=st.data())
def test_no_weight_moves_further_than_it_may(clippy_steps, cls, sparse, data):
    optimizer, w, step = clippy_steps[cls]
    g = data.draw(arrays(np.float32, SIZE, elements=st.one_of(USUAL, ANY)))
    before = data.draw(arrays(np.float32, SIZE, elements=USUAL))
    w.assign(before)
    slots = [v.numpy() for v in optimizer.state_of(w)]
    skipped = int(optimizer.nonfinite_count)
    if sparse:
        indices = tf.constant([0, 1, 2, 3, 4, 2])
        g = np.append(g, g[2])
        step(tf.IndexedSlices(tf.constant(g), indices, tf.constant([SIZE])))
    else:
        step(tf.constant(g))
    moved = np.abs(w.numpy().astype(np.float64) - before)
    bound = 0.5 * np.abs(before.astype(np.float64)) + 1e-2
    rounding = np.spacing(np.maximum(np.abs(before), np.abs(w.numpy())))
    assert np.all(moved <= bound + rounding)
    assert np.all(np.isfinite(w.numpy()))
    assert 0 <= float(optimizer.clipping_factor(w)) <= 1
    if not np.all(np.isfinite(g)):
        np.testing.assert_array_equal(w.numpy(), before)
        for slot, old in zip(optimizer.state_of(w), slots, strict=True):
            np.testing.assert_array_equal(slot.numpy(), old)
        assert int(optimizer.nonfinite_count) == skipped + 1


@pytest.mark.parametrize("preset", PRESETS)
def test_clippy_equals_tensorflow_recommenders(preset):
    bounds = PRESETS[preset]
    ours, ours_w = Adagrad(0.7, **bounds), start()
    theirs = tfrs.experimental.optimizers.ClippyAdagrad(
        0.7,
        variable_relative_threshold=bounds["relative"],
        absolute_threshold=bounds["absolute"],
        use_standard_accumulator_update=True,
        export_clipping_factors=True,
    )
    theirs_w = start()
    for g in random_steps(8):
        ours.apply_gradients([(g, ours_w)])
        theirs.apply_gradients([(g, theirs_w)])
        np.testing.assert_allclose(ours_w, theirs_w, rtol=2e-6, atol=1e-7)
        np.testing.assert_allclose(
            ours.clipping_factors[0], theirs.clipping_factors[0], rtol=2e-6
        )
    assert float(ours.clipping_factors[0]) < 1


def test_clippy_equals_the_paper():
    optimizer, w = Adagrad(2.0, relative=0.5, absolute=1e-2), start()
    expected, accumulator = w.numpy().astype(np.float64), np.full([4, 3], 0.1)
    for g in random_steps(5):
        optimizer.apply_gradients([(g, w)])
        expected, accumulator, sigma = reference.clippy_adagrad_step(
            expected, g.numpy().astype(np.float64), accumulator, 2.0, 0.5, 1e-2
        )
        np.testing.assert_allclose(w, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(optimizer.clipping_factor(w), sigma, rtol=1e-5)


CLIPPY = ("clippy", "clippy_unit")
UNBOUND = {"relative": float("inf"), "absolute": float("inf")}
OFF = {
    clip: UNBOUND if clip in CLIPPY else {"threshold": 1e30}
    for clip in CLIPS
    if clip != "lamb"
}


@pytest.mark.parametrize("clip", OFF)
@pytest.mark.parametrize("cls", [Adagrad, Adam])
def test_switched_off_clip_leaves_the_base_rule_bit_for_bit(cls, clip):
    off = cls(0.3, clip=clip, **OFF[clip])
    plain = cls(0.3, clip="none")
    gradients = random_steps()
    zero = tf.Variable(tf.zeros([4, 3]))
    np.testing.assert_array_equal(run(off, gradients), run(plain, gradients))
    np.testing.assert_array_equal(
        run(cls(0.3, clip=clip, **OFF[clip]), gradients, zero),
        run(cls(0.3, clip="none"), gradients, tf.Variable(tf.zeros([4, 3]))),
    )
    assert float(off.clipping_factors[0]) == 1


def test_clippy_per_unit_stops_only_the_unit_that_goes_too_far():
    w = tf.Variable([[1.0, 1.0], [1.0, 1.0]])
    optimizer = Adagrad(
        1.0, clip="clippy_unit", relative=0.1, absolute=0.0, initial_accumulator=1e6
    )
    optimizer.apply_gradients([(tf.constant([[10.0, 1e9], [20.0, 1.0]]), w)])
    expected = [[1 - 10 / 1e6**0.5 / 1.00005, 0.9], [1 - 20 / 1e6**0.5 / 1.0002, 0.9999]]
    np.testing.assert_allclose(w, expected, rtol=1e-5)
    assert float(optimizer.clipping_factors[0]) == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Adagrad, tf.keras.optimizers.Adagrad),
        (Adam, tf.keras.optimizers.Adam),
    ],
)
def test_base_rules_equal_keras_bit_for_bit(ours, theirs):
    gradients = random_steps(10)
    keras = run(theirs(0.1, jit_compile=False), gradients)
    np.testing.assert_array_equal(run(ours(0.1, clip="none"), gradients), keras)


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e25])
def test_a_poisoned_tensor_is_left_alone_and_the_others_move(clip, poison):
    optimizer, bad, good = Adagrad(0.1, clip=clip), start(), start()
    poisoned = random_steps(1)[0].numpy()
    poisoned[2, 1] = poison
    clean = random_steps(1)[0]
    optimizer.apply_gradients([(tf.constant(poisoned), bad), (clean, good)])
    np.testing.assert_array_equal(bad.numpy(), start().numpy())
    np.testing.assert_array_equal(optimizer._slots_of(bad)[0], np.full([4, 3], 0.1, "f"))
    assert np.all(np.isfinite(good)) and not np.array_equal(good, start())
    assert int(optimizer.nonfinite_count) == 1
    assert [int(n) for n in optimizer.nonfinite_counts] == [1, 0]
    assert float(optimizer.clipping_factor(bad)) == 0
    run(optimizer, [clean], bad)
    assert not np.array_equal(bad.numpy(), start().numpy())


def expected_factor(clip, g, w, r, c, all_norm):
    norm = np.linalg.norm
    unit_w, unit_g = norm(w, axis=0, keepdims=True), norm(g, axis=0, keepdims=True)
    return {
        "value": np.minimum(1, c / np.abs(g)),
        "norm": min(1, c / norm(g)),
        "global_norm": min(1, c / all_norm),
        "agc": np.minimum(1, c * np.maximum(unit_w, 1e-3) / unit_g),
        "agc_tensor": min(1, c * max(norm(w), 1e-3) / norm(g)),
        "lamb": c * norm(w) / norm(r),
    }[clip]


@pytest.mark.parametrize("clip", [clip for clip in CLIPS if clip not in ("none", *CLIPPY)])
def test_rivals_scale_the_step_and_leave_the_accumulator(clip):
    optimizer, w, other = Adagrad(0.5, clip=clip, threshold=0.3), start(), start()
    g, second = random_steps(2)
    optimizer.apply_gradients([(g, w), (second, other)])
    g, before = g.numpy().astype(np.float64), start().numpy().astype(np.float64)
    accumulator = 0.1 + g * g
    r = g / np.sqrt(accumulator + 1e-7)
    all_norm = np.sqrt(np.sum(g**2) + np.sum(second.numpy().astype(np.float64) ** 2))
    sigma = expected_factor(clip, g, before, r, 0.3, all_norm)
    np.testing.assert_allclose(w, before - 0.5 * sigma * r, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(optimizer._slots_of(w)[0], accumulator, rtol=1e-6)
    np.testing.assert_allclose(optimizer.clipping_factor(w), np.min(sigma), rtol=1e-5)


def test_the_bound_follows_the_schedule():
    schedule = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1], [1e-6, 5.0])
    optimizer, w = Adagrad(schedule), start()
    factors = []
    for g in random_steps(4):
        optimizer.apply_gradients([(g, w)])
        factors.append(float(optimizer.clipping_factors[0]))
    assert factors[0] == factors[1] == 1 and max(factors[2:]) < 1


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4)])
@pytest.mark.parametrize("clip", CLIPS)
def test_any_rank(clip, shape):
    optimizer, w = Adagrad(0.1, clip=clip), tf.Variable(tf.ones(shape))
    optimizer.apply_gradients([(tf.fill(shape, 2.0), w)])
    assert np.all(w.numpy() < 1)


def test_the_norm_of_the_last_update_is_known():
    w = tf.Variable([3.0, 4.0])
    optimizer = Adagrad(learning_rate=0.1, clip="clippy")
    before = w.numpy()
    optimizer.apply_gradients([(tf.constant([1.0, -2.0]), w)])
    expected = np.linalg.norm(before - w.numpy())
    assert float(optimizer.update_norms[0]) == pytest.approx(expected, rel=1e-6)
    optimizer.apply_gradients([(tf.constant([float("nan"), 1.0]), w)])
    assert float(optimizer.update_norms[0]) == 0.0
