"""Figures against a known truth, by hand; the logs are what they say."""

import numpy as np
import pytest

from benchmarks.objectives import (
    LOGS,
    START,
    figures,
    funnel_log,
    late_log,
    order_within,
    position_log,
    request_log,
    summary,
    watch_log,
)
from benchmarks.pages.objectives import WORDS


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


def test_order_within_requests_by_hand():
    truth = np.array([1.0, 2, 3, 1, 2, 3])
    foretold = np.array([7.0, 1, 1, 2, 1, 3])
    group = np.array([4, 9, 4, 9, 4, 9])
    # of group 4: 7, 1, 1 for 1, 3, 2; of group 9: 1, 2, 3 for 2, 1, 3
    assert order_within(foretold, truth, group) == pytest.approx((0.5 + 2) / 6)


def test_a_mood_moves_a_request_and_late_labels_are_fewer_at_the_end():
    request = request_log(20_000, 1).to_pydict()
    number = np.array(request["request"])
    assert np.bincount(number).tolist() == [10] * 2000
    truth = np.array(request["truth"]).reshape(-1, 10)
    logit = np.log(truth / (1 - truth))
    assert logit.mean(1).std() > 1.8 and 0.7 < (logit.T - logit.mean(1)).std() < 0.9
    late = late_log(100_000, 1).to_pydict()
    known, bought, at = (np.array(late[n]) for n in ("buy", "bought", "at"))
    assert np.all(known <= bought) and bought.mean() == pytest.approx(
        np.mean(late["truth"]), rel=0.03
    )
    age = START + 10 * 86_400 - at
    assert np.array_equal(known[age > 6 * 86_400], bought[age > 6 * 86_400])
    last = age < 86_400
    assert known[last].sum() / bought[last].sum() == pytest.approx(1 / 12, abs=0.03)


def test_gains_are_over_the_first_choice_and_paired():
    runs = [{"order": x, "calibration": 0.5} for x in (0.7, 0.8, 0.9)]
    better = [{"order": x + 0.1, "calibration": 1.25} for x in (0.7, 0.8, 0.9)]
    found = summary({"old": runs, "new": better})
    assert found["gain"]["new"] == pytest.approx([0.1, 0.1, 0.1])
    nearer = np.log(2) - np.log(1.25)
    assert found["nearer"]["new"] == pytest.approx([nearer] * 3, abs=1e-5)
    assert set(LOGS) == {*WORDS}
