"""Thirty nights: what must come of each, and that anything else is a fault."""

from types import SimpleNamespace

import numpy as np

from benchmarks import thirty_nights
from benchmarks.pages import stores


def as_they_must() -> tuple[list, dict]:
    """The store's rows, and the exit statuses by night."""
    rows, ended, base = [], {}, None
    for number in range(1, thirty_nights.NIGHTS + 1):
        event, day = thirty_nights.event_of(number), thirty_nights.day_of(number)
        rows.append(SimpleNamespace(day=day, verdict=event.verdict, base=base))
        ended[number] = event.statuses
        if event.verdict == "PASS" and event is not thirty_nights.TAKEN_BACK:
            base = day
    return rows, ended


def test_nothing_is_wrong_where_all_ended_as_it_must():
    rows, ended = as_they_must()
    assert not thirty_nights.faults(rows, ended)
    assert rows[22].base == thirty_nights.day_of(21)  # not on what was taken back


def test_another_end_is_a_fault():
    for change in ("verdict", "base", "status"):
        rows, ended = as_they_must()
        if change == "status":
            ended[16] = (0,)
        else:
            setattr(rows[15], change, "PASS" if change == "verdict" else "2024-01-01")
        (said,) = thirty_nights.faults(rows, ended)
        assert said.startswith(f"{thirty_nights.day_of(16)} ended as")


def test_the_days_are_what_they_are_said_to_be():
    clicked = {}
    for number in (1, 16):
        log = thirty_nights.log_of(number)
        odd = log["item"].to_numpy() % 2 == 1
        clicked[number] = np.mean(log["click"].to_numpy()[odd])
    assert clicked[1] > 0.85 > 0.15 > clicked[16]
    rows = [len(thirty_nights.log_of(number)) for number in (1, 7, 13)]
    assert rows == [thirty_nights.ROWS, 0, 2 * thirty_nights.ROWS]
    twice = thirty_nights.log_of(13)
    assert twice[: thirty_nights.ROWS] == twice[thirty_nights.ROWS :]


def test_the_table_shows_every_night():
    figure = {"metric": "auc", "value": 0.9, "interval": [0.88, 0.92]}
    night = {"day": "d", "event": "late", "statuses": [75, 0], "verdict": "HOLD"}
    night["why"] = ["no rows"]
    night |= {"base": None, "version": 3, "state": "served", "figures": {"click": figure}}
    result = {"nights": [night], "verdicts": {"PASS": 1}, "wrong": [], "whole_nights": 1}
    result |= {"releases_kept": 1, "store_mb": 2.5}
    found = stores.thirty({"result": result})
    assert (
        "| d | late | 75, 0 | HOLD: no rows |  | 3 served | .9000 (.8800 to .9200) |  |"
        in found
    )
    assert "1 nights: 1 PASS; 1 with an event. Ended otherwise than they must: 0." in found
