"""The main job on real data: the shipped config, from the raw log to the verdict.

``make test-data`` runs it; it skips where the data are not at hand.
"""

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(data_folder, tmp_path_factory):
    """The folder of one run of the command that the README shows."""
    output = tmp_path_factory.mktemp("kuairand") / "run"
    command = [sys.executable, "-m", "steadyrank", "run"]
    command += ["--config", "configs/kuairand.yaml"]
    command += ["--data", str(data_folder / "kuairand"), "--output", str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_every_row_is_accounted_for(run):
    manifest = read(run / "examples" / "manifest.json")
    rows = manifest["rows"]
    assert (rows["read"], rows["duplicates"], rows["rejected"]) == (198_895, 4_931, {})
    assert rows["written"] == 198_895 - 4_931
    metrics = read(run / "evaluation" / "metrics.json")
    assert metrics["rows"] == manifest["splits"]["test"]["rows"]
    assert all(task["rows"] == metrics["rows"] for task in metrics["tasks"].values())


def packed(table: pa.Table) -> int:
    """Bytes of a table as Parquet with zstd."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.tell()


def test_raw_rows_take_at_most_1_3_times_the_bytes_of_the_log(run, data_folder):
    """Of the same rows and columns, in the log's order; and so do rows of side tables."""
    examples, data = run / "examples", data_folder / "kuairand"
    log = pq.read_table(data / "log.parquet")
    names = ("users", "videos", "history")
    sides = [pq.read_table(data / f"{name}.parquet") for name in names]
    for split in ("validation", "test"):
        files = read(examples / "manifest.json")["files"]
        (kept,) = [file["raw"] for file in files if file["split"] == split]
        raw = pq.read_table(examples / kept["path"])
        time = pc.min_max(raw["time_ms"]).as_py()
        inside = (pc.field("time_ms") >= time["min"]) & (pc.field("time_ms") <= time["max"])
        wanted = packed(log.filter(inside).select(raw.column_names))
        found = kept["bytes"]
        for join, side in zip(kept["joins"], sides, strict=True):
            columns = pq.read_schema(examples / join["path"]).names
            known = pc.is_in(side[join["on"]], raw[join["on"]].combine_chunks())
            wanted += packed(side.filter(known).select(columns))
            found += join["bytes"]
        assert found <= 1.3 * wanted, (split, found, wanted)


@pytest.mark.parametrize(
    ("task", "least"), [("is_click", 0.74), ("long_view", 0.74), ("is_like", 0.85)]
)
def test_auc_on_the_test_days(run, task, least):
    assert read(run / "evaluation" / "metrics.json")["tasks"][task]["auc"] >= least


def test_all_gates_passed(run):
    assert read(run / "evaluation" / "verdict.json")["verdict"] == "PASS"
    assert 100_000 < (run / "evaluation" / "report.html").stat().st_size < 1_000_000
