"""Every trunk of the table: naive equality, structure, seeds, fronts."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.experts import GateNotes
from steadyrank.components.layers.precision import computing_in
from steadyrank.components.layers.split_dense import SplitInput
from steadyrank.models.build import TRUNKS, WIDE, build_trunk
from steadyrank.models.fronts import CrossFront, DotFront
from steadyrank.models.trunks.bottoms import Bottoms
from steadyrank.models.trunks.mmoe import Mmoe
from steadyrank.models.trunks.stitch import Stitch, orthogonality, stitch
from tests.helpers import reference

TASKS = ["click", "like", "share"]
X = np.random.default_rng(0).normal(size=[5, 6]).astype(np.float32)
BOTTOM = {"bottom_units": [8, 4]}
EXPERTS = {"experts": 3, "expert_units": [8, 4]}
PLE = {"shared_experts": 2, "task_experts": 1, "expert_units": [8, 4]}
SETTINGS = {
    "single_task": BOTTOM,
    "shared_bottom": BOTTOM,
    "asymmetric": {**BOTTOM, "reads": {"like": ["click"]}},
    "customized": BOTTOM,
    "cross_stitch": BOTTOM,
    "sluice": {**BOTTOM, "subspaces": 2, "penalty": 0.1},
    "omoe": EXPERTS,
    "mmoe": EXPERTS,
    "ml_mmoe": {**EXPERTS, "levels": 2},
    "cgc": PLE,
    "ple": {**PLE, "levels": 2},
}
EVERY = pytest.mark.parametrize("name", SETTINGS)


DEEP = {"deep_units": [8, 4]}
EVEN_WIDE = SETTINGS | {name: DEEP for name in WIDE if TRUNKS[name][0]}


def trunk(name, seed=3, **changes):
    layer = build_trunk(TASKS, {"trunk": name, **SETTINGS[name], **changes}, seed)
    layer(tf.constant(X))
    return layer


def bank_outputs(bank, x):
    """Outputs of each expert of a bank, by the naive reference."""
    width = bank._first.units // bank.experts
    found = []
    for i in range(bank.experts):
        block = slice(i * width, (i + 1) * width)
        kernels = [bank._first.kernel.numpy()[:, block]]
        biases = [bank._first.bias.numpy()[block]]
        kernels += [dense.kernel.numpy() for dense in bank._rest[i].layers]
        biases += [dense.bias.numpy() for dense in bank._rest[i].layers]
        found.append(reference.mlp(x, kernels, biases))
    return found


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_the_table_is_covered():
    assert set(SETTINGS) | set(WIDE) == set(TRUNKS)


@EVERY
def test_the_seed_makes_all_weights_and_no_two_start_alike(name):
    one, same, other = (trunk(name, seed).trainable_variables for seed in (3, 3, 4))
    for a, b, c in zip(one, same, other, strict=True):
        np.testing.assert_array_equal(a, b)
        drawn = "kernel" in a.name
        assert np.array_equal(a, c) is not drawn
    kernels = [v.numpy() for v in one if "kernel" in v.name]
    for i, a in enumerate(kernels):
        for b in kernels[:i]:
            assert a.shape != b.shape or not np.allclose(a, b)


@EVERY
def test_every_weight_learns_from_the_tasks_together(name):
    layer = build_trunk(TASKS, {"trunk": name, **SETTINGS[name]}, 3)
    with tf.GradientTape() as tape:
        outputs = layer(tf.constant(X))
        loss = tf.add_n([tf.reduce_sum(tf.square(y)) for y in outputs.values()])
    assert list(outputs) == TASKS
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.any(gradient.numpy() != 0)


@EVERY
def test_a_row_does_not_depend_on_the_others(name):
    layer = trunk(name)
    whole = layer(tf.constant(X))
    for task, values in layer(tf.constant(X[2:3])).items():
        close(values[0], whole[task][2])


@EVERY
def test_rows_that_share_columns_may_come_in_two_parts(name):
    """As ``candidates`` gives them: one user's columns once, all else in rows."""
    layer, shared, own = trunk(name), (0, 3, 4), (1, 2, 5)
    rows = X.copy()
    rows[:, shared] = X[0, shared]
    whole = layer(tf.constant(rows))
    parts = tf.constant(rows[:1, shared]), tf.constant(rows[:, own])
    for task, values in layer(SplitInput(*parts, shared, own)).items():
        close(values, whole[task])


@pytest.mark.parametrize("name", EVEN_WIDE)
def test_in_bfloat16_it_is_near_that_of_float32_and_has_its_weights(name):
    layers = []
    for precision in ("float32", "bfloat16"):
        with computing_in(precision):
            layers.append(build_trunk(TASKS, {"trunk": name, **EVEN_WIDE[name]}, 3))
    found = []
    for layer in layers:
        with tf.GradientTape() as tape:
            outputs = layer(tf.constant(X))
            total = [tf.reduce_sum(tf.cast(y, tf.float32) ** 2) for y in outputs.values()]
            loss = tf.add_n([*total, *(tf.cast(x, tf.float32) for x in layer.losses)])
        found.append((outputs, tape.gradient(loss, layer.trainable_variables)))
    (exact, of_exact), (rough, of_rough) = found
    assert {y.dtype for y in rough.values()} == {tf.bfloat16}
    for task, y in exact.items():
        np.testing.assert_allclose(tf.cast(rough[task], tf.float32), y, rtol=0.1, atol=0.1)
    variables = zip(*(layer.trainable_variables for layer in layers), strict=True)
    for a, b in variables:
        np.testing.assert_array_equal(a.numpy(), b.numpy())
        assert b.dtype == tf.float32
    assert {g.dtype for g in of_rough} == {tf.float32}
    flat = [np.concatenate([np.ravel(g) for g in of]) for of in (of_exact, of_rough)]
    assert 0 < np.linalg.norm(flat[1] - flat[0]) < 0.05 * np.linalg.norm(flat[0])


def test_bottoms_equal_the_naive_ones():
    plain, customized = trunk("single_task"), trunk("customized")
    asymmetric = trunk("asymmetric", reads={"like": ["click", "share"]})
    own = bank_outputs(plain.bank, X)
    for i, task in enumerate(TASKS):
        close(plain(X)[task], own[i])
    *private, shared = bank_outputs(customized.bank, X)
    for i, task in enumerate(TASKS):
        close(customized(X)[task], np.concatenate([private[i], shared], axis=1))
    click, like, share = bank_outputs(asymmetric.bank, X)
    close(asymmetric(X)["click"], click)
    close(asymmetric(X)["like"], np.concatenate([like, click, share], axis=1))


def gradients(layer, task):
    """Which variables a task's output reaches."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(tf.constant(X))[task]))
    found = tape.gradient(loss, layer.trainable_variables, unconnected_gradients="zero")
    return {
        v.name: bool(np.any(g.numpy() != 0))
        for v, g in zip(layer.trainable_variables, found, strict=True)
    }


def test_a_task_reaches_the_bottoms_that_it_reads_and_no_other():
    layer = Bottoms(TASKS, [4, 2], 3, reads={"like": ["click"]})
    layer(X)
    for task, seen in {"click": {0}, "like": {0, 1}, "share": {2}}.items():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(X)[task]))
        gradient = tape.gradient(loss, layer.bank._first.kernel).numpy()
        blocks = gradient.reshape(6, 3, 4)
        assert {i for i in range(3) if np.any(blocks[:, i])} == seen


def test_ple_keeps_private_experts_private_at_the_last_level_alone():
    """PAPERS 4.8, item 1: a lower level's come through the shared gate."""
    reached = gradients(trunk("ple"), "like")
    private = {k: v for k, v in reached.items() if "experts_task_click" in k}
    assert len(private) == 8
    for name, seen in private.items():
        assert seen is ("level_0" in name)
    reached = gradients(trunk("cgc"), "like")
    assert not any(v for k, v in reached.items() if "experts_task_click" in k)


def test_cgc_is_ple_of_one_level():
    one = build_trunk(TASKS, {"trunk": "cgc", **PLE}, 3)(tf.constant(X))
    for task, values in trunk("cgc")(tf.constant(X)).items():
        np.testing.assert_array_equal(values, one[task])


def test_mmoe_equals_the_formula_and_omoe_is_its_first_gate():
    mmoe, omoe = trunk("mmoe"), trunk("omoe")
    experts = np.stack(bank_outputs(mmoe.bank, X), axis=1)
    outputs = mmoe(tf.constant(X))
    for task, gate in mmoe.gates[0].items():
        expected = reference.mixture(X @ gate.kernel.numpy(), experts)
        close(outputs[task], expected)
    for values in omoe(tf.constant(X)).values():
        np.testing.assert_array_equal(values, outputs["click"])  # its seed is the first


def test_levels_of_mmoe_select_by_the_input():
    layer = trunk("ml_mmoe")
    lower = np.stack(bank_outputs(layer.bank, X), axis=1)
    higher = []
    for gate, expert in zip(layer.gates[0].values(), layer.higher[0], strict=True):
        state = reference.mixture(X @ gate.kernel.numpy(), lower)
        weights = [[d.kernel.numpy() for d in expert.layers]]
        weights += [[d.bias.numpy() for d in expert.layers]]
        higher.append(reference.mlp(state, *weights))
    for task, gate in layer.gates[1].items():
        expected = reference.mixture(X @ gate.kernel.numpy(), np.stack(higher, axis=1))
        close(layer(tf.constant(X))[task], expected)


def test_one_level_of_mmoe_with_one_expert_has_nothing_to_choose():
    layer = Mmoe(TASKS, 1, [4], 3)
    (expected,) = bank_outputs(layer.bank, X) if layer(X) else ()
    for values in layer(X).values():
        close(values, expected)


def naive_stitch(layer, x):
    """Every task's states after each layer."""
    s, states, found = layer.subspaces, [x] * len(TASKS), []
    for networks, alpha in zip(layer.networks, layer.alphas, strict=True):
        parts = []
        for dense, state in zip(networks, states, strict=True):
            y = reference.mlp(state, [dense.kernel.numpy()], [dense.bias.numpy()])
            parts += np.split(y, s, axis=1)
        alpha = alpha.numpy()
        mixed = [
            sum(alpha[i, j] * p for j, p in enumerate(parts)) for i in range(len(parts))
        ]
        states = [
            np.concatenate(mixed[k * s : (k + 1) * s], axis=1) for k in range(len(TASKS))
        ]
        found.append(states)
    return found


def test_cross_stitch_and_sluice_equal_the_naive_ones():
    cross, sluice = trunk("cross_stitch"), trunk("sluice")
    for beta, values in zip(sluice.betas, ([1, 2, 3], [0.5, -1, 0]), strict=True):
        beta.assign(values)
    for task, expected in zip(TASKS, naive_stitch(cross, X)[-1], strict=True):
        close(cross(tf.constant(X))[task], expected)
    first, second = naive_stitch(sluice, X)
    for k, task in enumerate(TASKS):
        scaled = [sluice.betas[0][k] * first[k], sluice.betas[1][k] * second[k]]
        close(sluice(tf.constant(X))[task], np.concatenate(scaled, axis=1))


def test_a_stitch_of_the_identity_separates_the_tasks():
    states = [tf.constant(X), tf.constant(2 * X)]
    for found, expected in zip(stitch(tf.eye(2), states), states, strict=True):
        np.testing.assert_array_equal(found, expected)
    layer = trunk("cross_stitch")
    for alpha in layer.alphas:
        np.testing.assert_allclose(tf.linalg.diag_part(alpha), 0.9, rtol=1e-6)
        np.testing.assert_allclose(tf.reduce_sum(alpha, axis=1), 1, rtol=1e-6)


def test_orthogonality_by_hand():
    kernel = tf.constant([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 1.0, 0.0]])
    # G1' G2 = [[3, 4], [7, 8]]: 9 + 16 + 49 + 64
    assert float(orthogonality(kernel, 2)) == pytest.approx(138)
    assert float(orthogonality(kernel, 1)) == 0


def test_the_penalty_of_a_sluice_network_is_in_its_losses():
    layer = trunk("sluice", penalty=0.5)
    kernels = [d.kernel for networks in layer.networks for d in networks]
    expected = 0.5 * sum(float(orthogonality(kernel, 2)) for kernel in kernels)
    assert float(tf.add_n(layer.losses)) == pytest.approx(expected, rel=1e-6)
    assert Stitch(TASKS, [4], 3).losses == []


@pytest.mark.parametrize(
    ("name", "gates"),
    [
        ("omoe", {"level_0/all tasks": 3}),
        ("mmoe", {f"level_0/{task}": 3 for task in TASKS}),
        (
            "ml_mmoe",
            {f"level_0/expert {i}": 3 for i in range(3)}
            | {f"level_1/{task}": 3 for task in TASKS},
        ),
        ("cgc", {f"level_0/{task}": 3 for task in TASKS}),
        (
            "ple",
            {f"level_{i}/{task}": 3 for i in (0, 1) for task in TASKS}
            | {"level_0/(shared)": 5},
        ),
    ],
)
def test_gate_widths_and_sums(name, gates):
    layer, notes = trunk(name), GateNotes()
    layer(tf.constant(X), notes=notes)
    assert {k: len(labels) for k, (labels, _) in notes.weights.items()} == gates
    for labels, weights in notes.weights.values():
        assert weights.shape == [5, len(labels)] and len(set(labels)) == len(labels)
        np.testing.assert_allclose(tf.reduce_sum(weights, axis=1), 1, rtol=1e-6)


def test_crosses_equal_the_formula():
    front = CrossFront(2, seed=3)
    found = front(tf.constant(X))
    x = X.astype(np.float64)
    for cross in front.crosses:
        kernel, bias = (weight.numpy() for weight in cross.weights)
        x = X * (x @ kernel + bias) + x
    close(found, x)
    assert not np.array_equal(front.crosses[0].weights[0], front.crosses[1].weights[0])


def test_dots_are_those_of_all_pairs_of_the_most_frequent_width():
    # a number (2 columns), fields of width 1 and 1 and 2 more columns of another width
    front = DotFront([2, 1, 1, 1, 1], [0, 1, 1, 1, 0])
    found = front(tf.constant(X)).numpy()
    np.testing.assert_array_equal(found[:, :6], X)
    a, b, c = X[:, 2], X[:, 3], X[:, 4]
    expected = sorted(np.stack([a * b, a * c, b * c]).tolist())
    close(sorted(found[:, 6:].T.tolist()), expected)


def test_dots_need_embedded_fields():
    with pytest.raises(ValueError, match="plain numbers only"):
        DotFront([2, 2], [0, 0])
