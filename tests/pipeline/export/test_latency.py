"""Intervals of percentiles, against published tables and by drawing anew."""

import numpy as np
import pytest

from steadyrank.pipeline.export.latency import REPEATS, percentile_interval


@pytest.mark.parametrize(
    # of the median: the d-factors of binomial tables (Conover 1999, table A3)
    ("count", "low", "high"),
    [(5, None, None), (6, 1, 6), (10, 2, 9), (20, 6, 15), (25, 8, 18)],
)
def test_bounds_of_the_median_are_those_of_the_tables(count, low, high):
    values = np.random.default_rng(0).permutation(count) + 1.0
    found = percentile_interval(values, 0.5)
    assert found == (None if low is None else [low, high])


def test_the_slowest_request_bounds_the_99th_percentile_from_368_requests_on():
    assert percentile_interval(np.arange(367.0), 0.99) is None
    assert percentile_interval(np.arange(368.0), 0.99)[1] == 367
    assert percentile_interval(np.arange(float(REPEATS)), 0.99) is not None


def test_an_interval_holds_the_percentile_as_often_as_it_says():
    random, held = np.random.default_rng(1), []
    for _ in range(2000):
        low, high = percentile_interval(random.exponential(size=400), 0.99)
        held.append(low <= -np.log(0.01) <= high)
    assert 0.945 < np.mean(held) < 0.985  # bounds are of whole ranks: 95 % or a little more
