"""Task weights inside of a training step: what moves, and that replicas agree."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components import task_weights
from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from steadyrank.models.features import Task
from steadyrank.models.task_weighting import METHODS, TaskWeighting
from tests.helpers.ranker import (
    BOTTOM,
    FEATURES,
    SPECS,
    TASKS,
    batch_of,
    half,
    weights_of,
)

SETTINGS = {
    "fixed": {},
    "decay": {"gamma": {"like": 0.5}, "per": "step"},
    "uncertainty": {"rate": 0.1},
    "gradnorm": {"alpha": 1.0, "rate": 0.1},
    "dwa": {"temperature": 2.0},
    "pcgrad": {},
}
EVERY = pytest.mark.parametrize("method", METHODS)


def build(method, period=2, clip="clippy", tasks=TASKS):
    settings = {**BOTTOM, "front": "concatenation", "layer_norm": False}
    model = build_model(FEATURES, tasks, "click", settings, seed=3)
    model.compile(
        DENSE_OPTIMIZERS["adagrad"](0.2, clip=clip),
        ROW_OPTIMIZERS["adam"](0.05),
        TaskWeighting(tasks, method, period, SETTINGS[method]),
    )
    return model


def losses_of(model, batch):
    return np.array(
        [float(v) for v in model.task_losses(batch[1], batch[2], model(batch[0])).values()]
    )


@EVERY
def test_a_step_weighs_by_what_was_known_before_it(method):
    model, batch = build(method), batch_of(24)
    for _ in range(4):
        weights, losses = model.weighting.weights().numpy(), losses_of(model, batch)
        loss = float(model.train_step(batch)["loss"])
        assert loss == pytest.approx(float(weights @ losses), rel=1e-5)
    own = [task.weight for task in TASKS]
    changed = not np.allclose(model.weighting.weights(), own)
    assert changed is (method not in ("fixed", "pcgrad"))


def test_decay_by_step_and_by_epoch():
    model, batch = build("decay"), batch_of(8)
    seen = [model.weighting.weights().numpy()[1]]
    for _ in range(3):
        model.train_step(batch)
        seen.append(model.weighting.weights().numpy()[1])
    np.testing.assert_allclose(seen, [2.0, 1.0, 0.5, 0.25])
    by_epoch = TaskWeighting(TASKS, "decay", 2, {"gamma": {"like": 0.5}, "per": "epoch"})
    seen = []
    for _ in range(4):
        seen.append(by_epoch.weights().numpy()[1])
        by_epoch.step(None, dict.fromkeys(("click", "like", "watch"), tf.constant(1.0)), [])
    np.testing.assert_allclose(seen, [2.0, 2.0, 1.0, 1.0])


def test_dwa_compares_the_means_of_the_last_two_epochs():
    weighting = TaskWeighting(TASKS, "dwa", 2, {"temperature": 2.0})
    steps = np.array([[1, 1, 2], [3, 1, 0], [1, 2, 1], [1, 4, 3]], np.float32)
    for row in steps:
        np.testing.assert_allclose(weighting.weights(), [1, 2, 0.5], rtol=1e-6)
        named = dict(zip(("click", "like", "watch"), map(tf.constant, row), strict=True))
        weighting.step(None, named, [])
    expected = task_weights.dwa(
        tf.constant([1.0, 3.0, 2.0]), tf.constant([2.0, 1.0, 1.0]), 2.0
    )
    np.testing.assert_allclose(weighting.weights(), expected * [1, 2, 0.5], rtol=1e-5)


def test_dwa_leaves_out_a_batch_that_is_not_finite():
    weighting = TaskWeighting(TASKS, "dwa", 2, {"temperature": 2.0})
    steps = np.array([[np.inf, 1, 2], [4, 2, 2], [1, 1, 1], [1, 1, 1]], np.float32)
    for row in steps:
        named = dict(zip(("click", "like", "watch"), map(tf.constant, row), strict=True))
        weighting.step(None, named, [])
    last, before = tf.constant([1.0, 1.0, 1.0]), tf.constant([4.0, 2.0, 2.0])
    expected = task_weights.dwa(last, before, 2.0)
    np.testing.assert_allclose(weighting.weights(), expected * [1, 2, 0.5], rtol=1e-5)


def test_epochs_begin_anew_and_what_was_learned_stays():
    weighting = TaskWeighting(TASKS, "dwa", 2, SETTINGS["dwa"])
    for loss in (3.0, 1.0, 1.0, 1.0, 9.0):  # the last one is of an epoch that did not end
        weighting.step(None, {task.name: tf.constant(loss) for task in TASKS}, [])
    weighting.begin_again()
    state = {name: variable.numpy() for name, variable in weighting._state.items()}
    assert state["step"] == 0 and not state["sum"].any()
    assert (state["before"] == 2.0).all() and (state["last"] == 1.0).all()


def test_gradnorm_measures_the_trunk():
    model, batch = build("gradnorm"), batch_of(24)
    with tf.GradientTape(persistent=True) as tape:
        losses = model.task_losses(batch[1], batch[2], model(batch[0]))
    norms = []
    for task in TASKS:
        parts = tape.gradient(losses[task.name], model.trunk.trainable_variables)
        total = sum(float(tf.reduce_sum(part**2)) for part in parts)
        norms.append(task.weight * total**0.5)
    model.train_step(batch)
    expected = task_weights.gradnorm_step(
        tf.ones(3), np.array(norms, np.float32), tf.ones(3), 1.0, rate=0.1
    )
    own = [task.weight for task in TASKS]
    np.testing.assert_allclose(model.weighting.weights(), expected * own, rtol=1e-4)


def test_pcgrad_changes_the_trunk_alone():
    batch = batch_of(24)
    fixed, pcgrad = build("fixed", clip="none"), build("pcgrad", clip="none")
    before = [v.numpy() for v in fixed.dense_variables]
    fixed.train_step(batch)
    pcgrad.train_step(batch)
    trunk = {v.ref() for v in fixed.trunk.trainable_variables}
    for a, b, old in zip(
        fixed.dense_variables, pcgrad.dense_variables, before, strict=True
    ):
        assert not np.array_equal(a, old)
        assert np.allclose(a, b, rtol=1e-5) is (a.ref() not in trunk), a.name


def test_pcgrad_of_one_task_is_plain_training():
    tasks = TASKS[:1]
    one, other = build("fixed", tasks=tasks), build("pcgrad", tasks=tasks)
    for seed in range(3):
        one.train_step(batch_of(24, seed))
        other.train_step(batch_of(24, seed))
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


# one that looks at losses, as dwa does (after two epochs), and those that look at
# gradients; the others are told the step alone
@pytest.mark.parametrize("method", ["uncertainty", "gradnorm", "pcgrad"])
def test_two_replicas_equal_one(two_replicas, method):
    one = build(method)
    with two_replicas.scope():
        two = build(method)

    @tf.function(input_signature=[SPECS], autograph=False)  # as training compiles it
    def step_two(batch):
        return two_replicas.run(lambda: two.train_step(half(batch)))

    for seed, size in enumerate([24, 15, 24]):
        one.train_step(batch_of(size, seed))
        step_two(batch_of(size, seed))
    np.testing.assert_allclose(one.weighting.weights(), two.weighting.weights(), rtol=1e-4)
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-4, atol=5e-6)


def test_a_penalty_counts_once_however_many_replicas(two_replicas):
    settings = {"trunk": "sluice", "bottom_units": [8], "subspaces": 2, "penalty": 0.3}
    settings["tower_units"] = []

    def make():
        model = build_model(FEATURES, TASKS, "click", settings, seed=3)
        model.compile(DENSE_OPTIMIZERS["adagrad"](0.2), ROW_OPTIMIZERS["adam"](0.05))
        return model

    one, batch = make(), batch_of(24)
    with two_replicas.scope():
        two = make()
    own = [task.weight for task in TASKS]
    penalty = float(one.trunk.regularization())
    losses = losses_of(one, batch)
    loss = float(one.train_step(batch)["loss"])
    assert penalty > 0.1
    assert loss == pytest.approx(float(losses @ own) + penalty, rel=1e-5)
    both = two_replicas.run(lambda: two.train_step(half(batch)))["loss"]
    assert sum(map(float, two_replicas.experimental_local_results(both))) == pytest.approx(
        loss, rel=1e-5
    )
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-4, atol=5e-6)


@pytest.mark.parametrize("method", ["fixed", "gradnorm", "pcgrad"])
def test_a_penalty_moves_the_trunk_under_every_method(method):
    batch = batch_of(24)

    def trunk_after(penalty):
        settings = {"trunk": "sluice", "bottom_units": [8], "subspaces": 2}
        settings |= {"penalty": penalty, "tower_units": []}
        model = build_model(FEATURES, TASKS, "click", settings, seed=3)
        model.compile(
            DENSE_OPTIMIZERS["adagrad"](0.2, clip="none"),
            ROW_OPTIMIZERS["adam"](0.05),
            TaskWeighting(TASKS, method, 1, SETTINGS[method]),
        )
        model.train_step(batch)
        return model.trunk

    without, much = trunk_after(1e-12), trunk_after(10.0)
    assert float(much.regularization()) / 10 < 0.9 * float(without.regularization()) * 1e12


@EVERY
def test_the_state_is_in_the_models_checkpoint(tmp_path, method):
    model, batch = build(method), batch_of(24)
    for _ in range(3):
        model.train_step(batch)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "c"))
    fresh = build(method)
    tf.train.Checkpoint(model=fresh).read(path).assert_consumed()
    np.testing.assert_array_equal(fresh.weighting.weights(), model.weighting.weights())


def test_a_batch_without_a_task_leaves_everything_finite():
    for method in METHODS:
        model = build(method)
        features, labels, masks = batch_of(16, like=False)
        for _ in range(3):
            logs = model.train_step((features, labels, masks))
        assert np.isfinite(model.weighting.weights()).all(), method
        assert int(logs["nonfinite"]) == 0


@EVERY
def test_a_poisoned_batch_is_over_in_one_step(method):
    model, (features, labels, masks) = build(method), batch_of(16)
    name = TASKS[-1].name
    poisoned = {**labels, name: np.full_like(labels[name], np.inf)}
    model.train_step((features, poisoned, masks))
    for _ in range(4):
        before = [v.numpy() for v in model.trainable_variables]
        model.train_step((features, labels, masks))
        assert np.isfinite(model.weighting.weights()).all()
        assert np.isfinite(losses_of(model, (features, labels, masks))).all()
        after = model.trainable_variables
        assert any((a != b.numpy()).any() for a, b in zip(before, after, strict=True))


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method must be one of .*'gradnorm'"):
        TaskWeighting(TASKS, "gradnrom")


def test_a_weighted_positive_counts_so_often_and_is_served_as_one():
    plain = (Task("click", mean=0.3),)
    heavy = (Task("click", mean=0.3, positive_weight=4.0),)
    one, other = build("fixed", tasks=plain), build("fixed", tasks=heavy)
    for a, b in zip(other.trainable_variables, one.trainable_variables, strict=True):
        if "bias_click" not in a.name:
            np.testing.assert_array_equal(a, b)
    shift = float(other.biases["click"] - one.biases["click"])
    assert shift == pytest.approx(np.log(4.0), rel=1e-5)
    features, labels, masks = batch_of(40)
    np.testing.assert_allclose(
        other.head.predict_tasks(features)["click"],
        one.head.predict_tasks(features)["click"],
        rtol=1e-5,
    )
    raw = other(features)["click"].numpy().astype(np.float64)
    y, p = labels["click"].numpy(), 1 / (1 + np.exp(-raw))
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    expected = np.average(losses, weights=np.where(y == 1, 4.0, 1.0))
    found = other.task_losses(labels, masks, other(features))["click"]
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_rows_count_by_their_weight():
    model = build("fixed", tasks=TASKS[:1])
    features, labels, masks = batch_of(20)
    weights = np.random.default_rng(1).uniform(0, 3, 20).astype(np.float32)
    raw = model(features)["click"].numpy().astype(np.float64)
    y, p = labels["click"].numpy(), 1 / (1 + np.exp(-raw))
    losses = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    found = model.task_losses(labels, {"click": tf.constant(weights)}, model(features))
    assert float(found["click"]) == pytest.approx(
        np.average(losses, weights=weights), rel=1e-5
    )
