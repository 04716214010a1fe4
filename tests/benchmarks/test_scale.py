"""The benchmark of scale: its log, and what it watches."""

import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import scale


def test_a_log_is_written_many_times_over_with_impressions_of_its_own(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(scale, "OWN_ROWS", 2000)
    monkeypatch.setattr(scale, "USERS", 50)
    monkeypatch.setattr(scale, "ITEMS", 40)
    small, large = (scale.write_log(rows, tmp_path) for rows in (2000, 5000))
    logs = [pq.read_table(folder / "log.parquet") for folder in (small, large)]
    assert [len(log) for log in logs] == [2000, 5000]
    assert logs[1]["item_id"][:2000] == logs[0]["item_id"]
    ids = logs[1]["exposure_id"].to_numpy().reshape(5, 1000)
    assert (ids[2] == ids[0] + 2000).all() and (ids[4] == ids[0] + 4000).all()
    known = set(pq.read_table(large / "truth.parquet")["exposure_id"].to_pylist())
    assert {*ids.flatten().tolist()} <= known
    users = [set(log["user_id"].to_pylist()) for log in logs]
    assert users[0] == users[1]


def test_what_is_moved_stays_in_its_place():
    table = pa.table({"time_ms": [5, 6], "a": ["x", "y"], "exposure_id": [0, 1]})
    moved = scale.moved(table, 3000)
    assert moved.to_pydict() == {
        "time_ms": [8, 9],
        "a": ["x", "y"],
        "exposure_id": [3000, 3001],
    }


CHILD = "import time; held = bytearray(150 << 20); time.sleep(0.6); print('whole')"


def test_the_peak_is_that_of_a_process_and_all_that_it_started():
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    done = scale.watched([sys.executable, "-c", starts])
    assert done.said == "whole\n"
    assert 155 < done.peak_mb < 300
    assert 0 < done.cpu_s < 10 and done.seconds > 0.5


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(subprocess.CalledProcessError):
        scale.watched([sys.executable, "-c", "raise SystemExit(3)"])


def test_polars_reads_what_the_config_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "OWN_ROWS", 100)
    log = scale.write_log(100, tmp_path)
    spec = scale.spec_of(log, tmp_path / "out")
    assert spec["validation_ms"] == 1705104000000  # 2024-01-13T00:00Z
    truth = spec["joins"][2]
    assert truth["on"] == "exposure_id" and "p_is_click" in truth["columns"]
    assert "expected_watch_time_ms" not in truth["columns"]
    tags = next(f for f in spec["features"] if f["name"] == "tags")
    assert tags["max_values"] == 4 and tags["separator"] == ","
