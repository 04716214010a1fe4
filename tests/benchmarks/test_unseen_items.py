"""The last day's new items are in no other file; gains are paired by seed."""

import pyarrow.parquet as pq
import pytest

from benchmarks.unseen_items import WIDTH, summary, write_log


def test_new_items_are_of_the_last_day_alone(tmp_path):
    write_log(tmp_path, 20_000, 1)
    log, last = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("log", "test"))
    before = set(log["item"].to_pylist())
    new = [item not in before for item in last["item"].to_pylist()]
    assert new == last["unseen"].to_pylist() and 0.28 < sum(new) / len(new) < 0.38
    assert not any(log["unseen"].to_pylist())
    items = pq.read_table(tmp_path / "items.parquet")
    assert set(map(len, items["vector"].to_pylist())) == {WIDTH}


def test_gains_are_paired():
    runs = [
        {"seen": 0.7 + n / 9, "unseen": 0.6 + n / 9, "reachable": 0.9} for n in range(3)
    ]
    less = [{**run, "unseen": run["unseen"] - 0.1} for run in runs]
    found = summary({True: runs, False: less}, 5)
    assert found["gain"]["unseen"] == pytest.approx([0.1] * 3)
    assert found["gain"]["seen"] == [0.0] * 3 and found["reachable"] == [0.9] * 3
