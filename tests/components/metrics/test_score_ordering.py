"""NDCG@10 within groups: by hand, against lists that are written out, and as drawn."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.components.metrics import bootstrap, grouped

LOG = [1 / math.log2(place + 2) for place in range(10)]


def naive(labels, scores, groups, copies):
    """Every row as often as it stands for; where rows tie, the mean of all their orders."""
    found = []
    for group in sorted(set(groups)):
        rows = [
            (scores[i], labels[i])
            for i in range(len(labels))
            if groups[i] == group
            for _ in range(copies if labels[i] == 0 else 1)
        ]
        positives = sum(label for _, label in rows)
        if not 0 < positives < len(rows):
            continue
        gain, place = 0.0, 0
        for score in sorted({score for score, _ in rows}, reverse=True):
            tied = [label for each, label in rows if each == score]
            places = range(place, place + len(tied))
            share = sum(LOG[p] for p in places if p < 10) / len(tied)
            gain, place = gain + sum(tied) * share, place + len(tied)
        found.append(gain / sum(LOG[: int(positives)]))
    return sum(found) / len(found) if found else math.nan


def test_by_hand():
    assert grouped.ndcg([0, 1, 1], [3, 2, 1], [7, 7, 7]) == pytest.approx(
        (LOG[1] + LOG[2]) / (1 + LOG[1])
    )
    assert grouped.ndcg([1, 0], [2, 1], ["a", "a"]) == 1
    assert math.isnan(grouped.ndcg([1, 1, 0], [1, 2, 3], [1, 1, 2]))
    assert math.isnan(grouped.ndcg([1, 0], [math.nan, 2], [1, 1]))
    beyond = grouped.ndcg([0] * 10 + [1], np.arange(11, 0, -1), [1] * 11)
    assert beyond == 0


def test_ties_are_the_mean_of_all_orders():
    labels, scores = [1, 0, 0, 1], [5, 5, 5, 1]
    orders = [
        grouped.ndcg(labels, [5 + place / 10 for place in order] + [1], [1] * 4)
        for order in itertools.permutations(range(3))
    ]
    assert grouped.ndcg(labels, scores, [1] * 4) == pytest.approx(np.mean(orders))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 3, 5]), st.booleans())
def test_a_negative_takes_as_many_places_as_it_stands_for(seed, copies, ties):
    random = np.random.default_rng(seed)
    labels = (random.uniform(size=60) < 0.3).astype(float)
    groups = random.integers(0, 6, 60)
    scores = random.uniform(size=60) if not ties else random.integers(0, 5, 60) / 4
    weights = np.where(labels > 0, 1.0, copies)
    found = grouped.ndcg(labels, scores, groups, weights)
    assert found == pytest.approx(naive(labels, scores, groups, copies), nan_ok=True)


def test_drawn_samples_are_of_whole_groups():
    """A group that is drawn twice counts twice; a random order is drawn beside it."""
    random = np.random.default_rng(4)
    labels, groups = (random.uniform(size=200) < 0.4) * 1.0, random.integers(0, 20, 200)
    score = random.uniform(size=200) + labels
    how = {"negative_rate": 0.5, "repetitions": 7, "seed": 3}
    found = bootstrap.resample(labels, [score], groups, score=[score], **how)
    weights = np.concatenate(list(bootstrap.draw(np.arange(20), 7, 200, 3)))
    stands = np.where(labels > 0, 1.0, 2.0)
    for i, drawn in enumerate(weights):
        rows = np.concatenate([
            np.flatnonzero(groups == g) for g in range(20) for _ in range(drawn[g])
        ])  # fmt: skip
        copy = np.concatenate([
            np.full((groups == g).sum(), 100 * g + time)
            for g in range(20) for time in range(drawn[g])
        ])  # fmt: skip
        for name, of in (("gauc", grouped.gauc), ("ndcg", grouped.ndcg)):
            wanted = of(labels[rows], score[rows], copy, stands[rows])
            assert found[f"score_{name}"][0, i] == pytest.approx(wanted), name
        chance = grouped.ndcg(labels[rows], np.zeros(len(rows)), copy, stands[rows])
        assert found["score_ndcg_chance"][0, i] == pytest.approx(chance)
