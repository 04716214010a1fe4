"""Next-item models: losses by hand, padding, samples, replicas, what each option does."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.losses import sampled_softmax
from steadyrank.components.optimizers.dense import Adam
from steadyrank.components.optimizers.rows import RowAdam
from steadyrank.components.sequences.encoder import SequenceEncoder
from steadyrank.models.next_item import NextItemModel

V, D = 9, 4


def model(blocks=1, kind="nextitnet", compiled=True, **settings):
    made = NextItemModel(SequenceEncoder(kind, blocks, seed=1), V, D, **settings)
    if compiled:
        made.compile(Adam(1e-2, clip="none"), RowAdam(1e-2, clip="none"), xla=False)
    return made


def moved(made, seed=3):
    """The same, every weight away from its start."""
    random = np.random.default_rng(seed)
    for weight in made.trainable_variables:
        weight.assign_add(0.5 * random.normal(size=weight.shape))
    return made


IDS = np.array([[0, 0, 3, 1, 2], [4, 9, 5, 6, 1], [0, 0, 0, 0, 7]], np.int32)


def naive_loss(made, ids):
    """Mean of -log softmax over the targets that are items."""
    table = made.softmax_table.numpy().astype(np.float64)
    states = made({"items": tf.constant(ids[:, :-1])}).numpy()
    losses = []
    for row, after in zip(states, ids[:, 1:], strict=True):
        for state, target in zip(row, after, strict=True):
            if target:
                logits = table[:, :-1] @ state + table[:, -1]
                losses.append(np.log(np.exp(logits).sum()) - logits[target - 1])
    return np.mean(losses)


def test_the_loss_is_the_mean_over_targets_that_are_items():
    made = moved(model())
    expected = naive_loss(made, IDS)
    assert float(made.train_step({"items": tf.constant(IDS)})["loss"]) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("kind", ["nextitnet", "sasrec"])
def test_more_padding_changes_nothing(kind):
    made = moved(model(kind=kind))
    longer = np.pad(IDS, [[0, 0], [3, 0]])
    scores = [made.scores({"items": tf.constant(ids)}).numpy() for ids in (IDS, longer)]
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4, atol=1e-5)
    assert scores[0].shape == (3, V)


def test_targets_may_be_given():
    ids = {"items": tf.constant(IDS)}
    given = {
        "items": tf.constant(IDS[:, :-1]),
        "targets": tf.constant(IDS[:, 1:]),
    }
    losses = [float(moved(model()).train_step(data)["loss"]) for data in (ids, given)]
    assert losses[0] == losses[1]
    last = {**given, "targets": tf.constant(IDS[:, 1:] * [0, 0, 0, 1])}
    assert float(moved(model()).train_step(last)["loss"]) != losses[0]


def test_all_classes_as_the_sample_make_the_full_softmax():
    random = np.random.default_rng(0)
    states, table = random.normal(size=[6, D]), random.normal(size=[V, D + 1])
    labels = random.integers(0, V, 6)
    none = np.zeros(6), np.zeros(V)
    found = sampled_softmax(
        states, table[labels], table, labels, ids=np.arange(V), log_expected=none
    )
    logits = states @ table[:, :-1].T + table[:, -1]
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(6), labels]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_sampled_softmax_equals_tensorflows():
    """TensorFlow's takes the whole table and the label's row from it."""
    random = np.random.default_rng(1)
    states = random.normal(size=[6, D]).astype(np.float32)
    table = random.normal(size=[V, D + 1]).astype(np.float32)
    labels = random.integers(0, V, 6)
    ids = np.array([0, 5, 2], np.int64)
    q = random.uniform(0.1, 1, 9).astype(np.float32)
    expected = tf.nn.sampled_softmax_loss(
        table[:, :-1], table[:, -1], labels[:, None], states, 3, V,
        sampled_values=(ids, q[:6, None], q[6:]),
    )  # fmt: skip
    log_q = np.log(q)
    found = sampled_softmax(
        states,
        table[labels],
        table[ids],
        labels,
        ids=ids,
        log_expected=(log_q[:6], log_q[6:]),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_sampled_step_moves_the_rows_it_read_and_no_other():
    made = moved(model(sampled=0.3))
    before = {name: table.numpy() for name, table in made.tables.items()}
    made.train_step({"items": tf.constant(IDS)})
    changed = {
        name: set(np.flatnonzero(np.any(table.numpy() != before[name], axis=1)))
        for name, table in made.tables.items()
    }
    assert changed["items"] <= {0, 1, 2, 3, 4, 5, 6, 9} and changed["items"] > {3, 4}
    labels = {0, 1, 4, 5, 6, 8}
    assert labels <= changed["softmax"] and len(changed["softmax"]) <= 6 + 3
    assert "softmax" not in {v.name for v in made.dense_variables}


def test_training_learns_which_item_follows():
    made = model()
    step = tf.function(made.train_step, autograph=False)
    chains = (np.arange(6)[None] + np.arange(V)[:, None]) % V + 1
    ids = {"items": tf.constant(chains.astype(np.int32))}
    losses = [float(step(ids)["loss"]) for _ in range(100)]
    assert losses[0] == pytest.approx(np.log(V), abs=0.1) and losses[-1] < 0.2
    made.catch_up()
    best = np.argmax(made.scores({"items": ids["items"][:, :-1]}), axis=1) + 1
    assert (best == chains[:, -1]).mean() == 1


def half(ids):
    """A replica's part: unequal numbers of targets."""
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.gather(ids, tf.range(2) + 2 * replica)


def test_two_replicas_equal_one(two_replicas):
    ids = tf.constant(np.concatenate([IDS, IDS[:1] * [0, 0, 0, 1, 1]]).astype(np.int32))
    one = moved(model())
    with two_replicas.scope():
        two = moved(model())
    for _ in range(3):
        one.train_step({"items": ids})
        two_replicas.run(lambda: two.train_step({"items": half(ids)}))
    one.catch_up()
    with two_replicas.scope():
        two.catch_up()
    for a, b in zip(one.trainable_variables, two.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=2e-5)


def test_xla_computes_the_same():
    made = moved(model())
    without = float(made.train_step({"items": tf.constant(IDS)})["loss"])
    other = moved(model(compiled=False))
    other.compile(Adam(1e-2, clip="none"), RowAdam(1e-2, clip="none"), xla=True)
    found = float(other.train_step({"items": tf.constant(IDS)})["loss"])
    assert found == pytest.approx(without, rel=1e-5)
    for a, b in zip(made.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-4)


def test_users_take_part():
    made = moved(model(kind="sasrec", users=5))
    ids = tf.constant(IDS)
    scores = [
        made.scores({"items": ids, "user": tf.constant([u, 2, 3])}).numpy() for u in (1, 5)
    ]
    assert np.abs(scores[0][0] - scores[1][0]).max() > 1e-3
    np.testing.assert_array_equal(scores[0][1:], scores[1][1:])
    before = made.user_table.numpy()
    made.train_step({"items": ids, "user": tf.constant([1, 2, 3])})
    assert np.abs(made.user_table.numpy() - before).max() > 1e-3


def test_hidden_inputs_change_the_loss_of_training():
    losses = [
        float(moved(model(masked_inputs=m)).train_step({"items": tf.constant(IDS)})["loss"])
        for m in (0.0, 0.9)
    ]
    assert losses[0] != losses[1]


def test_config_round_trips_every_argument():
    settings = {"sampled": 0.5, "masked_inputs": 0.2, "users": 3, "seed": 7}
    made = model(kind="sasrec", compiled=False, **settings)
    config = made.get_config()
    wanted = {"encoder", "items", "dim", "tied", *settings}
    assert set(inspect.signature(NextItemModel).parameters) == {*wanted, "kwargs"}
    assert {name: config[name] for name in settings} == settings
    assert model(tied=True, compiled=False).get_config()["tied"] is True
    revived = NextItemModel.from_config(config)
    assert revived.get_config() == config
    for a, b in zip(made.trainable_variables, revived.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_share_outside_of_its_range_is_refused():
    with pytest.raises(ValueError, match=r"sampled=1\.5"):
        model(sampled=1.5)


def test_a_tied_softmax_is_the_products_with_the_items():
    made = moved(model(tied=True, kind="sasrec"))
    assert "softmax" not in made.saved_weights() and not made.tables
    items = made.item_table.numpy().astype(np.float64)[1:]
    states = made({"items": tf.constant(IDS[:, :-1])}).numpy()
    losses = []
    for row, after in zip(states, IDS[:, 1:], strict=True):
        for state, target in zip(row, after, strict=True):
            if target:
                logits = items @ state
                losses.append(np.log(np.exp(logits).sum()) - logits[target - 1])
    before = made.item_table.numpy()
    found = made.train_step({"items": tf.constant(IDS)})
    assert float(found["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    moved_rows = (made.item_table.numpy() != before).any(axis=1)
    assert moved_rows[1:].all()  # 8, too, a class that never came


def test_a_tied_item_learns_both_as_input_and_as_target():
    made = moved(model(tied=True))
    _, of_dense, located, of_rows = made.gradients({"items": tf.constant(IDS)})
    assert located == {} and of_rows == {}
    gradient = dict(zip((v.ref() for v in made.dense_variables), of_dense, strict=True))
    found = gradient[made.item_table.ref()].numpy()

    def loss(delta, at):
        table = made.item_table.numpy()
        made.item_table.assign(table + delta * (np.indices(table.shape) == at).all(0))
        value = float(made.gradients({"items": tf.constant(IDS)})[0])
        made.item_table.assign(table)
        return value

    for row, column in ((3, 0), (7, 2), (8, 1), (5, 3)):
        at = np.array([row, column])[:, None, None]
        slope = (loss(1e-2, at) - loss(-1e-2, at)) / 2e-2
        assert found[row, column] == pytest.approx(slope, rel=2e-2, abs=1e-4)


@pytest.mark.parametrize("bad", [{"sampled": 0.5}, {"users": 3}])
def test_what_cannot_be_tied_is_refused(bad):
    with pytest.raises(ValueError, match="tied needs a full softmax.*Received"):
        model(tied=True, **bad)
