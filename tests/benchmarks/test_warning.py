"""What is made of the runs of the warning's study, by hand."""

import pytest

from benchmarks.warning import Run, summary, tried, warned

USUAL = ("a", "adagrad", 0.1, 0, 1)
HIGH = ("a", "adagrad", 12.8, 120, 1)
RUNS = [
    Run(*HIGH, onset=40, silent=False, warned=10),
    Run(*HIGH, onset=50, silent=False, warned=60),  # too late
    Run(*HIGH, onset=30, silent=False, warned=25),
    Run(*HIGH, onset=2, silent=False, warned=4),
    Run(*HIGH, onset=None, silent=True, warned=7),
    Run(*HIGH, onset=None, silent=False, warned=9),
    *[Run(*USUAL, onset=None, silent=False) for _ in range(4)],
    Run(*USUAL, onset=None, silent=False, warned=3),
]


def test_runs_are_told_apart_and_leads_counted():
    found = summary(RUNS)
    assert found["median_lead_steps"] == 5 and found["warned"] == 2
    assert [found[key] for key in ("diverging", "at_once", "silent", "survived")] == [
        3,
        1,
        1,
        1,
    ]
    assert found["silent_warned"] == found["survived_warned"] == 1
    assert (found["healthy"], found["false_alarms"]) == (5, 1)
    assert found["false_alarms_per_20"] == pytest.approx(4)
    assert summary([])["median_lead_steps"] is None


def test_other_constants_are_tried_on_the_same_shares():
    shares = [0.0, 0.3, 0.3, 0.3, 0.6]
    assert warned(shares, share=0.2, steps=3) == 4
    assert warned(shares, share=0.5, steps=1) == 5
    assert warned(shares, share=0.5, steps=3) is None
    run = Run(*HIGH, onset=9, silent=False, shares=shares)
    leads = {(row["share"], row["steps"]): row["median_lead_steps"] for row in tried([run])}
    assert leads[0.2, 3] == 5 and leads[0.5, 1] == 4 and leads[0.5, 3] == 0
