"""Each benchmark runs on a few rows, and its last line is what the README promises."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import input as input_benchmark
from benchmarks import inputs, inputs_writers, keep
from benchmarks import preprocess as preprocess_benchmark


def kept(name: str, folder: Path) -> dict:
    """A benchmark's file of results, of 3000 rows, in a process of its own."""
    arguments = [name, "--rows", "3000", "--repetitions", "1"]
    keep.main(["--results", str(folder), *arguments])
    path = folder / f"{name}_rows_3000_repetitions_1.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_preprocess(capsys, caplog, monkeypatch):
    """Its jobs in this process: each of its own would pay for Beam's start."""
    caplog.set_level(logging.ERROR)  # which the benchmark sets, and pytest sets back

    def in_this_process(command, **_):
        assert command[:3] == [sys.executable, "-m", "benchmarks.preprocess"]
        preprocess_benchmark.main(command[3:])
        return subprocess.CompletedProcess(command, 0, capsys.readouterr().out)

    monkeypatch.setattr(preprocess_benchmark.subprocess, "run", in_this_process)
    preprocess_benchmark.main(["--rows", "3000", "--repetitions", "1"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["ratio"] == pytest.approx(
        result["rows_per_s"] / result["naive_rows_per_s"]
    )
    assert result["rows"] == result["naive_rows"] == 3000
    assert result["peak_memory_mb"] > 0


def test_input(capsys, caplog):
    caplog.set_level(logging.ERROR)  # which the benchmark sets, and pytest sets back
    input_benchmark.main(["--rows", "3000", "--repetitions", "1"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["ratio"] == pytest.approx(
        result["rows_per_s"] / result["row_layout_rows_per_s"]
    )
    assert set(result["batches"]) == {"1024", "4096"}
    assert result["row_layout_bytes_per_row"] > result["bytes_per_row"] > 0


def test_evaluate(tmp_path, capfd):
    found = kept("evaluate", tmp_path)
    result = found["result"]
    assert found["command"].endswith("benchmarks.evaluate --rows 3000 --repetitions 1")
    assert json.dumps(result) in capfd.readouterr().out
    assert found["machine"]["cores"] >= 1 and len(found["load"]) == 2
    assert result["ratio"] == pytest.approx(
        result["rows_per_s"] / result["sklearn_rows_per_s"]
    )
    assert result["difference"] <= 1e-12
    assert result["peak_memory_mb"] >= 0 and result["rows_0m_seconds"] > 0


@pytest.mark.parametrize("name", ["no_such_benchmark", "log"])
def test_what_ends_without_a_result_is_not_kept(name, tmp_path, capfd):
    with pytest.raises(SystemExit) as ended:
        keep.main(["--results", str(tmp_path), name])
    assert ended.value.code and not list(tmp_path.iterdir())


def test_what_git_ignores_is_not_kept(monkeypatch):
    """A page of it would be of a file that nobody else has."""
    tried = []
    monkeypatch.setattr(keep, "run", lambda *what: tried.append(what) or {})
    monkeypatch.setattr(keep, "write_json", lambda *_: None)
    keep.main(["long_runs", "--nights", "60"])
    assert tried == [("long_runs", ["--nights", "60"])]
    with pytest.raises(SystemExit, match=r"git ignores .*history_runs\.json"):
        keep.main(["history_runs"])
    assert len(tried) == 1


def test_no_folder_of_this_machine_is_kept(tmp_path, capfd):
    given = ["--quick", "--packages", "/a/b", "--rows", "3", "--cases", str(tmp_path)]
    assert keep.name_of("first_config", given) == "first_config_quick_rows_3"
    told = ["--quick", "--packages", "PACKAGES", "--rows", "3", "--cases", "CASES"]
    assert keep.elsewhere(given) == told
    assert keep.elsewhere([]) == [] and keep.elsewhere(["--quick"]) == ["--quick"]


def test_inputs(tmp_path, monkeypatch):
    """The forms that need no other program; their speed is of a few rows."""
    monkeypatch.setattr(inputs_writers, "WRITERS", {"by hand": inputs_writers.csv_by_hand})
    monkeypatch.setattr(
        inputs.subprocess, "run", lambda command, **_: inputs_writers.main(command[-1])
    )
    monkeypatch.setattr(inputs, "speed", lambda folder, rows: rows)
    result = inputs.measure(tmp_path, "python", quick=True)
    assert result["tried"] == result["right"] == 162
    assert not result["faults"]


def test_inputs_tell_right_from_wrong_and_words_from_tracebacks(tmp_path, monkeypatch):
    (tmp_path / "x.csv").write_text("number,id,when,click\n0,5,2026-01-01,1\n")
    log = {"input": str(tmp_path / "x.csv"), "form": "x", "data": {}, "rows": {"rows": 1}}
    log["have"] = ["number", "id", "when", "click"]
    assert inputs.outcome(log)[0] == "wrong"  # the id is 0
    assert inputs.outcome({**log, "data": {"time": "x"}})[0] == "refused_in_words"
    monkeypatch.setattr(inputs, "read", lambda log: 1 / 0)
    assert inputs.outcome(log)[0] == "tracebacks"
