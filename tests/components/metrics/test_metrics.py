"""Exact metrics against scikit-learn and against naive references."""

import warnings

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.components.metrics import grouped as metrics
from tests.helpers import reference

ROW = st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.integers(0, 3))
NO_ROWS = np.array([])


def sample(n=3000, seed=0, rate=0.1):
    random = np.random.default_rng(seed)
    scores = np.round(random.uniform(size=n), 2).astype(np.float32)  # many ties
    labels = (random.uniform(size=n) < rate + 0.3 * scores).astype(np.float32)
    return labels, np.clip(scores, 0.01, 0.99), random.uniform(size=n)


@settings(max_examples=150)
@given(rows=st.lists(ROW, min_size=1, max_size=25))
def test_auc_and_gauc_equal_all_pairs(rows):
    labels, scores, groups = zip(*rows, strict=True)
    expected = reference.auc(labels, scores)
    assert metrics.auc(labels, scores) == pytest.approx(expected, nan_ok=True)
    expected = reference.gauc(labels, scores, groups)
    assert metrics.gauc(labels, scores, groups) == pytest.approx(expected, nan_ok=True)
    names = [f"user {group}" for group in groups]
    assert metrics.gauc(labels, scores, names) == pytest.approx(expected, nan_ok=True)


def test_equal_scikit_learn():
    labels, scores, weights = sample()
    skl = sklearn.metrics
    assert metrics.auc(labels, scores) == pytest.approx(
        skl.roc_auc_score(labels, scores), abs=1e-12
    )
    weighted = skl.roc_auc_score(labels, scores, sample_weight=weights)
    assert metrics.auc(labels, scores, weights) == pytest.approx(weighted, abs=1e-12)
    exact = scores.astype(float)
    assert metrics.log_loss(labels, scores) == pytest.approx(skl.log_loss(labels, exact))
    assert metrics.mse(labels, scores) == pytest.approx(
        skl.mean_squared_error(labels, exact)
    )
    assert metrics.mae(labels, scores) == pytest.approx(
        skl.mean_absolute_error(labels, exact)
    )
    assert metrics.rmse(labels, scores) == pytest.approx(
        np.sqrt(metrics.mse(labels, scores))
    )


def test_pr_auc_equals_scikit_learn():
    average = sklearn.metrics.average_precision_score
    for seed, rate in enumerate([0.0, 0.1, 0.6]):
        labels, scores, weights = sample(500, seed, rate)
        found = metrics.pr_auc(labels, scores)
        assert found == pytest.approx(average(labels, scores), abs=1e-12)
        found = metrics.pr_auc(labels, scores, weights)
        expected = average(labels, scores, sample_weight=weights)
        assert found == pytest.approx(expected, abs=1e-12)


def test_pr_auc_by_hand():
    # one of two tied rows at the top is positive, then a negative, then a positive
    found = metrics.pr_auc([1, 0, 0, 1], [0.9, 0.9, 0.5, 0.1])
    assert found == pytest.approx(0.5 * 1 / 2 + 0.5 * 2 / 4)
    assert metrics.pr_auc([1, 1], [0.1, 0.2]) == 1
    assert np.isnan(metrics.pr_auc([0, 0], [0.1, 0.2]))
    assert np.isnan(metrics.pr_auc(NO_ROWS, NO_ROWS))
    assert np.isnan(metrics.pr_auc([1, 0], [np.nan, 0.2]))


def test_auc_is_exact_at_a_low_base_rate():
    random = np.random.default_rng(4)
    labels = random.uniform(size=20_000) < 0.005
    scores = 0.004 + 1e-6 * random.normal(size=20_000) + 1e-6 * labels
    expected = sklearn.metrics.roc_auc_score(labels, scores)
    assert metrics.auc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_log_loss_equals_the_reference_and_survives_certainty():
    labels, scores, _ = sample(50)
    expected = reference.log_loss(labels, scores.astype(float))
    assert metrics.log_loss(labels, scores) == pytest.approx(expected)
    assert np.isfinite(metrics.log_loss([0, 1], np.array([1, 0], np.float32)))


def test_normalized_entropy():
    labels, scores, _ = sample()
    assert metrics.normalized_entropy(
        labels, np.full(3000, labels.mean())
    ) == pytest.approx(1)
    p = labels.mean()
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    found = metrics.normalized_entropy(labels, scores)
    assert found == pytest.approx(metrics.log_loss(labels, scores) / entropy, rel=1e-6)


def test_calibration():
    assert metrics.calibration([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.25]) == 0.75
    labels, scores, _ = sample(1003)
    curve = metrics.calibration_curve(labels, scores, bins=10)
    rows = np.array(curve["rows"])
    assert rows.sum() == 1003 and rows.max() - rows.min() <= 1
    assert np.all(np.diff(curve["predicted"]) >= 0)
    assert np.dot(rows, curve["observed"]) == pytest.approx(labels.sum())
    assert np.dot(rows, curve["predicted"]) == pytest.approx(scores.astype(float).sum())
    assert metrics.calibration_curve([1, 0], [0.2, 0.1])["rows"] == [1, 1]


@pytest.mark.parametrize("points", [5, 200, 10_000])
def test_roc_curve(points):
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 4000)
    scores = random.normal(size=4000) + labels
    curve = metrics.roc_curve(labels, scores, points)
    false, true = (np.array(curve[k]) for k in curve)
    assert len(false) <= max(points, 0) and (false[0], true[0]) == (0, 0)
    assert (false[-1], true[-1]) == (1, 1)
    assert np.all(np.diff(false) >= 0) and np.all(np.diff(true) >= 0)
    exact_false, exact_true, _ = sklearn.metrics.roc_curve(
        labels, scores, drop_intermediate=False
    )
    exact = set(zip(exact_false.round(9), exact_true.round(9), strict=True))
    assert set(zip(false.round(9), true.round(9), strict=True)) <= exact
    if points >= 200:
        area = sklearn.metrics.auc(false, true)
        assert area == pytest.approx(metrics.auc(labels, scores), abs=1e-3)


def test_roc_curve_keeps_ties_together():
    curve = metrics.roc_curve([1, 0, 1, 0], [0.5, 0.5, 0.9, 0.1])
    assert curve == {
        "false_positive_rate": [0.0, 0.0, 0.5, 1.0],
        "true_positive_rate": [0.0, 0.5, 1.0, 1.0],
    }


def test_undefined_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("auc", "log_loss", "normalized_entropy", "calibration"):
            assert np.isnan(getattr(metrics, name)(NO_ROWS, NO_ROWS)), name
        for name in ("mse", "mae", "rmse"):
            assert np.isnan(getattr(metrics, name)(NO_ROWS, NO_ROWS)), name
        assert np.isnan(metrics.gauc(NO_ROWS, NO_ROWS, NO_ROWS))
        assert np.isnan(metrics.auc([1, 1], [0.1, 0.2]))
        assert np.isnan(metrics.gauc([1, 0], [0.1, 0.2], [1, 2]))
        assert np.isnan(metrics.auc([1, 0], [np.nan, 0.2]))
        assert np.isnan(metrics.gauc([1, 0], [np.nan, 0.2], [1, 1]))
        assert np.isnan(metrics.log_loss([1, 0], [np.nan, 0.2]))
        assert np.isnan(metrics.normalized_entropy([1, 1], [0.1, 0.2]))
        assert np.isnan(metrics.calibration([0, 0], [0.1, 0.2]))
        assert metrics.roc_curve([1, 1], [0.1, 0.2])["true_positive_rate"] == []
        assert metrics.calibration_curve(NO_ROWS, NO_ROWS)["rows"] == []
