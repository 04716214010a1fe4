"""The benchmark of the data contract on a log of one clean day."""

import json
import types

import pytest

from benchmarks import contract
from benchmarks.pages import contract as pages
from steadyrank.pipeline.preprocess.held import contract_of


def test_a_clean_day_passes_and_what_is_planted_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(contract, "CLEAN", 1)
    monkeypatch.setattr(contract, "FEW", 4)
    kinds = ("null rate of a number", "unit of a number, x 1000", "vanished category")
    kinds += ("two texts swapped",)
    monkeypatch.setattr(contract, "PLANTED", {k: contract.PLANTED[k] for k in kinds})
    found = contract.measure(tmp_path, 1, 1500, progress=lambda line: None)
    assert (found["clean_days"], found["refused"], found["missed"]) == (1, 0, [])
    assert found["planted"]["vanished category"] == {"planted": 1, "refused": 1, "named": 1}


def test_its_cost_is_of_runs_with_it_and_without(tmp_path, monkeypatch):
    made = []

    def run(command, **_):
        name = command[command.index("--job") + 1]
        made.append(name)
        spent = {"seconds": 2.0 + len(made) / 100, "memory_mb": 110 - 10 * len(name) / 7}
        return types.SimpleNamespace(stdout=f"said\n{json.dumps(spent)}\n")

    monkeypatch.setattr(contract.subprocess, "run", run)
    monkeypatch.setattr(contract, "write_log", lambda *_: None)
    found = contract.cost(tmp_path, 1000, 3, progress=lambda line: None)
    assert made == ["without", "with", "with", "without", "without", "with"]
    assert found["seconds_ratio"] == pytest.approx(2.06 / 2.05)
    assert found["memory_ratio"] == pytest.approx((110 - 40 / 7) / 100)
    assert "| with over without | 1.005 of" in pages.cost({"cost": found})


def test_a_run_without_it_keeps_none(tmp_path):
    contract.write_log(2000, tmp_path)
    for name in ("with", "without"):
        spent = contract.timed(name, 2000, tmp_path)
        assert spent["seconds"] > 0 and spent["memory_mb"] > 50
    held, none = (contract_of(tmp_path / name) for name in ("with", "without"))
    assert held["days"] and none is None
