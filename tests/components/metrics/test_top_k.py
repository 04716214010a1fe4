"""MRR@k, HR@k and NDCG@k against loops, their ties, and their sums."""

import math

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.components.metrics.top_k import TopKMetrics, target_ranks


def naive(scores, classes, k):
    """By sorting each row; among equals the right item comes last."""
    mrr = hits = ndcg = 0.0
    for row, right in zip(scores, classes, strict=True):
        order = sorted(range(len(row)), key=lambda i: (-row[i], i == right))
        for place, item in enumerate(order[:k], start=1):
            if item == right:
                mrr += 1 / place
                hits += 1
                ndcg += math.log(2) / math.log(place + 1)
    n = len(scores)
    return {f"mrr@{k}": mrr / n, f"hr@{k}": hits / n, f"ndcg@{k}": ndcg / n}


@pytest.mark.parametrize("k", [1, 5, 50])
@pytest.mark.parametrize("levels", [3, 1000])  # 3: ties in every row
def test_metrics_equal_the_naive_ones(k, levels):
    random = np.random.default_rng(k)
    scores = random.integers(0, levels, [200, 20]).astype(np.float32)
    classes = random.integers(0, 20, 200)
    metrics = TopKMetrics(k)
    metrics.update(target_ranks(scores, classes))
    assert metrics.result() == pytest.approx(naive(scores, classes, k), rel=1e-12)


def test_a_model_that_scores_all_items_alike_gets_nothing():
    ranks = target_ranks(tf.zeros([3, 8]), [0, 3, 7])
    assert ranks.numpy().tolist() == [7, 7, 7]


def test_a_nan_is_never_a_hit():
    scores = np.zeros([2, 4], np.float32)
    scores[:, 1] = 5
    scores[0, 3] = np.nan
    scores = np.concatenate([scores, np.full([1, 4], np.nan, np.float32)])
    metrics = TopKMetrics(20)  # of a catalogue of fewer items
    metrics.update(target_ranks(scores, [1, 1, 1]))
    assert metrics.result() == pytest.approx(dict.fromkeys(metrics.result(), 1 / 3))


def test_parts_add_up_to_the_whole():
    ranks = np.random.default_rng(0).integers(0, 12, 101)
    whole = TopKMetrics()
    whole.update(ranks)
    parts = [TopKMetrics() for _ in range(3)]
    for part, some in zip(parts, np.split(ranks, [7, 50]), strict=True):
        part.update(some)
    total = parts[0] + parts[1] + parts[2]
    assert total.result() == pytest.approx(whole.result(), rel=1e-12)
    assert total.rows == 101 and parts[0].rows == 7


def test_no_rows_are_not_a_zero():
    assert all(math.isnan(value) for value in TopKMetrics().result().values())


def test_errors_name_what_was_received():
    with pytest.raises(ValueError, match="k=0"):
        TopKMetrics(0)
    with pytest.raises(ValueError, match="k=5 and k=6"):
        TopKMetrics(5) + TopKMetrics(6)
