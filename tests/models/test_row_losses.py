"""Which rows train a task, and by what, against counting by hand."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.features import GROUP, SOFT, Task
from steadyrank.models.row_losses import row_losses
from steadyrank.models.serving_head import served

NAN = float("nan")
CHAIN = (
    Task("click"),
    Task("like", given="click", space="all"),
    Task("share", given="like", space="all"),
)
#         click, like, share: the masks are those of today's sample spaces
ROWS = {
    "not clicked": ((0, NAN, NAN), (1, 0, 0)),
    "liked, it says, without a click": ((0, 1, NAN), (1, 0, 0)),
    "not liked": ((1, 0, NAN), (1, 1, 0)),
    "liked": ((1, 1, 0), (1, 1, 1)),
    "shared": ((1, 1, 1), (1, 1, 1)),
    "nobody knows of a like": ((1, NAN, NAN), (1, 0, 0)),
    "nor of a click": ((NAN, NAN, NAN), (0, 0, 0)),
}
LOGITS = np.array([[0.2, -0.3, 0.5]] * len(ROWS), "f") + np.arange(len(ROWS), dtype="f")[
    :, None
] * np.float32(0.1)


def of_rows(numbers) -> dict:
    columns = np.array(numbers, "f").T
    names = (task.name for task in CHAIN)
    return {n: tf.constant(c) for n, c in zip(names, columns, strict=True)}


def test_a_chain_is_trained_on_every_row_whose_end_is_known():
    labels, masks = (of_rows(each) for each in zip(*ROWS.values(), strict=True))
    found = row_losses(CHAIN, labels, masks, of_rows(LOGITS))
    assert found["click"][1].numpy().tolist() == [1, 1, 1, 1, 1, 1, 0]
    assert found["like"][1].numpy().tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert found["share"][1].numpy().tolist() == [1, 1, 1, 1, 1, 0, 0]
    sigmoid = 1 / (1 + np.exp(-LOGITS.astype(float)))
    for task, deep, came in (("like", 2, (0, 0, 0, 1, 1)), ("share", 3, (0, 0, 0, 0, 1))):
        p = sigmoid[:5, :deep].prod(axis=1)
        wanted = [-np.log(q if came_ else 1 - q) for q, came_ in zip(p, came, strict=True)]
        np.testing.assert_allclose(found[task][0][:5], wanted, rtol=1e-5)


def test_what_is_not_known_moves_nothing():
    labels, masks = (of_rows(each) for each in zip(*ROWS.values(), strict=True))
    logits = {name: tf.Variable(value) for name, value in of_rows(LOGITS).items()}
    with tf.GradientTape() as tape:
        found = row_losses(CHAIN, labels, masks, logits)
        total = sum(
            tf.reduce_sum(tf.where(mask > 0, loss, 0.0)) for loss, mask in found.values()
        )
    for name, gradient in tape.gradient(total, logits).items():
        moved = np.abs(gradient.numpy()) > 0
        assert np.isfinite(gradient).all()
        assert moved.tolist() == [True] * 5 + [name == "click", False]


@pytest.mark.parametrize("loss", ["tweedie", "gamma", "weighted_logistic"])
def test_a_mean_is_learned_in_its_own_unit_and_served_in_it(loss):
    """Gradient descent on one number ends at the mean of what was seen."""
    task = Task("watch", "regression", mean=40_000.0, std=9e4, loss=loss)
    values = np.random.default_rng(0).exponential(25_000.0, 400).astype("f") + 1
    labels, masks = {"watch": tf.constant(values)}, {"watch": tf.ones(400)}
    z = tf.Variable(0.0)
    assert float(served(task, z)) == pytest.approx(40_000)  # before any step
    for _ in range(300):
        with tf.GradientTape() as tape:
            outputs = {"watch": tf.fill([400], z)}
            value = tf.reduce_mean(row_losses([task], labels, masks, outputs)["watch"][0])
        z.assign_sub(0.5 * tape.gradient(value, z))
    assert float(served(task, z)) == pytest.approx(values.mean(), rel=1e-3)
    assert float(served(task, z, 1.1)) == pytest.approx(1.1 * values.mean(), rel=1e-3)


def lowest(task, labels, soft):
    """What is served where gradient descent on one number ends."""
    rows = len(labels)
    beside = {
        "t": tf.constant(labels, tf.float32),
        SOFT + "t": tf.constant(soft, tf.float32),
    }
    masks, z = {"t": tf.ones(rows)}, tf.Variable(0.0)
    rate = 4.0 if task.kind == "binary" else 0.5

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss, mask = row_losses([task], beside, masks, {"t": tf.fill([rows], z)})["t"]
            value = tf.reduce_sum(loss * mask) / tf.reduce_sum(mask)
        z.assign_sub(rate * tape.gradient(value, z))

    for _ in range(300):
        step()
    return float(served(task, z))


@pytest.mark.parametrize(("rate", "positive_weight"), [(1.0, 1.0), (0.1, 5.0)])
@pytest.mark.parametrize("w", [0.0, 0.5, 1.0])
def test_a_teacher_is_taken_at_its_word_however_the_log_was_sampled(
    w, rate, positive_weight
):
    """30 of a whole log of 100 are 1; a teacher, which scored that, says so, or .5."""
    labels = [1.0] * 30 + [0.0] * round(70 * rate)
    task = Task(
        "t", soft_label="q", soft_weight=w, negative_rate=rate,
        positive_weight=positive_weight,
    )  # fmt: skip
    assert lowest(task, labels, [0.3] * len(labels)) == pytest.approx(0.3, abs=2e-3)
    told = lowest(task, labels, [0.5] * len(labels))
    if w in (0, 1):
        assert told == pytest.approx(0.3 + 0.2 * w, abs=2e-3)
    else:
        assert 0.31 < told < 0.49
    # where it said nothing, the label alone counts
    assert lowest(task, labels, [NAN] * len(labels)) == pytest.approx(0.3, abs=2e-3)


@pytest.mark.parametrize("loss", ["squared", "tweedie", "weighted_logistic"])
def test_a_teacher_of_values_speaks_in_raw_units(loss):
    labels = np.array([0.0, 100, 500, 1000])
    task = Task("t", "regression", mean=400.0, std=300.0, loss=loss, soft_label="q")
    assert lowest(task, labels, [800.0] * 4) == pytest.approx(600, rel=1e-3)
    bent = Task("t", "regression", transform="log1p", mean=5.0, std=2.0, soft_label="q")
    wanted = np.expm1((np.log1p(labels[1:]).mean() + np.log1p(800)) / 2)
    assert lowest(bent, labels[1:], [800.0] * 3) == pytest.approx(wanted, rel=1e-3)


def test_a_chain_takes_the_product_of_what_the_teacher_said():
    tasks = [
        Task(t.name, given=t.given, space=t.space, soft_label="q", soft_weight=0.25)
        for t in CHAIN
    ]
    labels, masks = (of_rows(each) for each in zip(*ROWS.values(), strict=True))
    said = np.array([[0.5, 0.4, 0.2]] * len(ROWS), "f")
    said[3] = NAN  # "liked": nothing was said of it
    soft = {SOFT + name: values for name, values in of_rows(said).items()}
    found = row_losses(tasks, labels | soft, masks, of_rows(LOGITS))
    p = (1 / (1 + np.exp(-LOGITS.astype(float)))).prod(axis=1)
    for row, y in ((0, 0.25 * 0.04), (4, 0.75 + 0.25 * 0.04), (3, 0.0)):
        wanted = -y * np.log(p[row]) - (1 - y) * np.log(1 - p[row])
        assert float(found["share"][0][row]) == pytest.approx(wanted, rel=1e-4)


def test_the_order_within_groups_is_that_of_the_labels():
    """Soft labels have part in cross entropy alone."""
    rows = {"t": tf.constant([1.0, 0, 1, 0]), GROUP: tf.constant([1, 1, 2, 2], tf.int64)}
    rows[SOFT + "t"] = tf.constant([0.1, 0.9, 0.1, 0.9])
    outputs = {"t": tf.constant([0.3, -0.3, 1.0, 2.0])}
    masks = {"t": tf.ones(4)}
    found = {
        ranking: row_losses(
            [Task("t", ranking=ranking, soft_label="q")], rows, masks, outputs
        )["t"][0]
        for ranking in ("none", "pairwise")
    }
    hard = row_losses(
        [Task("t", ranking="pairwise")],
        {n: v for n, v in rows.items() if n != SOFT + "t"},
        masks,
        outputs,
    )["t"][0]
    plain = row_losses([Task("t")], {"t": rows["t"]}, masks, outputs)["t"][0]
    np.testing.assert_allclose(
        found["pairwise"] - found["none"], hard - plain, rtol=1e-5, atol=1e-6
    )
