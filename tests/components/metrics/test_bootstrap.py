"""The paired bootstrap: its metrics under weights, its coverage, its honesty in gates."""

import numpy as np
import pytest

from steadyrank.components.metrics import bootstrap
from steadyrank.components.metrics import grouped as metrics
from steadyrank.pipeline.gates.rules import HOLD, PASS, REFUSE, at_least
from steadyrank.pipeline.metrics.uncertainty import Estimate, interval_of

TRIALS, REPETITIONS = 200, 100
GROUPS, ROWS = 120, 6  # of a trial


def repeated(values, weights, groups):
    """Rows as often as their group was drawn: what weights stand for."""
    return np.repeat(values, weights[groups])


@pytest.mark.parametrize("ties", [True, False])
def test_weighted_metrics_are_those_of_repeated_rows(ties):
    random = np.random.default_rng(2)
    groups = random.integers(0, 30, 400)
    labels = (random.uniform(size=400) < 0.3).astype(float)
    output = np.clip(random.uniform(size=400) + 0.2 * labels, 0.01, 0.99)
    output = np.round(output, 1) * 0.9 + 0.01 if ties else output
    found = bootstrap.resample(labels, [output], groups, repetitions=5, seed=9)
    weights = np.concatenate(list(bootstrap.draw(np.arange(30), 5, 400, 9)))
    assert 0.7 < weights.mean() < 1.3 and weights.max() > 2
    for i, drawn in enumerate(weights):
        y, p = (repeated(v, drawn, groups) for v in (labels, output))
        for name in ("auc", "pr_auc", "log_loss", "normalized_entropy", "calibration"):
            wanted = getattr(metrics, name)(y, p)
            assert found[name][0, i] == pytest.approx(wanted, abs=1e-12), name


def test_gauc_draws_whole_groups():
    labels, groups = np.array([0, 1, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2, 2])
    output = np.array([0.1, 0.9, 0.8, 0.2, 0.5, 0.5])
    found = bootstrap.resample(labels, [output], groups, repetitions=60, seed=3)["gauc"][0]
    weights = np.concatenate(list(bootstrap.draw(np.arange(3), 60, 6, 3)))[:, :2].astype(
        float
    )
    drawn = weights.sum(1) > 0
    assert np.isnan(found[~drawn]).all() and drawn.sum() > 40
    assert found[drawn] == pytest.approx(weights[drawn, 0] / weights[drawn].sum(1))


def test_one_seed_one_result_and_equal_models_do_not_differ():
    labels, outputs, groups, _ = trial(1, 0.5)
    first, again, other = (
        bootstrap.resample(labels, outputs[:1] * 2, groups, repetitions=20, seed=seed)
        for seed in (1, 1, 2)
    )
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
        np.testing.assert_array_equal(values[0], values[1])
    assert (first["auc"] != other["auc"]).any()


def test_blocks_do_not_change_the_samples(monkeypatch):
    labels, outputs, groups, _ = trial(1, 0.5)
    whole = bootstrap.resample(labels, outputs, groups, repetitions=41)
    monkeypatch.setattr(bootstrap, "_CELLS", 3000)
    parts = bootstrap.resample(labels, outputs, groups, repetitions=41)
    for name, values in whole.items():
        assert values.shape[:2] == (2, 41)
        np.testing.assert_allclose(values, parts[name], rtol=1e-12, err_msg=name)


def test_a_group_is_drawn_alike_wherever_it_is():
    """Whatever other groups there are: what two evaluations drew can be subtracted."""
    keys = np.array([-(2**63), -7, 0, 5, 2**62])
    whole, part = (
        np.concatenate(list(bootstrap.draw(each, 300, 9, 1)))
        for each in (keys, keys[[3, 1]])
    )
    np.testing.assert_array_equal(whole[:, [3, 1]], part)
    assert (whole[:, 0] != whole[:, 1]).any()


def test_weights_are_poisson_and_independent():
    drawn = np.concatenate(list(bootstrap.draw(np.arange(2000), 300, 9, 1))).astype(float)
    assert drawn.shape == (300, 2000)
    for values in (drawn, drawn[:, :100], drawn[::4]):
        assert values.mean() == pytest.approx(1, abs=0.02)
        assert values.var() == pytest.approx(1, abs=0.04)
    between = np.corrcoef(drawn.T[:300])
    assert np.abs(between - np.eye(300)).max() < 0.35  # 5 standard errors and more
    assert np.abs(np.corrcoef(drawn) - np.eye(300)).max() < 0.13


def test_quantiles_are_those_of_student():
    for groups, wanted in ((11, 1.8125), (31, 1.6973), (10**9, 1.6449)):
        assert bootstrap.quantile(0.95, groups) == pytest.approx(wanted, rel=1e-3)


def test_one_class_has_no_error():
    found = bootstrap.resample(np.ones(50), [np.linspace(0.1, 0.9, 50)], repetitions=20)
    for name in ("auc", "gauc", "normalized_entropy"):
        assert np.isnan(bootstrap.standard_error(found[name][0])), name
    assert bootstrap.scarcest(np.ones(50)) == 0


def test_metrics_of_values_are_those_of_repeated_rows():
    random = np.random.default_rng(0)
    labels, groups = random.gamma(2.0, size=300), random.integers(0, 40, 300)
    output = labels + random.normal(size=300)
    found = bootstrap.resample(labels, [output], groups, binary=False, repetitions=6)
    assert set(found) == {"calibration", "deciles", "mse", "rmse", "mae"}
    weights = np.concatenate(list(bootstrap.draw(np.arange(40), 6, 300, 1)))
    for i, drawn in enumerate(weights):
        y, p = (repeated(v, drawn, groups) for v in (labels, output))
        for name in ("calibration", "mse", "rmse", "mae"):
            wanted = getattr(metrics, name)(y, p)
            assert found[name][0, i] == pytest.approx(wanted, abs=1e-12), name


def trial(seed, noise):
    """Two models that see a user's taste and a row's merit, one of them less well.

    Rows of a user share a taste, so that rows are not independent.
    """
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(GROUPS), ROWS)
    taste, merit = random.normal(size=GROUPS)[groups], random.normal(size=len(groups))
    logit = taste + merit - 0.5
    labels = (random.uniform(size=len(groups)) < 1 / (1 + np.exp(-logit))).astype(float)
    seen = [logit + n * random.normal(size=len(groups)) for n in (noise, 1.0)]
    return labels, [1 / (1 + np.exp(-score)) for score in seen], groups, logit


@pytest.fixture(scope="module")
def truths():
    """Noise of the new model -> the AUC gain that a very large sample shows."""
    gains = {}
    for noise in (1.0, 0.6, 1.6):
        found = []
        for seed in range(100):
            labels, outputs, _, _ = trial(10**6 + seed, noise)
            found.append([metrics.auc(labels, output) for output in outputs])
        gains[noise] = float(np.subtract(*np.mean(found, 0)))
    gains[1.0] = 0.0  # by symmetry
    return gains


@pytest.fixture(scope="module")
def trials():
    """Noise -> gain and its standard error, in each trial."""
    result = {}
    for noise in (1.0, 0.6, 1.6):
        result[noise] = []
        for seed in range(TRIALS):
            labels, outputs, groups, _ = trial(seed, noise)
            drawn = bootstrap.resample(
                labels, outputs, groups, repetitions=REPETITIONS, seed=seed
            )["auc"]
            areas = [metrics.auc(labels, output) for output in outputs]
            error = float(bootstrap.standard_error(drawn[0] - drawn[1]))
            result[noise].append((areas[0] - areas[1], error))
    return result


def verdicts(found, limit, confidence=0.95):
    estimates = [Estimate(gain, error, GROUPS, GROUPS * ROWS) for gain, error in found]
    return [at_least(e, limit, confidence).verdict for e in estimates]


# Of 200 trials at a rate of 5 %, more than 19 happen once in 100 times: the limit here.
MOST = 19


@pytest.mark.parametrize("noise", [1.0, 0.6, 1.6])
def test_at_the_limit_noise_neither_blesses_nor_blocks(trials, truths, noise):
    """True gain equal to the limit: either certain verdict is an error of 5 % at most."""
    found = verdicts(trials[noise], truths[noise])
    assert found.count(PASS) <= MOST
    assert found.count(REFUSE) <= MOST
    assert found.count(HOLD) >= TRIALS - 2 * MOST


def test_a_worse_model_is_not_blessed_and_a_better_one_not_blocked(trials):
    assert verdicts(trials[1.6], 0.0).count(PASS) <= 1
    assert verdicts(trials[1.6], 0.0).count(REFUSE) > TRIALS / 2
    assert verdicts(trials[0.6], 0.0).count(REFUSE) <= 1
    assert verdicts(trials[0.6], 0.0).count(PASS) > TRIALS / 2


@pytest.mark.parametrize("noise", [1.0, 0.6, 1.6])
def test_an_interval_covers_the_true_gain(trials, truths, noise):
    """Of 95 %: 190 of 200 cover; fewer than 181, or all, about once in 100 times."""
    covered = [
        interval_of(gain, error, GROUPS)[0]
        <= truths[noise]
        <= interval_of(gain, error, GROUPS)[1]
        for gain, error in trials[noise]
    ]
    assert 181 <= sum(covered) <= 199
