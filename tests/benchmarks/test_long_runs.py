"""What grows is told from what warms up; and what is opened ten times is closed."""

import os
import threading

import pytest

from benchmarks import long_runs
from benchmarks.faults.cases import _models, _release, _roll_back
from steadyrank.pipeline import api
from steadyrank.pipeline.files.publish import publish, write_json


def _looks(name, amounts):
    still = {"resident_mb": 500.0, "descriptors": 20, "threads": 9, "scratch": 3}
    return [{**still, name: amount} for amount in amounts]


@pytest.mark.parametrize(
    ("name", "amounts", "flat"),
    [
        ("descriptors", [10, 20, 30, 40, 40, 40, 40, 40, 40], True),  # warming up
        ("descriptors", [20, 20, 20, 20, 21, 22, 23, 24, 25], False),
        ("threads", [9, 9, 9, 9, 10, 9, 10, 9, 9], True),
        ("scratch", [3, 4, 5, 6, 7, 8, 9, 10, 11], False),
        ("resident_mb", [400, 600, 700, 702, 704, 700, 705, 703, 706], True),
        ("resident_mb", [400 + 40 * n for n in range(9)], False),
    ],
)
def test_growth_is_told_from_warming_up(name, amounts, flat):
    assert long_runs.is_flat(long_runs.growth(_looks(name, amounts))) == flat


def test_what_this_process_holds_is_seen():
    before = long_runs.seen()
    with open(os.devnull, encoding="utf-8"):
        go = threading.Event()
        thread = threading.Thread(target=go.wait)
        thread.start()
        during = long_runs.seen()
        go.set()
        thread.join()
    assert during["descriptors"] == before["descriptors"] + 1
    assert during["threads"] == before["threads"] + 1
    assert during["resident_mb"] > 10


def test_ten_nights_of_files_leave_nothing_open(tmp_path, exported, examples, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    _models(tmp_path, "ab")
    looks = []
    for night in range(10):
        with publish(tmp_path / "nights" / str(night)) as work:
            write_json(work / "night.json", {"night": night})
        for word in "ab":
            _release(word)(tmp_path)
        _roll_back(tmp_path)
        for path in (examples, exported):
            assert api.inspect(path).parts
        looks.append(long_runs.seen())
    grown = long_runs.growth(looks)
    assert {n: grown[n] for n in ("descriptors", "threads", "scratch")} == {
        "descriptors": 0,
        "threads": 0,
        "scratch": 0,
    }
