"""The ranking model: starts, losses, outputs, and two replicas equal to one."""

import math

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.experts import CGC
from steadyrank.models.build import DENSE_OPTIMIZERS, ROW_OPTIMIZERS, build_model
from steadyrank.models.features import Task
from steadyrank.models.trunks.ple import LEVEL_SEEDS, Ple
from steadyrank.models.trunks.shared_bottom import SharedBottom
from tests.helpers import reference
from tests.helpers.ranker import (
    BOTTOM,
    FEATURES,
    NAN,
    PLE,
    SCORE,
    SPECS,
    TASKS,
    batch_of,
    build,
    half,
    weights_of,
)

TRUNKS = pytest.mark.parametrize("settings", [PLE, BOTTOM], ids=["ple", "bottom"])


def ple_of(levels, shared, own, units):
    experts = {"shared_experts": shared, "task_experts": own, "expert_units": units}
    return Ple(["a", "b"], levels=levels, seed=7, **experts)


def test_one_level_of_ple_is_cgc():
    x = tf.constant(np.random.default_rng(0).normal(size=[5, 6]), tf.float32)
    ple = ple_of(1, 2, 1, [8, 4])
    cgc = CGC(["a", "b"], 1, 2, [8, 4], shared_gate=False, seed=7)
    outputs, shared = cgc({"a": x, "b": x}, x)
    assert shared is None
    for task, values in ple(x).items():
        np.testing.assert_array_equal(values, outputs[task])


def test_two_levels_of_ple_are_cgc_on_cgc():
    x = tf.constant(np.random.default_rng(0).normal(size=[5, 6]), tf.float32)
    ple = ple_of(2, 1, 1, [8])
    first = CGC(["a", "b"], 1, 1, [8], seed=7)
    second = CGC(["a", "b"], 1, 1, [8], shared_gate=False, seed=7 + LEVEL_SEEDS)
    outputs, _ = second(*first({"a": x, "b": x}, x))
    for task, values in ple(x).items():
        np.testing.assert_array_equal(values, outputs[task])


def test_ple_with_one_shared_expert_and_no_other_is_a_shared_bottom():
    x = np.random.default_rng(0).normal(size=[5, 6]).astype(np.float32)
    ple = ple_of(1, 1, 0, [8, 4])
    outputs = ple(tf.constant(x))
    bottom = SharedBottom(["a", "b"], [8, 4], seed=1)
    bottom(tf.constant(x))
    experts = [v for v in ple.trainable_variables if "gate" not in v.name]
    for target, source in zip(bottom.trainable_variables, experts, strict=True):
        target.assign(source)
    for task, values in bottom(tf.constant(x)).items():
        np.testing.assert_allclose(values, outputs[task], atol=1e-6)


def test_a_shared_bottom_is_a_rectified_network():
    x = np.random.default_rng(0).normal(size=[5, 6]).astype(np.float32)
    bottom = SharedBottom(["a", "b"], [8, 3], seed=1)
    outputs = bottom(tf.constant(x))
    kernels = [layer.kernel.numpy() for layer in bottom.bottom.layers]
    biases = [layer.bias.numpy() for layer in bottom.bottom.layers]
    expected = reference.mlp(x, kernels, biases)
    for values in outputs.values():
        np.testing.assert_allclose(values, expected, atol=1e-6)


@TRUNKS
def test_a_model_starts_near_the_base_rates(settings):
    model = build(settings)
    for task in TASKS[:2]:
        logit = math.log(task.mean / (1 - task.mean))
        assert model.biases[task.name].numpy() == pytest.approx(logit, rel=1e-5)
    assert model.biases["watch"].numpy() == 0.0
    features, _, _ = batch_of(400)
    for name, outputs in model(features).items():
        moved = np.median(outputs) - model.biases[name].numpy()
        assert abs(moved) < 0.5, name


@TRUNKS
def test_towers_that_say_nothing_leave_the_base_rates(settings):
    model = build(settings)
    for tower in model.towers.values():
        for weight in tower.trainable_variables:
            weight.assign(tf.zeros_like(weight))
    features, _, _ = batch_of(5)
    outputs = model.head.predict_tasks(features)
    np.testing.assert_allclose(outputs["click"], [0.3] * 5, rtol=1e-5)
    np.testing.assert_allclose(outputs["like"], [0.02] * 5, rtol=1e-5)
    np.testing.assert_allclose(outputs["watch"], [math.exp(1.5) - 1] * 5, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_label_of_one_kind_still_gives_a_finite_start(rate):
    model = build(tasks=(Task("click", mean=rate), *TASKS[1:]))
    assert abs(model.biases["click"].numpy()) == pytest.approx(13.8, abs=0.1)


@TRUNKS
def test_every_weight_has_one_optimizer(settings):
    model = build(settings)
    dense = [v.ref() for v in model.dense_variables]
    tables = [v.ref() for v in model.embedding_variables]
    assert len(tables) == 2  # widths 3 and 4
    assert len({*dense, *tables}) == len(dense) + len(tables)
    assert {*dense, *tables} == {v.ref() for v in model.trainable_variables}
    before = weights_of(model)
    model.train_step(batch_of(64))
    for old, new in zip(before, weights_of(model), strict=True):
        assert not np.array_equal(old, new)


@TRUNKS
def test_the_seed_makes_the_weights(settings):
    one, same, other = (weights_of(build(settings, seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert sum(not np.array_equal(a, b) for a, b in zip(one, other, strict=True)) > 3


def test_the_largest_seed_works():
    build(seed=2**31 - 1)


def test_losses_by_hand():
    model = build()
    features, labels, masks = batch_of(30)
    raw = {k: v.numpy().astype(float) for k, v in model(features).items()}
    losses = model.task_losses(labels, masks, model(features))
    for task in TASKS:
        total, count = 0.0, 0
        for i in range(30):
            if masks[task.name][i] == 0:
                continue
            y, x = float(labels[task.name][i]), raw[task.name][i]
            if task.kind == "binary":
                p = 1 / (1 + math.exp(-x))
                total -= y * math.log(p) + (1 - y) * math.log(1 - p)
            else:
                total += ((math.log(1 + y) - task.mean) / task.std - x) ** 2
            count += 1
        assert 0 < count < 31
        assert float(losses[task.name]) == pytest.approx(total / count, rel=1e-5)
    loss = model.train_step((features, labels, masks))["loss"]
    weighted = sum(task.weight * float(losses[task.name]) for task in TASKS)
    assert float(loss) == pytest.approx(weighted, rel=1e-6)


@TRUNKS
def test_a_task_without_examples_moves_nothing_of_its_own(settings):
    model = build(settings)
    features, labels, masks = batch_of(32, like=False)
    labels["like"] = tf.fill([32], NAN)
    own = [model.biases["like"], *model.towers["like"].trainable_variables]
    before = [v.numpy() for v in own]
    logs = model.train_step((features, labels, masks))
    assert float(logs["losses"]["like"]) == 0.0
    assert math.isfinite(float(logs["loss"]))
    assert int(logs["nonfinite"]) == 0
    for old, new in zip(before, own, strict=True):
        np.testing.assert_array_equal(old, new)
    with tf.GradientTape() as tape:
        loss = model.task_losses(labels, masks, model(features))["like"]
    for gradient in tape.gradient(loss, model.trainable_variables):
        if gradient is not None:
            values = gradient.values if hasattr(gradient, "values") else gradient
            np.testing.assert_array_equal(values, np.zeros(values.shape))


def test_what_is_served_by_hand():
    model = build()
    features, _, _ = batch_of(20)
    raw = {k: v.numpy().astype(float) for k, v in model(features).items()}
    served = model.head.predict_tasks(features)
    click = 1 / (1 + np.exp(-raw["click"]))
    like = 1 / (1 + np.exp(-raw["like"]))
    watch = np.exp(raw["watch"] * 0.8 + 1.5) - 1
    np.testing.assert_allclose(served["click"], click, rtol=1e-5)
    np.testing.assert_allclose(served["like"], like, rtol=1e-5)
    np.testing.assert_allclose(served["watch"], watch, rtol=1e-4, atol=1e-5)
    score = click * np.sqrt(like + 0.5) + np.log1p(watch)
    np.testing.assert_allclose(served["score"], score, rtol=1e-4)


def test_a_constant_score_is_given_for_every_row():
    model = build_model(FEATURES, TASKS, "2", PLE, seed=1)
    features, _, _ = batch_of(7)
    np.testing.assert_array_equal(model.head.predict_tasks(features)["score"], [2.0] * 7)


@TRUNKS
def test_a_batch_of_one_and_one_in_which_all_is_missing(settings):
    model = build(settings)
    features, _, _ = batch_of(6)
    whole = model.head.predict_tasks(features)
    for i in range(6):
        one = model.head.predict_tasks({k: v[i : i + 1] for k, v in features.items()})
        for name, values in one.items():
            assert values.shape == [1]
            np.testing.assert_allclose(values[0], whole[name][i], rtol=1e-5)
    nothing = {
        "user": tf.constant([0]),
        "tags": tf.constant([[0, 0]]),
        "price": tf.constant([NAN]),
        "age": tf.constant([NAN]),
    }
    for values in model.head.predict_tasks(nothing).values():
        assert np.isfinite(values).all()


def test_a_field_is_clipped_by_itself():
    """Every field moves as far as its own bound lets it: the model says where each ends."""
    model = build_model(FEATURES, TASKS, SCORE, BOTTOM, seed=3)
    slow = {"clip": "field", "r": 1e-6, "zeta": 0.0, "initial_accumulator": 1.0}
    model.compile(DENSE_OPTIMIZERS["adagrad"](0.2), ROW_OPTIMIZERS["adagrad"](10.0, **slow))
    table = model.inputs_layer.tables["4"].embeddings
    before = table.numpy()
    features, labels, masks = batch_of(16)
    model.train_step((features, labels, masks))
    moved, fields = table.numpy().astype(float) - before, {"user": 0, "tags": 11}
    for name, start in fields.items():
        rows = start + np.unique(features[name])
        bound = 10.0 * 1e-6 * np.linalg.norm(before[rows])
        assert np.linalg.norm(moved[rows]) == pytest.approx(bound, rel=0.02), name


def test_two_replicas_equal_one(two_replicas):
    settings = {**PLE, "levels": 1, "tower_units": []}
    one = build(settings)
    with two_replicas.scope():
        two = build(settings)

    @tf.function(input_signature=[SPECS], autograph=False)
    def step_two(batch):
        return two_replicas.run(lambda: two.train_step(half(batch)))

    local = two_replicas.experimental_local_results
    for seed, size in enumerate([24, 24, 24, 15, 1]):
        batch = batch_of(size, seed)
        lone, both = one.train_step(batch), step_two(batch)
        assert sum(map(float, local(both["loss"]))) == pytest.approx(
            float(lone["loss"]), rel=1e-5
        )
        for a, b in zip(
            *(found["clipping"].values() for found in (lone, both)), strict=True
        ):
            assert float(a) == pytest.approx(float(local(b)[0]), rel=1e-3)
        for a, b in zip(
            *(found["clipped_rows"].values() for found in (lone, both)), strict=True
        ):
            assert float(a) == pytest.approx(float(local(b)[0]), abs=1e-6)
    assert int(lone["nonfinite"]) == int(local(both["nonfinite"])[0]) == 0
    for a, b in zip(weights_of(one), weights_of(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)


def test_the_halves_of_a_batch_have_unequal_masks():
    masks = batch_of(24)[2]["like"].numpy()
    assert masks[:12].sum() != masks[12:].sum()
