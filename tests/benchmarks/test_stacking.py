"""The stacking study: planted truth, cut histories, what a run is said to have cost."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from benchmarks import stacking
from benchmarks.movielens_sequences import cut, movielens_split
from benchmarks.planted_sequences import Planted
from benchmarks.stacking_drawing import NAMES, draw
from benchmarks.stacking_trials import Settings, Trials, steps_to
from components.top_k import TopKMetrics, target_ranks
from models.stack import named_weights

PLANTED = Planted(items=30, length=12, lags=(2, 7), shares=(0.3, 0.5), seed=3)


def test_items_follow_their_maps_as_often_as_planted():
    x = PLANTED.sequences(4000, 1)
    assert x.min() >= 1 and x.max() <= 30 and x.shape == (4000, 12)
    for j, (lag, share) in enumerate(zip(PLANTED.lags, PLANTED.shares, strict=True)):
        follows = PLANTED.maps[j][x[:, 11 - lag] - 1] == x[:, 11]
        assert follows.mean() == pytest.approx(share + (1 - share) / 30, abs=0.05)
    assert sorted(PLANTED.maps[0]) == list(range(1, 31))
    first = np.bincount(x[:, 0], minlength=31)[1:] / 4000
    np.testing.assert_allclose(first, PLANTED.popularity, atol=0.025)
    assert np.any(PLANTED.sequences(50, 2) != PLANTED.sequences(50, 3))


def test_the_truth_is_a_distribution_and_its_best_is_reached():
    """The expected MRR of the true ranking against that measured on drawn items."""
    x = PLANTED.sequences(6000, 4)
    truth = PLANTED.probabilities(x[:, :-1])
    np.testing.assert_allclose(truth.sum(1), 1, rtol=1e-12)
    measured = TopKMetrics()
    measured.update(target_ranks(truth, x[:, -1] - 1))
    best = PLANTED.best(x[:, :-1])
    assert measured.result() == pytest.approx(best, abs=0.02)
    short = PLANTED.best(x[:, :-1], reach=6)
    assert short["mrr@5"] < 0.6 * best["mrr@5"]
    assert PLANTED.best(x[:, :-1], reach=7) == pytest.approx(best)


def test_histories_are_cut_from_their_end():
    pieces = cut(np.arange(1, 8), 3)
    assert pieces.tolist() == [[0, 0, 1], [2, 3, 4], [5, 6, 7]]
    assert cut(np.arange(1, 4), 3).tolist() == [[1, 2, 3]]


def test_movielens_splits_by_sequence(data_folder):
    split = movielens_split(data_folder / "movielens_small" / "ratings.csv", length=20)
    parts = [split.train, split.validation, split.test]
    rows = sum(len(part) for part in parts)
    assert len(split.train) == int(0.8 * rows) and len(split.validation) == int(0.1 * rows)
    whole = np.concatenate(parts)
    assert whole.shape[1] == 20 and whole.max() == split.items
    assert np.all(np.count_nonzero(whole, axis=1) >= 5)
    padding = whole == 0
    assert np.all(padding[:, 1:] <= padding[:, :-1])  # on the left alone
    counts = np.bincount(whole.ravel(), minlength=split.items + 1)[1:]
    assert counts[:50].min() > counts[-500:].max()  # ids by falling frequency


RUN = {"blocks": 4, "step_seconds": 0.5, "curve": [[0, 0.0], [10, 0.1], [20, 0.3]]}


def test_costs_by_hand():
    assert steps_to(RUN, 0.1) == 10 and steps_to(RUN, 0.2) == 20
    assert steps_to(RUN, 0.0) == 10  # there from the start: one evaluation's worth
    assert steps_to(RUN, 0.4) is None
    first = {**RUN, "blocks": 2}
    found = stacking.cost([(first, 20), (RUN, None)], 0.2)
    assert found == {"flops": 2 * 20 + 4 * 20, "seconds": 20.0}
    never = stacking.cost([(RUN, None)], 0.9)
    costs = {"scratch": found, "fast": {"flops": 60, "seconds": 5}, "never": never}
    assert stacking.ratio(costs, "fast", "flops") == 2
    assert stacking.ratio(costs, "never", "flops") == 0


def test_the_headline_is_the_mean_over_the_seeds():
    def seed(adjacent):
        costs = {name: {"flops": 30, "seconds": 3} for name in ("scratch", *NAMES)}
        costs["adjacent"] = {"flops": adjacent, "seconds": 1}
        run = {"test": {"mrr@5": 0.5}}
        runs = {name: run for name in costs}
        runs["cross"] = {"test": {"mrr@5": 0.4}}
        return {"costs": costs, "runs": runs, "similarities": [0.8, 0.7]}

    stages = {"scratch": {"flops": 30, "seconds": 3}}
    stages["adjacent"] = {"flops": 20, "seconds": 3}
    stages["unchanged"] = {"flops": None, "seconds": None}
    found = {"cl": {"nextitnet": [seed(10), seed(None)]}, "ts": {"nextitnet": [stages]}}
    last = stacking.headline(found)
    assert last["cl_speedup"] == 1.5 and last["ts_speedup"] == 1.5
    assert last["cl_speedup_unchanged"] == 1 and last["ts_speedup_unchanged"] == 0
    assert last["cl_seconds_speedup_nextitnet_adjacent"] == [3, 3]
    assert last["cl_test_mrr_gain_nextitnet_cross"] == [pytest.approx(-0.1)] * 2
    assert last["similarity_nextitnet"] == [0.7, 0.7]


@pytest.mark.parametrize(("kind", "sampled"), [("nextitnet", None), ("sasrec", 0.3)])
def test_a_run_keeps_its_best_weights_and_grows(kind, sampled, monkeypatch):
    """Without XLA's compilation, which the study wants and a test does not."""
    split = stacking.planted_split(PLANTED, {"train": 64, "validation": 32, "test": 32})
    settings = Settings(dim=4, batch=8, evaluate_every=2, sampled=sampled)
    trials = Trials(kind, split, settings)
    monkeypatch.setattr("models.next_item.tf.function", lambda f, **_: f)
    start = stacking.values_of(trials.fresh(1, 1))
    run, weights = trials.run(1, start, 64, 1, steps=4)
    assert [step for step, _ in run["curve"]] == [0, 2, 4]
    best = max(run["curve"][1:], key=lambda point: point[1])
    assert [run["best_step"], run["best"]] == best
    again, _ = trials.run(1, weights, 64, 1, steps=2)
    assert again["curve"][0][1] == best[1]
    assert trials.similarities(1, weights) == []
    grown = trials.grown(weights, 1, 1, "unchanged")
    assert set(grown) == set(named_weights(trials.fresh(2, 1)))
    local = {"nextitnet": "kernel_0", "sasrec": "query_key_value"}[kind]
    np.testing.assert_array_equal(grown[f"block_1/{local}"], weights[f"block_0/{local}"])
    np.testing.assert_array_equal(grown["softmax"], weights["softmax"])


def test_the_plot_is_a_document_that_names_every_run():
    runs = {name: RUN for name in NAMES}
    drawing = draw({"cl": {"sasrec": [{"runs": runs}]}})
    found = " ".join(ET.fromstring(drawing).itertext())
    assert all(name in found for name in NAMES.values()) and "sasrec" in found
