"""What first runs are told to be: paired, by kind, and each candidate beside its first."""

import numpy as np
import pytest

from benchmarks import first_run, first_run_sequences
from benchmarks.pages import first_run as tables

LESS = {"transitions": [0.02, 0.01, 0.03], "net": [-0.02, -0.03, -0.01]}


def found() -> dict:
    """One log of each kind."""
    told = {"lightgbm": [0.01, 0.002, 0.02], "net": [-0.01, -0.02, -0.001]}
    task = {"ours": 0.7, "lightgbm": 0.69, "net": 0.71, "difference": told}
    metrics = {"ndcg@10": 0.05, "hr@20": 0.1}
    pairs = {peer: dict.fromkeys(metrics, each) for peer, each in LESS.items()}
    model = {"epochs": 9, **metrics, "difference": pairs}
    log = {"transitions": metrics, "net": metrics, "models": {"sasrec": model}}
    return {
        "ranking": {"movielens": {"tasks": {"liked": task}}},
        "next_item": {"chains": log},
    }


def test_a_peer_is_better_where_the_interval_lies_below_zero():
    told = first_run.judged(found())
    assert (told["compared"], told["worse_than_peer"], told["better_than_peer"]) == (
        3,
        2,
        1,
    )
    assert told["compared_with_transitions"] == told["above_transitions"] == 1
    assert told["below_transitions"] == 0
    of_ranking = first_run.judged({"ranking": found()["ranking"]})
    assert of_ranking["worse_than_peer"] == 1 and not of_ranking["sequences"]


def test_candidates_are_compared_with_the_first_of_their_block():
    logs = {
        "a": {"x: one": [0.1, 0.2], "x: two": [0.3, 0.3], "y: one": [0.5, 0.5]},
        "b": {"x: one": [0.4, 0.4], "x: two": [0.3, 0.3], "y: one": [0.2, 0.2]},
    }
    told = first_run.gains_of(logs)
    assert told["gains"]["x: two"] == {"a": 0.15, "b": -0.1}
    assert told["mean"] == {"x: one": 0.0, "x: two": 0.025, "y: one": 0.0}


def test_the_tables_show_each_difference_and_mark_what_is_told():
    kept = {"result": first_run.judged(found())}
    ranking, sequences = tables.ranking(kept), tables.sequences(kept)
    assert "**+.0100 (+.0020 to +.0200)**" in ranking and ".7000" in ranking
    assert "Of 2 comparisons ours is told better in 1, worse in 1." in ranking
    assert "**−.0200 (−.0300 to −.0100)**" in sequences
    choice = {"ranking": {"validation": {}, **first_run.gains_of({"census": {"a": [1]}})}}
    assert "| a | Census-Income .0000 | .0000 |" in tables.candidates({"result": choice})


def test_the_generated_items_follow_as_they_are_said_to():
    log = first_run_sequences.chains()
    users, events = first_run_sequences.USERS, first_run_sequences.EVENTS
    items = log["item"].to_numpy().reshape(users, events)
    assert len(log) == users * events and (np.diff(log["time_ms"]) > 0).all()

    def most_often(lag: int) -> float:
        """How often the item that most often stands so far behind another does."""
        pairs = items[:, :-lag].ravel() * 10_000 + items[:, lag:].ravel()
        seen, counts = np.unique(pairs, return_counts=True)
        best = np.zeros(first_run_sequences.CHAIN_ITEMS)
        np.maximum.at(best, seen // 10_000, counts)
        return best.sum() / counts.sum()

    expected = first_run_sequences.FROM_NEWEST * (events - 2) / (events - 1)
    assert most_often(1) == pytest.approx(expected, abs=0.05)
    assert most_often(2) > 0.25 and most_often(5) < 0.15
