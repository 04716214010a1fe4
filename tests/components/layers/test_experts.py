"""MLP, CGC and gates: naive equality, structure of PAPERS 4.8, seeds, configs."""

import json

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.layers.experts import CGC, ExpertBank, GateNotes, mix
from steadyrank.components.layers.mlp import MLP
from tests.helpers import reference

TASKS = ["click", "like"]
D = 5


def inputs(batch=4, seed=0):
    random = np.random.default_rng(seed)
    states = [random.normal(size=[batch, D]).astype(np.float32) for _ in range(3)]
    return dict(zip(TASKS, states[:2], strict=True)), states[2]


def level(**changes):
    arguments = {
        "task_experts": {"click": 2, "like": 1},
        "shared_experts": 2,
        "seed": 3,
    }
    return CGC(TASKS, expert_units=[6, 4], **{**arguments, **changes})


def call(cgc, batch=4):
    states, shared = inputs(batch)
    return cgc({k: tf.constant(v) for k, v in states.items()}, tf.constant(shared))


def kernels(bank, i):
    """Kernels and biases of one expert of a bank."""
    width = bank._first.units // bank.experts
    block = slice(i * width, (i + 1) * width)
    first = bank._first.kernel.numpy()[:, block], bank._first.bias.numpy()[block]
    rest = [(dense.kernel.numpy(), dense.bias.numpy()) for dense in bank._rest[i].layers]
    return zip(*[first, *rest], strict=True)


def naive_bank(bank, x):
    return np.stack([reference.mlp(x, *kernels(bank, i)) for i in range(bank.experts)], 1)


def test_mix_equals_the_reference():
    random = np.random.default_rng(0)
    logits, experts = random.normal(size=[6, 3]), random.normal(size=[6, 3, 2])
    found = mix(tf.constant(logits), tf.constant(experts))
    np.testing.assert_allclose(found, reference.mixture(logits, experts), rtol=1e-9)
    np.testing.assert_allclose(mix(tf.constant(logits), tf.ones([6, 3, 2], tf.float64)), 1)


def test_cgc_equals_the_formula():
    cgc = level()
    outputs, shared_output = call(cgc)
    states, shared = inputs()
    banks, gates = cgc._banks, cgc._gates
    common = naive_bank(banks["shared"], shared)
    own = {task: naive_bank(banks[f"task_{task}"], states[task]) for task in TASKS}
    for task in TASKS:
        logits = states[task] @ gates[f"task_{task}"].kernel.numpy()
        experts = np.concatenate([own[task], common], axis=1)
        expected = reference.mixture(logits, experts)
        np.testing.assert_allclose(outputs[task], expected, rtol=1e-5, atol=1e-6)
    logits = shared @ gates["shared"].kernel.numpy()
    everything = np.concatenate([own["click"], own["like"], common], axis=1)
    expected = reference.mixture(logits, everything)
    np.testing.assert_allclose(shared_output, expected, rtol=1e-5, atol=1e-6)


def test_gate_widths():
    cgc = level()
    call(cgc)
    widths = {name: gate.kernel.shape[1] for name, gate in cgc._gates.items()}
    assert widths == {"task_click": 4, "task_like": 3, "shared": 5}
    assert all(not gate.use_bias for gate in cgc._gates.values())
    last = level(shared_gate=False)
    assert call(last)[1] is None
    assert "shared" not in last._gates


def zero_gradients(loss, variables, tape):
    found = tape.gradient(loss, variables, unconnected_gradients="zero")
    return all(np.all(each.numpy() == 0) for each in found)


@pytest.mark.parametrize("shared_gate", [True, False])
def test_private_experts_learn_from_their_own_task_only(shared_gate):
    cgc = level(shared_gate=shared_gate)
    with tf.GradientTape(persistent=True) as tape:
        outputs, shared = call(cgc)
        like = tf.reduce_sum(tf.square(outputs["like"]))
        passed_on = 0.0 if shared is None else tf.reduce_sum(tf.square(shared))
        next_level = like + passed_on
    private = cgc._banks["task_click"].trainable_variables
    assert zero_gradients(like, private, tape)
    assert zero_gradients(like, cgc._gates["task_click"].trainable_variables, tape)
    assert not zero_gradients(like, cgc._banks["shared"].trainable_variables, tape)
    assert not zero_gradients(like, cgc._banks["task_like"].trainable_variables, tape)
    # Below the last level of PLE another task's loss comes through the shared gate.
    assert zero_gradients(next_level, private, tape) is not shared_gate


def test_one_shared_expert_and_no_private_ones_is_a_shared_bottom():
    cgc = level(task_experts=0, shared_experts=1, shared_gate=False)
    outputs, _ = call(cgc)
    expected = naive_bank(cgc._banks["shared"], inputs()[1])[:, 0]
    for task in TASKS:
        np.testing.assert_allclose(outputs[task], expected, rtol=1e-5, atol=1e-6)


def test_no_shared_experts_separates_the_tasks():
    cgc = level(shared_experts=0, task_experts=1, shared_gate=False)
    outputs, _ = call(cgc)
    expected = naive_bank(cgc._banks["task_like"], inputs()[0]["like"])[:, 0]
    np.testing.assert_allclose(outputs["like"], expected, rtol=1e-5, atol=1e-6)


def test_notes_hold_what_the_gates_chose():
    cgc, notes = level(name="level_0"), GateNotes()
    states, shared = inputs()
    arguments = {k: tf.constant(v) for k, v in states.items()}, tf.constant(shared)
    plain = cgc(*arguments)
    noted = cgc(*arguments, notes=notes)
    for one, other in zip(tf.nest.flatten(plain), tf.nest.flatten(noted), strict=True):
        np.testing.assert_array_equal(one, other)
    own = ["click 0", "click 1"], ["like 0"], ["shared 0", "shared 1"]
    assert {gate: list(labels) for gate, (labels, _) in notes.weights.items()} == {
        "level_0/click": own[0] + own[2],
        "level_0/like": own[1] + own[2],
        "level_0/(shared)": own[0] + own[1] + own[2],
    }
    for task, selector in [*states.items(), ("(shared)", shared)]:
        key = "shared" if task == "(shared)" else f"task_{task}"
        logits = selector @ cgc._gates[key].kernel.numpy()
        expected = [reference.softmax(list(row)) for row in logits]
        _, found = notes.weights[f"level_0/{task}"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("seed", [None, 0, 5])
def test_no_two_experts_or_gates_start_alike(seed):
    cgc = CGC(TASKS, 2, 2, expert_units=[D, D, D], seed=seed)
    call(cgc)
    drawn = []
    for bank in cgc._banks.values():
        for i in range(bank.experts):
            weights, biases = kernels(bank, i)
            drawn += weights
            assert all(np.all(bias == 0) for bias in biases)
    assert len(drawn) == 6 * 3
    drawn += [gate.kernel.numpy()[:, :4] for gate in cgc._gates.values()]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            columns = min(one.shape[1], other.shape[1])
            assert not np.allclose(one[:, :columns], other[:, :columns])


def test_seed_fixes_the_start_and_he_its_scale():
    one, two, other = (ExpertBank(3, [400, 8], seed=s) for s in (7, 7, 8))
    x = tf.ones([1, 300])
    np.testing.assert_array_equal(one(x), two(x))
    assert not np.allclose(one(x), other(x))
    assert np.std(one._first.kernel) == pytest.approx(np.sqrt(2 / 300), rel=0.02)


LAYERS = [
    lambda: level(activation="tanh", name="a"),
    lambda: level(task_experts=1, shared_gate=False, name="b"),
    lambda: MLP([6, 4], "tanh", "sigmoid", seed=2, name="d"),
]


@pytest.mark.parametrize("make", LAYERS)
def test_config_round_trips_and_gives_the_same_layer(make):
    first = make()
    config = json.loads(json.dumps(first.get_config()))
    second = type(first).from_config(config)
    assert second.get_config() == first.get_config()
    arguments = inputs()[::-1][:1] if not isinstance(first, CGC) else inputs()
    one, two = first(*arguments), second(*arguments)
    for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(two), strict=True):
        assert a is b is None or np.array_equal(a, b)


@pytest.mark.parametrize("make", LAYERS[:2])
def test_unknown_batch_and_batch_of_one(make):
    layer = make()
    spec = tf.TensorSpec([None, D], tf.float32)
    cgc = isinstance(layer, CGC)
    signature = [dict.fromkeys(TASKS, spec), spec] if cgc else [spec]
    function = tf.function(
        lambda *each: layer(*each)[0 if cgc else "like"], signature, autograph=False
    )
    for batch in (1, 3):
        arguments = inputs(batch) if cgc else inputs(batch)[1:]
        found, eager = function(*arguments), layer(*arguments)[0 if cgc else "like"]
        tf.nest.map_structure(lambda a, b: np.testing.assert_allclose(a, b), found, eager)
        assert all(len(each) == batch for each in tf.nest.flatten(found))


def test_checkpoint_holds_every_weight(tmp_path):
    first, second = level(seed=1), level(seed=2)
    expected, _ = call(first)
    call(second)
    path = tf.train.Checkpoint(layer=first).write(str(tmp_path / "c"))
    tf.train.Checkpoint(layer=second).read(path).assert_consumed()
    np.testing.assert_array_equal(call(second)[0]["like"], expected["like"])
    assert len(first.trainable_variables) == 3 * 2 + 5 * 2 + 3


def test_mlp_equals_naive():
    mlp, x = MLP([6, 4], final_activation="relu", seed=0), inputs()[1]
    found = mlp(tf.constant(x))
    weights = [
        [d.kernel.numpy() for d in mlp.layers],
        [d.bias.numpy() for d in mlp.layers],
    ]
    np.testing.assert_allclose(found, reference.mlp(x, *weights), rtol=1e-5, atol=1e-6)
    assert np.min(MLP([6, 40], seed=0)(tf.constant(x))) < 0  # linear by default
    np.testing.assert_array_equal(MLP([])(tf.constant(x)), x)


def test_errors():
    with pytest.raises(ValueError, match="task_experts must name the tasks .*'clik'"):
        level(task_experts={"clik": 1, "like": 1})
    with pytest.raises(ValueError, match="Received: task_experts=0 for click"):
        level(task_experts=0, shared_experts=0)
