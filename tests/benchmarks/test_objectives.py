"""Figures against a known truth, by hand; the logs are what they say."""

import numpy as np
import pytest

from benchmarks.objectives import (
    LOGS,
    figures,
    funnel_log,
    position_log,
    summary,
    watch_log,
)


def test_figures_by_hand():
    truth = np.arange(1.0, 21.0)
    perfect = figures(truth, truth, 2 * truth)
    assert perfect == pytest.approx({"order": 1.0, "calibration": 0.5, "decile": 1.0})
    foretold = np.where(truth == 1, 10.5, truth)  # which stands after 9 it should be before
    found = figures(foretold, truth, truth)
    assert found["order"] == pytest.approx(1 - 9 / 190)
    assert found["calibration"] == pytest.approx((210 + 9.5) / 210)
    # the tenth that holds it: 10 and 10.5 for 10 and 1
    assert found["decile"] == pytest.approx(20.5 / 11)
    assert figures(-truth, truth, truth)["decile"] < 0


def test_the_truth_is_that_of_the_logs():
    watch = watch_log(200_000, 1).to_pydict()
    assert np.mean(watch["watch"]) == pytest.approx(np.mean(watch["truth"]), rel=0.02)
    assert 0.25 < np.mean(np.array(watch["watch"]) == 0) < 0.4
    funnel = funnel_log(200_000, 1).to_pydict()
    bought = np.nan_to_num(np.array(funnel["buy"], float))
    assert bought.mean() == pytest.approx(np.mean(funnel["truth"]), rel=0.05)
    assert np.isnan(funnel["buy"]).mean() == 1 - np.mean(funnel["click"])


def test_what_would_be_clicked_at_the_first_position_is_known():
    table = position_log(100_000, 1).to_pydict()
    place, click, first = (np.array(table[n]) for n in ("position", "click", "at_first"))
    assert first.mean() == pytest.approx(np.mean(table["truth"]), abs=0.005)
    assert np.array_equal(click[place == 1], first[place == 1]) and np.all(click <= first)
    assert set(place) == set(range(1, 11))


def test_gains_are_over_the_first_choice_and_paired():
    runs = [{"order": x} for x in (0.7, 0.8, 0.9)]
    better = [{"order": x + 0.1} for x in (0.7, 0.8, 0.9)]
    found = summary({"old": runs, "new": better})
    assert found["gain"]["new"] == pytest.approx([0.1, 0.1, 0.1])
    assert set(LOGS) == {"watch", "funnel", "position"}
