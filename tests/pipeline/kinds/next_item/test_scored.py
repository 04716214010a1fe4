"""Metrics of rankings by hand, their scatter over users, gates over phases, seen items."""

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.pipeline.gates.soundness import _learned_task
from steadyrank.pipeline.kinds.next_item.gates import judge_sequences
from steadyrank.pipeline.kinds.next_item.learner import ranks_of
from steadyrank.pipeline.kinds.next_item.measure import scored
from steadyrank.pipeline.kinds.next_item.scored import (
    chance_of,
    learned,
    row_metrics,
    summarise,
)
from steadyrank.pipeline.kinds.next_item.serving import visible
from steadyrank.pipeline.train.log import divergence_of

EACH = np.arange(3000)
HOW = {"repetitions": 100, "varies": True}


@pytest.fixture(scope="module")
def ranks():
    return np.random.default_rng(1).geometric(0.03, 3000) - 1


def test_metrics_by_hand():
    found = row_metrics(np.array([0, 1, 4, 5, 19, 20]))
    expected = {
        "mrr@5": [1, 1 / 2, 1 / 5, 0, 0, 0],
        "hr@5": [1, 1, 1, 0, 0, 0],
        "ndcg@5": [1, 1 / np.log2(3), 1 / np.log2(6), 0, 0, 0],
        "mrr@10": [1, 1 / 2, 1 / 5, 1 / 6, 0, 0],
        "hr@10": [1, 1, 1, 1, 0, 0],
        "ndcg@10": [1, 1 / np.log2(3), 1 / np.log2(6), 1 / np.log2(7), 0, 0],
        "mrr@20": [1, 1 / 2, 1 / 5, 1 / 6, 1 / 20, 0],
        "hr@20": [1, 1, 1, 1, 1, 0],
        "ndcg@20": [1, 1 / np.log2(3), 1 / np.log2(6)]
        + [1 / np.log2(7), 1 / np.log2(21), 0],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_errors_are_those_of_a_mean_and_users_count_not_rows(ranks):
    once = summarise(ranks, EACH, {}, repetitions=1000)
    for name, values in row_metrics(ranks).items():
        textbook = values.std(ddof=1) / np.sqrt(len(values))
        assert once["errors"][name] == pytest.approx(textbook, rel=0.1)
        low, high = once["intervals"][name]
        assert low < once[name] < high
    twice = summarise(np.tile(ranks, 2), np.tile(EACH, 2), {}, repetitions=1000)
    assert twice["errors"]["hr@20"] == pytest.approx(once["errors"]["hr@20"], rel=0.1)


def test_chance_is_that_of_a_random_order_of_what_is_visible():
    random, visible = np.random.default_rng(2), np.array([1, 3, 30, 0])
    for count, wanted in zip(visible, chance_of(visible), strict=True):
        ranks = random.integers(0, count, 200_000) if count else np.array([99])
        assert row_metrics(ranks)["mrr@20"].mean() == pytest.approx(wanted, abs=3e-3)


@pytest.mark.parametrize("left_out", [0, 40])
def test_a_random_order_has_learned_nothing_however_few_items_it_leaves(left_out):
    """Of fewer visible items a random order hits more: that is no merit of a model."""
    random, told = np.random.default_rng(4), 0
    visible = np.full(400, 50 - left_out)
    for _ in range(60):
        ranks = random.integers(0, visible)
        by_chance = random.integers(0, visible)
        found = learned(ranks, by_chance, visible, EACH[:400], targets=EACH[:400], **HOW)
        told += found["interval"][0] > 0 or found["worse"]
    assert told <= 9  # one in twenty are 3; more than 9 happen once in 2,000 times


def test_a_net_that_ranks_an_item_by_chance_is_lucky_with_all_of_its_rows():
    """300 users by 20 items, each of which has the same rank wherever it comes next."""
    random, told = np.random.default_rng(6), {"users": 0, "both": 0}
    targets, visible = np.arange(300) % 20, np.full(300, 50)
    for _ in range(60):
        ranks = random.integers(0, 50, 20)[targets]
        for name, of_items in (("users", EACH[:300]), ("both", targets)):
            found = learned(
                ranks, ranks + 999, visible, EACH[:300], targets=of_items, **HOW
            )
            told[name] += found["interval"][0] > 0
    assert told["both"] <= 6 < told["users"]


def _judged(ranks, popular, items=1000):
    visible = np.full(len(ranks), items)
    each = EACH[: len(ranks)]
    found = learned(ranks, popular, visible, each, targets=each, **HOW)
    return found, _learned_task("next_item", found, "validation")


def test_the_order_by_popularity_is_no_more_than_the_mean_is_to_a_label(ranks):
    """What idle steps give: better than chance, and nothing was learned."""
    same, held = _judged(ranks, ranks)
    assert same["constant"] == "popularity" and same["gain"] == 0
    assert (
        held["verdict"] == "HOLD" and "not told from that of popularity" in held["reason"]
    )
    better, passed = _judged(np.maximum(ranks - 9, 0), ranks)
    by_hand = row_metrics(np.maximum(ranks - 9, 0))["mrr@20"] - row_metrics(ranks)["mrr@20"]
    assert better["gain"] == pytest.approx(by_hand.mean()) and passed["verdict"] == "PASS"


@pytest.mark.parametrize(("hits", "sure"), [(21, False), (60, True)])
def test_what_an_idle_model_may_come_to_by_luck_is_held(hits, sure):
    """Two standard errors above: one draw in forty is, and a model a night is drawn."""
    found, said = _judged(np.where(EACH < hits, 0, 999), np.full(3000, 999))
    assert found["interval"][0] > 0 and found["surely"] is sure
    assert said["verdict"] == ("PASS" if sure else "HOLD")
    assert ("as an idle model's" in said["reason"]) is not sure
    assert sure or said["rows_needed"] >= 3000


def test_below_popularity_holds_and_below_chance_is_refused(ranks):
    below, held = _judged(ranks + 9, ranks)
    assert below["interval"][1] < 0 and not below["worse"]
    assert held["verdict"] == "HOLD" and held["rows_needed"] is None
    assert "below that of popularity" in held["reason"]
    _, refused = _judged(np.full(3000, 999), ranks)
    assert refused["verdict"] == "REFUSE"
    # where popularity hits less often than chance, beating it is no merit
    chance, held = _judged(np.random.default_rng(5).integers(0, 1000, 3000), ranks + 999)
    assert chance["constant"] == "a random order" and held["verdict"] == "HOLD"


def test_items_that_are_left_out_are_no_items_to_rank_among():
    hidden = float("-inf")
    scores = tf.constant([[3.0, 2, 1, 0], [hidden, 2, 1, 0], [3, 2, hidden, hidden]])
    rows = np.array([[1, 2], [2, 1], [1, 5]], np.int32)  # the last item is not known
    found = scored(lambda history: scores, rows, 4)
    assert found.visible.tolist() == [4, 0, 0] and found.nonfinite == 0
    assert found.ranks.tolist()[:2] == [1, 3] and found.ranks[2] >= 4
    assert not found.varies
    other = scored(lambda history: scores + [[0.0], [1.0], [0.0]], rows, 4)
    assert other.varies


@pytest.mark.parametrize(("gap", "told"), [(2e-3, True), (5e-4, False)])
def test_scores_that_no_softmax_tells_apart_are_of_a_dead_model(gap, told):
    """What steps of 1e-9 leave: an order, in which no item is likelier than another."""
    hidden = float("-inf")
    scores = tf.constant([[0.0, gap, hidden], [gap, 0.0, hidden]])
    rows = np.array([[3, 1], [3, 2]], np.int32)
    assert scored(lambda history: scores, rows, 3).varies is told


def test_gains_are_paired(ranks):
    better = np.maximum(ranks - 1, 0)
    others = {"gain": better, "gain_over_popularity": ranks}
    found = summarise(ranks, EACH, others)
    gain = found["gain"]["hr@5"]
    expected = np.mean(ranks < 5) - np.mean(better < 5)
    assert gain["difference"] == pytest.approx(expected)
    assert expected < 0
    assert 0 < gain["error"] < found["errors"]["hr@5"]
    same = found["gain_over_popularity"]["mrr@5"]
    assert (same["difference"], same["error"]) == (0.0, 0.0)


def test_few_users_hold_a_gain_and_none_refuse_it(ranks):
    gates = {"metrics": {"mrr@5": {"min": None, "min_gain": None}}, "confidence": None}
    gates["metrics"]["mrr@5"]["min_gain_over_popularity"] = 0.0
    gates["metrics"]["mrr@5"]["min_gain_over_transitions"] = None

    def verdict(ours, theirs):
        groups = np.arange(len(ours))
        results = summarise(ours, groups, {"gain_over_popularity": theirs})
        popular = summarise(theirs, groups, {})
        metrics = {"tasks": {"next_item": results}, "popularity": popular}
        return judge_sequences(metrics, gates)["gates"][0]

    better = np.maximum(ranks - 2, 0)
    assert verdict(better, ranks)["verdict"] == "PASS"
    assert verdict(ranks, better)["verdict"] == "REFUSE"
    held = verdict(better[:8], ranks[:8])
    assert held["verdict"] == "HOLD" and held["rows_needed"] > 8
    assert verdict(better[:0], ranks[:0])["verdict"] != "PASS"


def test_no_gate_refuses():
    assert judge_sequences({}, {"metrics": {}, "confidence": None})["verdict"] == "REFUSE"


def test_a_loss_that_jumps_between_phases_has_not_diverged():
    lines = [
        {"step": i, "phase": int(i > 200), "loss": 8.0 if i > 200 else 1.0, "losses": {},
         "examples": 1, "batch_size": 1}
        for i in range(1, 501)
    ]  # fmt: skip
    found = divergence_of(lines, len(lines))
    assert (found["steps"], found["diverged"], found["micro"]) == (500, False, [])
    one = divergence_of([{**line, "phase": 0} for line in lines], len(lines))
    assert (one["diverged"], one["diverged_at"]) == (True, 201)


def test_seen_items_are_hidden_one_by_one():
    scores = np.random.default_rng(2).normal(size=(4, 7)).astype(np.float32)
    seen = np.array([[0, 0, 0], [0, 3, 3], [7, 1, 2], [0, 0, 6]], np.int32)
    expected = scores[:, :6].copy()
    for row, ids in enumerate(seen):
        for item in ids:
            if 1 <= item <= 6:
                expected[row, item - 1] = -np.inf
    found = visible(tf.constant(scores), tf.constant(seen)).numpy()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(visible(tf.constant(scores)), scores[:, :6])


def test_an_unknown_target_is_never_a_hit():
    scores = np.array([[3.0, 1.0, 2.0, 9.0]] * 4, np.float32)  # the last: the unknown's
    targets = tf.constant([1, 2, 3, 4])
    assert ranks_of(tf.constant(scores), targets, 3).numpy().tolist() == [
        0,
        2,
        1,
        2**31 - 1,
    ]
