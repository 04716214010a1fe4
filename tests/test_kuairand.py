"""The main job on real data: the shipped config, from the raw log to the verdict."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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


@pytest.mark.parametrize(
    ("task", "least"), [("is_click", 0.74), ("long_view", 0.74), ("is_like", 0.85)]
)
def test_auc_on_the_test_days(run, task, least):
    assert read(run / "evaluation" / "metrics.json")["tasks"][task]["auc"] >= least


def test_all_gates_passed(run):
    assert read(run / "evaluation" / "verdict.json")["verdict"] == "PASS"
    assert (run / "evaluation" / "report.html").stat().st_size > 1_000_000
