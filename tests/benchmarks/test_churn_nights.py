"""Items that come and go: the planted log against its own rule, and figures by hand."""

import numpy as np
import pytest

from benchmarks import churn_nights
from benchmarks.churn_nights import AWAY, LIFE, NEW, World
from steadyrank.pipeline.config import parse_config

BACK = 0.1


def test_items_come_and_go_and_a_few_come_back():
    days = 60
    world = World(1, days, BACK)
    there = [{*world.there(day).tolist()} for day in range(days)]
    assert np.mean([*map(len, there)]) == pytest.approx(NEW * LIFE * (1 + BACK), rel=0.1)
    items, back = {*range(NEW * 30)}, 0  # of the days before the first, and some later ones
    for item in items:
        on = np.flatnonzero([item in found for found in there])
        gaps = np.diff(on)
        assert {*gaps[gaps > 1].tolist()} <= {AWAY + 1}
        back += (gaps > 1).any()
    assert 0 < back < 2 * BACK * len(items)
    log = world.log_of(7, 2_000)
    assert {*log["item"].to_pylist()} == there[7]
    assert log.equals(World(1, days, BACK).log_of(7, 2_000))
    last = World(1, days).there(days - 1)  # none that went comes back
    assert {*last.tolist()} < there[-1] and min(last) > max(items) - 20 * NEW
    assert 0.2 < np.mean(log["click"].to_numpy()) < 0.5


def test_the_stores_differ_in_their_items_alone():
    living, growing = (churn_nights.config(lives, 3) for lives in (True, False))
    (user, item), rest = living.pop("features"), growing.pop("features")
    assert rest == [user, {k: v for k, v in item.items() if k not in churn_nights.LIVING}]
    assert living == growing
    parse_config(churn_nights.config(True, 3), "c")


def test_the_gain_is_of_blocks_of_the_last_nights():
    gains = [0.0] * 10 + [0.01] * 5 + [0.03] * 5
    run: dict = {True: [], False: []}
    for night, gain in enumerate(gains):
        for lives, more in ((True, gain), (False, 0)):
            one = {"rows": night, "auc": 0.7 + more, "verdict": "PASS", "seconds": 1.0}
            run[lives].append(one)
    found = churn_nights.summary([run])
    assert found["gain"]["values"] == pytest.approx([0.01, 0.03])
    # mean .02, deviation .01414; Student's t with one degree 12.706
    half = 12.706 * 0.0141421 / 2**0.5
    assert found["gain"]["interval"] == pytest.approx([0.02 - half, 0.02 + half], abs=1e-5)
    assert found["living_rows"] == [*range(20)] and found["growing_passed"] == 20
