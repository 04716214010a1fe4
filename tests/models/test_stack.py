"""Growth by stacking: index maps, copies by name, what does not change, and refusals."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.optimizers.dense import Adam
from steadyrank.components.optimizers.rows import RowAdagrad, RowAdam
from steadyrank.components.sequences.encoder import SequenceEncoder
from steadyrank.models.next_item import NextItemModel
from steadyrank.models.stack import (
    EVERYTHING,
    OPERATORS,
    Copied,
    block_sources,
    check_names,
    grow,
    grow_unchanged,
)

V, D = 9, 4
IDS = {"items": tf.constant([[0, 3, 1, 2, 9, 4], [5, 6, 7, 1, 1, 8]], tf.int32)}


def model(blocks=2, kind="nextitnet", trained=True, compiled=False, seed=1, **settings):
    made = NextItemModel(SequenceEncoder(kind, blocks, seed=seed, **settings), V, D)
    random = np.random.default_rng(7)
    for weight in made.trainable_variables if trained else ():
        weight.assign_add(0.4 * random.normal(size=weight.shape))
    if compiled:
        made.compile(Adam(1e-2, clip="none"), RowAdam(1e-2, clip="none"))
    return made


@pytest.mark.parametrize("blocks", [2, 4, 8, 16])
def test_doubling_maps_every_block_as_published(blocks):
    """PAPERS 3.3 in words: each block twice in a row, or the whole stack twice."""
    adjacent, cross = [], []
    for i in range(blocks):
        adjacent += [i, i]
    for _ in range(2):
        cross += list(range(blocks))
    assert block_sources("adjacent", blocks) == adjacent
    assert block_sources("cross", blocks) == cross
    assert block_sources("random", blocks) == [*range(blocks), *[None] * blocks]
    assert block_sources("embedding", blocks) == [None] * 2 * blocks


@pytest.mark.parametrize("blocks", [2, 4, 8, 16])
def test_the_top_n_are_stacked_by_the_formulas(blocks):
    for n in range(1, blocks + 1):
        deep = blocks + n
        cross = [i - n if i >= deep - n else i for i in range(deep)]
        low = deep - 2 * n
        adjacent = [(i - low) // 2 + low if i >= low else i for i in range(deep)]
        assert block_sources("cross", blocks, n) == cross
        assert block_sources("adjacent", blocks, n) == adjacent
    assert block_sources("cross", blocks, blocks) == block_sources("cross", blocks)


def test_the_published_growth_from_18_to_24_by_the_formula():
    """SASRec's and SSE-PT's: the top six, which the shipped index gets wrong."""
    top = block_sources("adjacent", 18, 6)[12:]
    assert top == [12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17, 17]


def expected_source(name, sources):
    if not name.startswith("block_"):
        return name
    block, local = name.split("/", 1)
    source = sources[int(block.removeprefix("block_"))]
    return None if source is None else f"block_{source}/{local}"


@pytest.mark.parametrize(
    ("operator", "kind"),
    [*((operator, "nextitnet") for operator in OPERATORS), ("adjacent", "sasrec")],
)
def test_copied_weights_are_equal_and_all_others_at_their_start(operator, kind):
    """By default as in the published code, and with all switches on."""
    shallow = model(kind=kind)
    old, sources = shallow.saved_weights(), block_sources(operator, 2)
    fresh = model(4, kind, trained=False).saved_weights()
    for copied in (Copied(), EVERYTHING):
        everything = copied == EVERYTHING
        for name, weight in grow(shallow, operator, copied).saved_weights().items():
            source = expected_source(name, sources)
            local = name.split("/", 1)[-1] if name.startswith("block_") else name
            new = local.startswith(("alpha", "norm", "feed_forward", "softmax"))
            kept = operator == "random" and name.startswith("block_")
            if source is None or (new and not everything and not kept):
                np.testing.assert_array_equal(weight, fresh[name], err_msg=name)
            else:
                np.testing.assert_array_equal(weight, old[source], err_msg=name)


@pytest.mark.parametrize("switch", ["alpha", "layer_norm", "feed_forward", "softmax"])
def test_every_switch_copies_its_own_kind_alone(switch):
    shallow = model(kind="sasrec")
    without = grow(shallow, "cross").saved_weights()
    changed = {
        name
        for name, weight in grow(shallow, "cross", Copied(**{switch: True}))
        .saved_weights()
        .items()
        if np.any(weight.numpy() != without[name].numpy())
    }
    start = {"layer_norm": "norm"}.get(switch, switch)
    wanted = {n for n in without if n.split("/", 1)[-1].startswith(start) or n == start}
    wanted |= {n for n in without if switch == "layer_norm" and n.startswith("norm/")}
    assert changed == wanted


@pytest.mark.parametrize(
    ("settings", "operator"),
    [
        ({"kind": "nextitnet"}, "cross"),
        ({"kind": "sasrec", "normalize_first": True}, "adjacent"),
    ],
)
def test_unchanged_growth_changes_no_score_and_goes_on_learning(settings, operator):
    shallow = model(**settings, compiled=True)
    shallow.train_step(IDS)
    deep = grow_unchanged(shallow, operator)
    assert deep.encoder.blocks == 4
    before, after = shallow.scores(IDS), deep.scores(IDS)
    np.testing.assert_array_equal(after, before)
    assert np.abs(grow(shallow, operator).scores(IDS) - before).max() > 0.1  # others do
    losses = [float(each.train_step(IDS)["loss"]) for each in (shallow, deep)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    alphas = [w for n, w in deep.saved_weights().items() if "alpha" in n]
    assert all(float(alpha) != 0 for alpha in alphas)


def test_rows_that_wait_are_brought_up_to_date_before_they_are_copied():
    """As a dense optimizer would have them, whose L2 moves every row in every step."""
    few, tables = {"items": tf.constant([[0, 0, 1, 2, 1, 2]])}, []
    for semantics in ("dense", "lazy"):
        shallow, how = model(), {"l2": 0.02, "clip": "none", "semantics": semantics}
        shallow.compile(Adam(1e-2, clip="none"), RowAdagrad(0.2, **how))
        for batch in (IDS, *[few] * 8):
            shallow.train_step(batch)
        deep = grow(shallow, "adjacent")
        tables.append(deep.saved_weights()["item_embedding"].numpy())
    start = model().saved_weights()["item_embedding"].numpy()
    assert np.abs(tables[0] - start)[3:].max() > 0.05  # of items that the few are not
    np.testing.assert_allclose(tables[1], tables[0], atol=0.01)


def test_slots_go_with_their_weights():
    shallow = model(compiled=True)
    for _ in range(3):
        shallow.train_step(IDS)
    everything = {**EVERYTHING.__dict__, "slots": True}
    deep = grow(shallow, "adjacent", Copied(**everything))
    old, new = shallow.saved_weights(), deep.saved_weights()
    for target, source in (
        ("block_3/kernel_1", "block_1/kernel_1"),
        ("softmax", "softmax"),
    ):
        states = [
            each.dense_optimizer.state_of(names[name])
            for each, names, name in ((deep, new, target), (shallow, old, source))
        ]
        for a, b in zip(*states, strict=True):
            assert np.abs(b).max() > 0
            np.testing.assert_array_equal(a, b)
    states = [
        each.embedding_optimizer.state_of(names["item_embedding"])
        for each, names in ((deep, new), (shallow, old))
    ]
    assert len(states[0]) == 2  # moments and clocks of each row, and the rates that passed
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)
    for each in (deep.dense_optimizer, deep.embedding_optimizer):
        assert int(each.iterations) == 3
    fresh = grow(shallow, "adjacent")
    assert int(fresh.dense_optimizer.iterations) == 0
    states = fresh.dense_optimizer.state_of(fresh.saved_weights()["block_3/kernel_1"])
    assert all(not state.numpy().any() for state in states)


def test_growth_from_a_checkpoint_and_back(tmp_path):
    shallow = model()
    path = tf.train.Checkpoint(model=shallow).write(str(tmp_path / "shallow"))
    restored = model(trained=False, seed=5)
    tf.train.Checkpoint(model=restored).read(path).assert_consumed()
    deep = grow(restored, "cross", EVERYTHING)
    expected = grow(shallow, "cross", EVERYTHING).saved_weights()
    path = tf.train.Checkpoint(model=deep).write(str(tmp_path / "deep"))
    again = model(4, trained=False, seed=6)
    tf.train.Checkpoint(model=again).read(path).assert_consumed()
    for name, weight in again.saved_weights().items():
        np.testing.assert_array_equal(weight, expected[name], err_msg=name)


def test_growth_under_a_strategy(two_replicas):
    with two_replicas.scope():
        deep = grow(model(), "cross", EVERYTHING)
        alone = grow(model(), "cross", EVERYTHING).saved_weights()
    for name, weight in deep.saved_weights().items():
        values = two_replicas.experimental_local_results(weight)
        assert len(values) == 2
        for value in values:
            np.testing.assert_array_equal(value, alone[name])


def test_the_shallow_model_stays_as_it_is():
    shallow = model()
    before = [w.numpy() for w in shallow.trainable_variables]
    grow(shallow).trainable_variables[0].assign_add(tf.ones([3, D, D]))
    for a, b in zip(before, shallow.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("plan", "old", "new", "message"),
    [
        ({"a": "a", "b": "c"}, {"a"}, {"a", "b"}, r"one: \['c'\]"),
        ({"a": "a"}, {"a"}, {"a", "b"}, r"one: \['b'\]"),
        ({"a": "a"}, {"a", "d"}, {"a"}, r"not used: \['d'\]"),
    ],
)
def test_a_name_left_over_on_either_side_is_refused(plan, old, new, message):
    with pytest.raises(ValueError, match=message):
        check_names(plan, old, new, set())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: block_sources("stack", 4), "operator='stack'"),
        (lambda: block_sources("cross", 4, 5), "top=5"),
        (lambda: block_sources("cross", 4, 0), "top=0"),
        (lambda: grow_unchanged(model(), "adjacent"), "dilations 4 and 1"),
        (lambda: grow_unchanged(model(alpha=False)), "alpha=False"),
        (lambda: grow_unchanged(model(kind="sasrec")), "normalize_first=False"),
        (lambda: grow_unchanged(model(), "random"), "operator='random'"),
    ],
)
def test_errors_name_what_was_received(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("how", ["adjacent", "cross", "unchanged"])
def test_grown_blocks_start_silent_wherever_those_of_the_first_phase_start(how):
    encoder = SequenceEncoder("nextitnet", 2, alpha_start=1.0, seed=1)
    shallow = NextItemModel(encoder, 9, 4)
    before = [n for n in shallow.saved_weights() if "alpha" in n]
    assert all(float(shallow.saved_weights()[name]) == 1.0 for name in before)
    deep = grow_unchanged(shallow) if how == "unchanged" else grow(shallow, how)
    alphas = {n: float(w) for n, w in deep.saved_weights().items() if "alpha" in n}
    silent = [name for name, value in alphas.items() if value == 0.0]
    assert len(alphas) == 4 and len(silent) == (2 if how == "unchanged" else 4)
