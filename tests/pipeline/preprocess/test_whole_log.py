"""Metrics of a log with fewer negatives are those of the whole log, groups included."""

import numpy as np
import pytest

from steadyrank.components.metrics import bootstrap, grouped
from steadyrank.models.features import Task
from steadyrank.pipeline.metrics.drift import measure_drift
from steadyrank.pipeline.metrics.negative_sampling import row_weights
from steadyrank.pipeline.metrics.scored import Scored
from steadyrank.pipeline.metrics.tasks import measure
from steadyrank.pipeline.studies.sweep.score import ranking


def naive_gauc(label, output, groups, rate):
    """Pair by pair; a group weighs positives + negatives / rate."""
    total = weight = 0.0
    for group in np.unique(groups):
        inside = groups == group
        above, below = output[inside & (label == 1)], output[inside & (label == 0)]
        if len(above) and len(below):
            won = (above[:, None] > below).mean() + (above[:, None] == below).mean() / 2
            rows = len(above) + len(below) / rate
            total, weight = total + rows * won, weight + rows
    return total / weight


@pytest.fixture
def rows():
    random = np.random.default_rng(4)
    label = (random.uniform(size=500) < 0.4).astype(float)
    output = np.round(np.clip(0.3 + 0.1 * label + 0.2 * random.normal(size=500), 0, 1), 2)
    return label, output, random.integers(0, 60, 500)


@pytest.mark.parametrize("rate", [1.0, 0.5, 0.05])
def test_gauc_weighs_groups_by_the_rows_they_stand_for(rows, rate):
    label, output, groups = rows
    wanted = naive_gauc(label, output, groups, rate)
    columns = [{"t": v} for v in (label, np.ones(500), output)]
    found = measure([Task("t", negative_rate=rate)], *columns, groups=groups)["t"]
    assert found["gauc"] == pytest.approx(wanted, abs=1e-12)
    drawn = bootstrap.Sums(label, output, groups, 60, negative_rate=rate)
    every = drawn.metrics(np.ones((1, 60), np.uint8))["gauc"][0]
    assert every == pytest.approx(wanted, abs=1e-12)
    assert ranking("gauc", label, output, groups, rate=rate) == pytest.approx(
        wanted, abs=1e-12
    )


@pytest.fixture(scope="module")
def simulated():
    """3,000 users; those who click more are ranked better."""
    random = np.random.default_rng(11)
    groups = np.repeat(np.arange(3000), 160)
    clicks = random.beta(1, 4, 3000)[groups]
    label = (random.uniform(size=len(groups)) < clicks).astype(float)
    output = 3 * clicks * label + random.normal(size=len(groups))
    return label, output, groups, grouped.gauc(label, output, groups)


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.05])
def test_the_gauc_of_3000_users_is_not_moved_by_sampling(simulated, rate):
    """Users who click more have fewer of their rows dropped, and would weigh too much."""
    label, output, groups, whole = simulated
    kept = (label == 1) | (np.random.default_rng(5).uniform(size=len(label)) < rate)
    label, output, groups = label[kept], output[kept], groups[kept]
    weighed = grouped.gauc(label, output, groups, row_weights(label, rate))
    assert weighed == pytest.approx(whole, abs=0.006)
    plain = grouped.gauc(label, output, groups)
    assert plain - whole > 0.004 and plain - whole > 2 * abs(weighed - whole)


def test_precision_of_a_score_is_that_of_the_whole_log(rows):
    label, output, _ = rows
    times = np.where(label == 1, 1, 10).astype(int)
    wanted = grouped.pr_auc(np.repeat(label, times), np.repeat(output, times))
    assert ranking("pr_auc", label, output, None, rate=0.1) == pytest.approx(
        wanted, abs=1e-12
    )
    area = grouped.auc(np.repeat(label, times), np.repeat(output, times))
    assert ranking("auc", label, output, None, rate=0.1) == pytest.approx(area, abs=1e-12)


def test_drift_is_that_of_the_rows_that_the_kept_ones_stand_for(rows):
    """As if every negative were there ten times."""
    label, output, _ = rows
    base = np.clip(output + 0.05 * label, 0, 1)
    scored = Scored({"t": label}, {"t": np.ones(500)}, {"t": output}, None, {}, {})
    stands = scored.stands_for(Task("t", negative_rate=0.1))
    times = stands.astype(int)
    assert set(times) == {1, 10}
    found = measure_drift({"t": output}, {"t": base}, {"t": stands})["t"]
    repeated = [{"t": np.repeat(v, times)} for v in (output, base)]
    wanted = measure_drift(*repeated)["t"]
    assert found["psi"] == pytest.approx(wanted["psi"], abs=1e-3)
    assert found["psi"] < measure_drift({"t": output}, {"t": base})["t"]["psi"]
    bars = [f["histogram"]["model"] for f in (found, wanted)]
    assert sum(bars[0]) == pytest.approx(1.0)
    assert abs(np.cumsum(bars[0]) - np.cumsum(bars[1])).max() < 0.1


def test_rows_outside_of_a_sample_space_stand_for_themselves():
    labels, masks = {"t": np.array([0, 1, 0])}, {"t": np.array([1.0, 1.0, 0.0])}
    scored = Scored(labels, masks, {"t": np.zeros(3)}, None, {}, {})
    assert scored.stands_for(Task("t", negative_rate=0.25)).tolist() == [4, 1, 1]
