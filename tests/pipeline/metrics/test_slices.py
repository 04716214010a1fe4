"""Slices, drift and scatter of an evaluation, against counting by hand."""

import numpy as np
import pytest

from steadyrank.components.metrics import bootstrap
from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.metrics import drift
from steadyrank.pipeline.metrics import uncertainty as scatter
from steadyrank.pipeline.metrics.slices import (
    bucket_name,
    columns_within,
    large_enough,
    slices_of,
    summary_of,
)
from steadyrank.pipeline.metrics.tasks import measure

TAB = Feature("tab", "categorical", oov_buckets=2, vocabulary_size=2)
AGE = Feature("age", "numeric", boundaries=(18.0, 30.5))


@pytest.fixture
def vocab(tmp_path):
    (tmp_path / "tab.txt").write_text("home\nfollowing\n")
    return tmp_path


def test_slices_are_named_and_hold_their_rows(vocab):
    columns = {
        "tab": np.array([3, 4, 3, 0, 1, 2, 3], np.int32),
        "age": np.array([18.0, 17.9, 40, np.nan, 30.5, 30.4, 18], np.float32),
    }
    found = slices_of([TAB], columns, vocab)
    assert [(p.values["tab"], p.rows.tolist()) for p in found] == [
        ("home", [0, 2, 6]), ("(missing)", [3]), ("(unknown)", [4]), ("(unknown)", [5]),
        ("following", [1]),
    ]  # fmt: skip
    found = slices_of([TAB, AGE], columns, vocab)
    assert found[0].values == {"tab": "home", "age": "18 to 30.5"}
    assert found[0].rows.tolist() == [0, 6]
    names = {tuple(p.values.values()): p.rows.tolist() for p in found}
    assert names[("home", "from 30.5")] == [2]
    assert names[("following", "below 18")] == [1]
    assert names[("(missing)", "(missing)")] == [3]
    assert sum(len(p.rows) for p in found) == 7
    assert list(large_enough(found, 2)) == found[:1]
    assert summary_of(found[1:])["slices"] == summary_of(found[1:])["rows"] == 5
    assert bucket_name((1.0, 2.0, 3.0), 3) == "2 to 3"


def test_rows_of_nested_columns():
    found = columns_within({"a": {"b": np.arange(5)}, "c": None}, np.array([1, 3]))
    assert found["a"]["b"].tolist() == [1, 3] and found["c"] is None


def test_no_rows_have_no_slices(vocab):
    assert slices_of([TAB], {"tab": np.zeros(0, np.int32)}, vocab) == []


def test_drift_of_equal_predictions_is_none_and_of_others_is_by_hand():
    random = np.random.default_rng(0)
    base = random.uniform(size=1000).astype(np.float32)
    assert drift.stability_index(base, base) == pytest.approx(0.0, abs=1e-9)
    # Half of the model's predictions left the lower half of the tenths for the upper.
    moved = np.concatenate([base[base > np.median(base)]] * 2)
    wanted = 5 * (0.2 - 0.1) * np.log(2) + 5 * (1e-6 - 0.1) * np.log(1e-6 / 0.1)
    assert drift.stability_index(moved, base) == pytest.approx(wanted, rel=0.02)
    assert np.isnan(drift.stability_index(np.array([np.nan, 1.0]), base))
    assert drift.stability_index(np.ones(5), np.ones(5)) == 0.0
    found = drift.measure_drift({"a": moved, "other": base}, {"a": base})
    assert set(found) == {"a"}
    bars = found["a"]["histogram"]
    assert len(bars["edges"]) == 41 == len(bars["model"]) + 1
    assert sum(bars["model"]) == pytest.approx(1.0)
    assert sum(bars["baseline"]) == pytest.approx(1.0)


def test_drift_scatters_as_rows_that_are_drawn_with_their_users():
    """Against rows that are repeated as often as their user was drawn, one by one."""
    random = np.random.default_rng(1)
    base, users = random.uniform(size=600), random.integers(0, 80, 600)
    moved = np.clip(base + 0.1 * random.normal(size=80)[users], 0, 1)
    settings = {"groups": users, "repetitions": 40}
    found = drift.measure_drift({"a": moved}, {"a": base}, **settings)["a"]
    names, numbers = np.unique(users, return_inverse=True)
    edges, drawn = np.quantile(base, np.arange(1, 10) / 10), []
    for weights in np.concatenate(list(bootstrap.draw(names, 40, 6000, drift.DRIFT_SEED))):
        rows = np.repeat(np.arange(600), weights[numbers])
        p, q = (
            np.array([np.mean(bins == bin) for bin in range(10)])
            for bins in (np.searchsorted(edges, each[rows]) for each in (moved, base))
        )
        p, q = np.maximum(p, 1e-6), np.maximum(q, 1e-6)
        drawn.append(np.sum((p - q) * np.log(p / q)))
    far = bootstrap.quantile(0.975, 80) * np.std(drawn, ddof=1)
    wanted = [max(found["psi"] - far, 0.0), found["psi"] + far]
    assert found["interval"] == pytest.approx(wanted, rel=1e-9)
    one = drift.measure_drift({"a": moved}, {"a": base}, groups=np.zeros(600, int))
    assert one["a"]["interval"] is None  # a single user tells nothing


def test_scatter_of_down_sampled_negatives_is_that_of_the_whole_log():
    """The drawn metrics lie around the measured ones, and tenths are of the whole log."""
    random = np.random.default_rng(3)
    label = (random.uniform(size=4000) < 0.5).astype(np.float32)
    output = np.clip(0.1 + 0.02 * label + 0.02 * random.normal(size=4000), 0.01, 0.9)
    task = Task("click", negative_rate=0.1)
    columns = [{"click": v} for v in (label, np.ones(4000), output)]
    results = measure([task], *columns)
    named = dict(zip(("labels", "masks", "outputs"), columns, strict=True))
    scatter.add_scatter(results, [task], named, repetitions=60)
    drawn = bootstrap.resample(label, [output], negative_rate=0.1, repetitions=60)
    click = results["click"]
    for name in ("auc", "log_loss", "normalized_entropy", "calibration"):
        wanted = pytest.approx(click[name], abs=3 * click["errors"][name])
        assert drawn[name].mean() == wanted, name
    deciles = click["deciles"]
    total = np.dot(deciles["ratio"], deciles["observed"]) / label.sum()
    assert total == pytest.approx(click["calibration"])


def test_scatter_is_added_and_gains_are_positive_where_better():
    random = np.random.default_rng(1)
    label = (random.uniform(size=600) < 0.4).astype(np.float32)
    good = np.clip(0.4 + 0.2 * (label - 0.4) + 0.05 * random.normal(size=600), 0.05, 0.95)
    bad = np.clip(0.4 + 0.2 * random.normal(size=600), 0.05, 0.95)
    value = random.gamma(2.0, size=600)
    tasks = [Task("click"), Task("watch", "regression"), Task("never")]
    labels = {"click": label, "watch": value, "never": label}
    masks = {"click": np.ones(600), "watch": np.arange(600) < 300, "never": np.zeros(600)}
    groups = np.arange(600) // 6
    outputs = {"click": good, "watch": value + 0.1, "never": good}
    others = {"click": bad, "watch": value, "never": bad}
    ours, theirs = (
        measure(tasks, labels, masks, o, groups=groups) for o in (outputs, others)
    )
    columns = {"labels": labels, "masks": masks, "outputs": outputs, "groups": groups}
    scatter.add_scatter(
        ours, tasks, columns, others, baseline_results=theirs, repetitions=60
    )
    click = ours["click"]
    assert click["groups"] > 80
    both = [0 < label[groups == g].sum() < 6 for g in range(100)]
    assert click["mixed_groups"] == sum(both) < 100
    assert theirs["click"]["mixed_groups"] == sum(both)
    gain = click["gain"]
    assert set(gain) == {"auc", "gauc", "pr_auc", "log_loss", "normalized_entropy"}
    for name, found in gain.items():
        assert found["difference"] > 0 and found["interval"][0] > 0, name
        assert abs(found["difference"]) == pytest.approx(
            abs(click[name] - theirs["click"][name])
        )
    scatter.add_scatter(
        ours, tasks, columns, outputs, baseline_results=ours, repetitions=60
    )
    for name, found in ours["click"]["gain"].items():  # over itself, drawn together
        assert found["difference"] == found["error"] == 0 < click["errors"][name]
    low, high = click["intervals"]["auc"]
    assert low < click["auc"] < high < low + 0.1
    deciles = click["deciles"]
    assert deciles["rows"] == [60] * 10
    known = np.array(deciles["observed"]) > 0
    assert np.isnan(np.array(deciles["ratio"])[~known]).all()
    assert set(ours["watch"]["errors"]) == {"calibration", "mse", "rmse", "mae"}
    assert ours["watch"]["gain"]["rmse"]["difference"] == 0
    assert "errors" not in ours["never"]
