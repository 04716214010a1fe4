"""The benchmark of proposed configs: what it tries, and what it calls what."""

import json

import numpy as np
import pytest

import steadyrank
from benchmarks import first_config


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """A log that has a label, one that has none, and one that breaks what reads it."""
    draw = np.random.default_rng(1)
    lines = ["item,is_click"]
    lines += [f"i{draw.integers(30)},{draw.integers(2)}" for _ in range(500)]
    (tmp_path / "good.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "none.csv").write_text("a,b\nx,y\nz,w\n")
    (tmp_path / "cases" / "1").mkdir(parents=True)
    (tmp_path / "cases" / "1" / "log.csv").write_text((tmp_path / "good.csv").read_text())
    (tmp_path / "cases" / "1" / "c.yaml").write_text("data: {}\n")
    monkeypatch.setattr(first_config, "OF_DATA", ("good.csv", "none.csv"))
    return tmp_path


def test_what_runs_is_refused_or_fails_is_told_apart(logs, monkeypatch, capsys):
    def run(config, output, set):
        assert config.read_text().startswith("# Proposed") and "train.epochs=1" in set
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr(steadyrank, "run", run)
    first_config.main(["--data", str(logs), "--cases", str(logs / "cases")])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    counts = [result[key] for key in ("tried", "ran", "refused_in_words", "tracebacks")]
    assert counts == [3, 1, 1, 1]
    good, none, case = result["logs"]
    assert (good["rows"], good["columns"], good["init"]) == (
        500,
        2,
        "1 features; tasks: is_click",
    )
    assert good["run"] == "ZeroDivisionError: by 0" and "no column holds" in none["init"]
    assert "run" not in case and case["check"] == "nothing to say"


def test_large_logs_are_left_out_and_missing_ones_named(logs, monkeypatch, capsys):
    monkeypatch.setattr(first_config, "LARGE", 400)
    first_config.main(["--quick", "--data", str(logs)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [each["log"] for each in result["logs"]] == ["none.csv"]
    with pytest.raises(SystemExit, match="not there: good.csv, none.csv"):
        first_config.main(["--data", str(logs / "cases")])
