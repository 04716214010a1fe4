"""The plan of what is broken in whole stages, and what is made of the tries."""

import json
from collections import Counter

from benchmarks.faults import stages

FOUND = {"done": [["write", "a"], ["read", "a"], ["rename", "a"]]}
TRY = {"stage": "x", "turn": 1, "fault": "dies", "operation": "write a", "status": None}
TRY |= {"wrong_status": False, "lost": "", "left": [], "said": ""}


def _stage(**changes):
    told = {"name": "x", "given": (), "command": "y", "state": lambda root: None}
    return stages.Stage(**{**told, **changes})


def test_every_operation_fails_in_every_way_and_the_same_each_time():
    tries = stages.planned(_stage(kills=4), FOUND, quick=False)
    assert tries == stages.planned(_stage(kills=4), FOUND, quick=False)
    assert Counter(turn for turn, fault in tries if fault != stages.KILLED) == {
        0: 4,
        1: 3,
        2: 3,
    }
    assert [fault for _, fault in tries].count(stages.KILLED) == 4
    assert len(set(tries)) == len(tries)
    assert len(stages.planned(_stage(sample=2, kills=4), FOUND, quick=False)) == 6


def test_what_was_tried_is_kept_and_counted(tmp_path, capsys):
    ledger = tmp_path / "ledger"
    bad = {**TRY, "turn": 2, "lost": "gone"}
    for one in (TRY, bad):
        stages._keep(ledger, one)
    assert json.loads(capsys.readouterr().out) == bad  # and said at once
    found = stages.read_ledger(ledger)
    assert found == {("x", 1, "dies"): TRY, ("x", 2, "dies"): bad}
    assert stages.read_ledger(None) == stages.read_ledger(tmp_path / "none") == {}
    row = {"stage": "x", "fault": "dies", "tried": 2, "survived": 1}
    assert stages.table([*found.values()]) == [row]


def test_a_stage_is_gone_on_with_where_something_was_begun(tmp_path):
    again = stages._resume("score", "plan.json")
    assert again(tmp_path) is None
    (tmp_path / "out.partial").mkdir()
    assert again(tmp_path) is None
    (tmp_path / "out.partial/plan.json").touch()
    assert again(tmp_path) == "score --resume"
    (tmp_path / "out").mkdir()
    assert again(tmp_path) is None


def test_what_is_of_one_run_alone_does_not_count():
    one = {"auc": 0.5, "seconds": 1.0, "nights": [{"judged_at": "now", "day": "d"}]}
    assert stages._lasting(one) == {"auc": 0.5, "nights": [{"day": "d"}]}
