"""The stacking study: planted truth, cut histories, what a run is said to have cost."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import stacking_scenarios as scenarios
from benchmarks.movielens_sequences import cut, movielens_split
from benchmarks.planted_sequences import Planted
from benchmarks.stacking_drawing import NAMES, draw
from benchmarks.stacking_figures import headline
from benchmarks.stacking_parts import planted_split, target_split
from benchmarks.stacking_trials import Settings, Trials, steps_to, values_of
from steadyrank.components.metrics.top_k import TopKMetrics, target_ranks

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
    found = scenarios.cost([(first, 20), (RUN, None)], 0.2)
    assert found == {"flops": 2 * 20 + 4 * 20, "seconds": 20.0}
    never = scenarios.cost([(RUN, None)], 0.9)
    costs = {"scratch": found, "fast": {"flops": 60, "seconds": 5}, "never": never}
    assert scenarios.ratio(costs, "fast", "flops") == 2
    assert scenarios.ratio(costs, "never", "flops") == 0


def test_the_headline_is_the_mean_over_the_seeds():
    def seed(adjacent):
        costs = {name: {"flops": 30, "seconds": 3} for name in ("scratch", *NAMES)}
        costs["adjacent"] = {"flops": adjacent, "seconds": 1}
        run = {"test": {"mrr@5": 0.5}}
        runs = {name: run for name in costs}
        runs["cross"] = {"test": {"mrr@5": 0.4}}
        return {"costs": costs, "runs": runs, "similarities": [0.8, 0.7]}

    def staged(flops, mrr):
        cost = {"flops": flops, "seconds": 3}
        return {"runs": [{"test": {"mrr@5": 0.0}}, {"test": {"mrr@5": mrr}}], **cost}

    stages = {"scratch": staged(30, 0.5), "adjacent": staged(20, 0.6)}
    stages |= {name: staged(10, 0.5) for name in ("adjacent_softmax", "adjacent_all")}
    stages |= {"unchanged": staged(None, 0.5)}
    moved = {**seed(15), "target": {"scratch": seed(1)["runs"]["scratch"]}}
    moved["target"]["none"] = {"test": {"mrr@5": 0.1}}
    found = {
        "cl": {"best": {}, "nextitnet": [seed(10), seed(None)]},
        "ts": {"nextitnet": [stages]},
        "tf": {"nextitnet": [moved]},
    }
    last = headline(found)
    assert last["cl_speedup"] == 1 and last["ts_speedup"] == 0  # unchanged growth
    assert last["cl_speedup_adjacent"] == 1.5 and last["ts_speedup_adjacent"] == 1.5
    assert last["tf_speedup_adjacent"] == 2 and last["ts_speedup_adjacent_all"] == 3
    assert last["cl_seconds_speedup_nextitnet_adjacent"] == [3, 3]
    assert last["cl_test_mrr_gain_nextitnet_cross"] == [pytest.approx(-0.1)] * 2
    assert last["ts_test_mrr_gain_nextitnet_adjacent"] == [pytest.approx(0.1)]
    assert last["tf_target_test_mrr_gain_nextitnet_none"] == [pytest.approx(-0.4)]
    assert last["cl_similarity_nextitnet"] == [0.7, 0.7]


def test_the_target_items_follow_maps_of_their_own():
    """At the same places of the source's history, as often as planted there."""
    split, target = target_split(PLANTED, {"train": 4000, "validation": 9, "test": 9})
    x = split.train
    assert not np.array_equal(target.maps, PLANTED.maps)
    for j, (lag, share) in enumerate(zip(PLANTED.lags, PLANTED.shares, strict=True)):
        follows = target.maps[j][x[:, 11 - lag] - 1] == x[:, 11]
        assert follows.mean() == pytest.approx(share + (1 - share) / 30, abs=0.05)
        before = PLANTED.maps[j][x[:, 10 - lag] - 1] == x[:, 10]
        assert before.mean() == pytest.approx(share + (1 - share) / 30, abs=0.05)


def test_shallow_stages_are_a_fraction_of_convergence():
    found = scenarios.shortened({1: 800, 2: 640, 4: 9}, [1, 2, 4], 0.25, 50)
    assert found == [(1, 200), (2, 150), (4, None)]
    assert scenarios.shortened({1: 40, 2: 9}, [1, 2], 0.25, 50) == [(1, 50), (2, None)]


class Recorded:
    """In place of ``Trials``: weights say where they came from, runs what they were."""

    def __init__(self, name):
        self.name, self.calls = name, []
        self.split = type("Sequences", (), {"train": range(100)})

    def fresh(self, blocks, seed):
        return {"kernel": f"fresh {self.name} {blocks}", "softmax": f"new {self.name}"}

    def grown(self, weights, blocks, seed, operator):
        return {"kernel": f"{operator} of {weights['kernel']}", "softmax": "grown"}

    def run(self, blocks, weights, rows, seed, steps=None, until=None):
        self.calls.append((blocks, weights, rows, until))
        run = {**RUN, "blocks": blocks, "best": 0.3, "best_step": 20}
        return run, {"kernel": f"trained {weights['kernel']}", "softmax": "old"}


def test_transfer_stops_the_grown_net_early_and_renews_the_softmax(monkeypatch):
    monkeypatch.setattr(scenarios, "values_of", lambda weights: weights)
    source, target = Recorded("source"), Recorded("target")
    found = scenarios.transfer(source, target, 2, seed=1)
    assert [call[2:] for call in source.calls[:2]] == [(100, None), (80, None)]
    goal = 0.99 * 0.3
    assert [call[2:] for call in source.calls[2:]] == [(100, goal)] * 2
    starts = [weights for _, weights, _, _ in target.calls]
    assert {weights["softmax"] for weights in starts} == {"new target"}
    assert [weights["kernel"] for weights in starts] == [
        "trained fresh source 4",
        "trained adjacent of trained fresh source 2",
        "trained unchanged of trained fresh source 2",
        "fresh target 4",
    ]
    assert found["costs"]["adjacent"] == {"flops": 4 * 20, "seconds": 10.0}
    assert set(found["target"]) == {"scratch", "adjacent", "unchanged", "none"}


@pytest.mark.parametrize(("kind", "sampled"), [("nextitnet", None), ("sasrec", 0.3)])
def test_a_run_keeps_its_best_weights_and_grows(kind, sampled):
    split = planted_split(PLANTED, {"train": 64, "validation": 32, "test": 32})
    settings = Settings(dim=4, batch=8, evaluate_every=2, sampled=sampled)
    trials = Trials(kind, split, settings)
    start = values_of(trials.fresh(1, 1))
    run, weights = trials.run(1, start, 64, 1, steps=4)
    assert [step for step, _ in run["curve"]] == [0, 2, 4]
    best = max(run["curve"][1:], key=lambda point: point[1])
    assert [run["best_step"], run["best"]] == best
    last = Trials(kind, split, replace(settings, last_only=True))._batch(split.train[:3])
    np.testing.assert_array_equal(last["items"], split.train[:3, :-1])
    np.testing.assert_array_equal(last["targets"][:, -1], split.train[:3, -1])
    assert not np.any(last["targets"][:, :-1])
    again, _ = trials.run(1, weights, 64, 1, steps=2)
    assert again["curve"][0][1] == best[1]
    assert trials.similarities(1, weights) == []
    grown = trials.grown(weights, 1, 1, "unchanged")
    assert set(grown) == set(trials.fresh(2, 1).saved_weights())
    local = {"nextitnet": "kernel_0", "sasrec": "query_key_value"}[kind]
    np.testing.assert_array_equal(grown[f"block_1/{local}"], weights[f"block_0/{local}"])
    np.testing.assert_array_equal(grown["softmax"], weights["softmax"])


def test_the_plot_is_a_document_that_names_every_run():
    runs = {name: RUN for name in NAMES}
    drawing = draw({"best": {}, "sasrec": [{"runs": runs}]})
    found = " ".join(ET.fromstring(drawing).itertext())
    assert all(name in found for name in NAMES.values()) and "sasrec" in found
