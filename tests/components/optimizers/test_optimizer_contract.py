"""What every optimizer of this project must do; one list of them, checked complete."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers import base_rows as base_row_optimizer
from steadyrank.components.optimizers import dense as dense_optimizers
from steadyrank.components.optimizers.base import BaseOptimizer
from steadyrank.components.optimizers.dense import Adagrad, Adam
from steadyrank.components.optimizers.rows import RowAdagrad, RowAdam, RowWiseAdagrad
from steadyrank.components.optimizers.schedules import WarmUp

DENSE = [Adagrad, Adam]
ROWS = [RowAdagrad, RowAdam, RowWiseAdagrad]
ALL = DENSE + ROWS
NON_DEFAULT = {
    "learning_rate": 0.25,
    "threshold": 0.5,
    "relative": 0.125,
    "absolute": 0.0625,
    "initial_accumulator": 0.75,
    "epsilon": 0.03125,
    "beta_1": 0.5,
    "beta_2": 0.875,
    "r": 2.0,
    "zeta": 0.375,
    "l2": 0.875,
    "semantics": "touched",
    "name": "other",
}


def arguments_of(cls):
    given = {k: NON_DEFAULT.get(k) for k in inspect.signature(cls).parameters}
    return {**given, "clip": "agc" if cls in DENSE else "clippy"}


def table():
    return tf.Variable(np.arange(1, 13, dtype=np.float32).reshape(6, 2) / 7)


def sparse(scale=1.0):
    values = scale * np.array([[1, 2], [-3, 4], [5, -6], [0.5, 0.25]], np.float32)
    indices = tf.constant([4, 1, 4, 0])
    return tf.IndexedSlices(tf.constant(values), indices, tf.constant([6, 2]))


def one_row():
    return tf.IndexedSlices(tf.ones([1, 2]), tf.constant([4]), tf.constant([6, 2]))


def state_of(optimizer, variable):
    return [x.numpy() for x in (variable, *optimizer.variables)]


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_list_is_complete():
    registered = {
        cls
        for name, cls in tf.keras.utils.get_custom_objects().items()
        if name.startswith("steadyrank>") and issubclass(cls, BaseOptimizer)
    }
    assert registered == set(ALL)


@pytest.mark.parametrize("cls", ALL)
def test_config_round_trips_every_argument(cls):
    arguments = arguments_of(cls)
    defaults = inspect.signature(cls).parameters
    assert all(defaults[k].default != v for k, v in arguments.items())
    optimizer = cls(**arguments)
    assert optimizer.get_config() == arguments
    revived = tf.keras.optimizers.deserialize(tf.keras.optimizers.serialize(optimizer))
    assert type(revived) is cls
    assert revived.get_config() == arguments


@pytest.mark.parametrize("cls", ALL)
def test_config_keeps_a_schedule(cls):
    optimizer = cls(learning_rate=WarmUp(0.5, steps=4, start=0.25))
    revived = cls.from_config(optimizer.get_config())
    variables = table(), table()
    for step in range(3):
        for each, variable in zip((optimizer, revived), variables, strict=True):
            each.apply_gradients([(sparse(), variable)])
        assert_same([variables[0].numpy()], [variables[1].numpy()])
        assert float(optimizer.learning_rate) == pytest.approx(0.25 + step / 16)


def after_steps(cls, arguments):
    optimizer, variable = cls(**arguments), table()
    for scale in (100.0, 3.0, 0.002):
        optimizer.apply_gradients([(sparse(scale), variable)])
        optimizer.apply_gradients([(one_row(), variable)])
    return variable.numpy()


@pytest.mark.parametrize("cls", ALL)
def test_every_argument_has_an_effect(cls):
    needs = {"threshold": "norm", "relative": "clippy", "absolute": "clippy"}
    needs.update({"r": "cowclip", "zeta": "cowclip"})
    plain = {}
    for name, value in arguments_of(cls).items():
        base = {"clip": needs.get(name, "none"), "learning_rate": 2.0}
        if name == "semantics":
            base["l2"] = 0.5
        key = tuple(base.values())
        if key not in plain:
            plain[key] = after_steps(cls, base)
        changed = after_steps(cls, {**base, name: value})
        assert (name == "name") == np.array_equal(plain[key], changed), name


@pytest.mark.parametrize("cls", ALL)
def test_repeated_ids_are_summed_before_anything_else(cls):
    summed = tf.IndexedSlices(
        tf.constant([[6.0, -4.0], [-3.0, 4.0], [0.5, 0.25]]),
        tf.constant([4, 1, 0]),
        tf.constant([6, 2]),
    )
    states = []
    for gradient in (sparse(), summed):
        optimizer, variable = cls(0.1, clip="none"), table()
        for _ in range(3):
            optimizer.apply_gradients([(gradient, variable)])
        states.append(state_of(optimizer, variable))
    assert_same(*states)


@pytest.mark.parametrize("clip", dense_optimizers.CLIPS)
@pytest.mark.parametrize("cls", DENSE)
def test_sparse_with_repeated_ids_equals_dense(cls, clip):
    states = []
    for gradient in (sparse(), tf.convert_to_tensor(sparse())):
        optimizer, variable = cls(0.1, clip=clip), table()
        for _ in range(3):
            optimizer.apply_gradients([(gradient, variable)])
        states.append(state_of(optimizer, variable))
    assert_same(*states)


def test_row_adagrad_equals_dense_adagrad():
    rows, dense = RowAdagrad(0.1, clip="none"), Adagrad(0.1, clip="none")
    variables = table(), table()
    for _ in range(4):
        rows.apply_gradients([(sparse(), variables[0])])
        dense.apply_gradients([(tf.convert_to_tensor(sparse()), variables[1])])
    assert_same([variables[0].numpy()], [variables[1].numpy()])


@pytest.mark.parametrize("before_build", [False, True])
@pytest.mark.parametrize("cls", ALL)
def test_save_restore_step_equals_step(cls, before_build, tmp_path):
    optimizer, variable = cls(WarmUp(0.5, 3)), table()
    for _ in range(2):
        optimizer.apply_gradients([(sparse(), variable)])
    path = tf.train.Checkpoint(optimizer=optimizer, w=variable).write(str(tmp_path / "c"))
    optimizer.apply_gradients([(sparse(2.0), variable)])

    other, restored = cls(WarmUp(0.5, 3)), tf.Variable(tf.zeros([6, 2]))
    if not before_build:
        other.build([restored])
    status = tf.train.Checkpoint(optimizer=other, w=restored).read(path)
    other.build([restored])
    status.assert_consumed()
    other.apply_gradients([(sparse(2.0), restored)])
    assert_same(state_of(optimizer, variable), state_of(other, restored))


@pytest.mark.parametrize("cls", ALL)
def test_variables_without_gradient_stay(cls):
    optimizer, used, unused = cls(0.1), table(), table()
    optimizer.apply_gradients([(sparse(), used), (None, unused)])
    assert_same([unused.numpy()], [table().numpy()])
    assert not np.array_equal(used.numpy(), table().numpy())


@pytest.mark.parametrize("cls", ALL)
def test_no_gradient_at_all_is_an_error(cls):
    with pytest.raises(ValueError, match="No gradients provided"):
        cls(0.1).apply_gradients([(None, table())])


@pytest.mark.parametrize("cls", ALL)
def test_graph_equals_eager(cls):
    states = []
    for wrap in (lambda f: f, tf.function):
        optimizer, variable = cls(0.1), table()
        step = wrap(lambda g, o=optimizer, v=variable: o.apply_gradients([(g, v)]))
        for scale in (1.0, 30.0, -2.0):
            step(sparse(scale))
        states.append(state_of(optimizer, variable))
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("cls", "clip"),
    [(Adagrad, clip) for clip in dense_optimizers.CLIPS]
    + [(RowAdam, clip) for clip in base_row_optimizer.CLIPS],
)
def test_double_precision_in_a_graph_equals_eager(cls, clip):
    settings, states = {"clip": clip} | ({"l2": 1.0} if cls in ROWS else {}), []
    for wrap in (lambda f: f, tf.function):
        optimizer, variable = (
            cls(0.1, **settings),
            tf.Variable(tf.cast(table(), tf.float64)),
        )
        optimizer.build([variable])
        g = sparse()
        g = tf.IndexedSlices(tf.cast(g.values, tf.float64), g.indices, g.dense_shape)
        step = wrap(lambda o=optimizer, v=variable, g=g: o.apply_gradients([(g, v)]))
        step()
        step()
        states.append(state_of(optimizer, variable))
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
@pytest.mark.parametrize("cls", ALL)
def test_other_types_are_computed_in_float32_or_wider(cls, dtype):
    optimizer, half = cls(0.1), tf.Variable(tf.cast(table(), dtype))
    exact, single = cls(0.1), tf.Variable(tf.cast(half, tf.float32))
    g = sparse()
    low = tf.IndexedSlices(tf.cast(g.values, dtype), g.indices, g.dense_shape)
    optimizer.apply_gradients([(low, half)])
    exact.apply_gradients([(g, single)])
    assert half.dtype == dtype
    wide = tf.float64 if dtype == tf.float64 else tf.float32
    slots = [v for v in optimizer.variables if v.shape.rank == 2]
    assert slots and all(v.dtype == wide for v in slots)
    expected = tf.cast(tf.cast(single, dtype), tf.float32)
    np.testing.assert_allclose(tf.cast(half, tf.float32), expected, rtol=1e-6)


@pytest.mark.parametrize("cls", ALL)
def test_no_dense_weight_decay_hides_in_a_step(cls):
    assert cls().weight_decay is None  # Keras' 0 multiplies the whole variable by 0


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (Adagrad, {"clip": "clipy"}, "clip must be one of .*Received: clip='clipy'"),
        (RowAdam, {"clip": "norm"}, "clip must be one of .*Received: clip='norm'"),
        (Adagrad, {"threshold": 0.0}, "greater than 0.0. Received: threshold=0.0"),
        (Adagrad, {"relative": -1.0}, "at least 0.0. Received: relative=-1.0"),
        (Adam, {"absolute": float("nan")}, "Received: absolute=nan"),
        (Adagrad, {"epsilon": 0.0}, "greater than 0.0. Received: epsilon=0.0"),
        (Adagrad, {"initial_accumulator": -0.1}, "initial_accumulator=-0.1"),
        (Adam, {"beta_1": 1.0}, "beta_1 must .*Received: beta_1=1.0"),
        (RowAdam, {"beta_2": -0.1}, "Received: beta_2=-0.1"),
        (RowAdam, {"beta_1": 0.9, "beta_2": 0.8}, "beta_1 squared must be below beta_2"),
        (RowAdam, {"r": -1.0}, "Received: r=-1.0"),
        (RowAdagrad, {"zeta": -1.0}, "Received: zeta=-1.0"),
        (RowAdagrad, {"l2": -1.0}, "Received: l2=-1.0"),
    ],
)
def test_bad_arguments_are_refused(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)
