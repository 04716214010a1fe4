"""What can only fail fails in seconds, before the first row, and says why."""

import json
import os

import pytest
from typer.testing import CliRunner

from steadyrank.pipeline import preflight
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from tests.pipeline import tiny

GAIN = {"auc": {"click": {"min": 0.5, "min_gain": 0.0}}}


def with_gates(gates, **changes):
    return parse_config(tiny.config_document(gates=gates, **changes), "tiny")


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        (GAIN, "gates.auc.click.min_gain needs --baseline"),
        ({"drift": {"max_psi": 0.1}}, "gates.drift needs --baseline"),
        (
            {"slices": [{"by": ["country"], "auc": {"like": {"min_gain": 0.0}}}]},
            "gates.slices country.auc.like.min_gain needs --baseline",
        ),
        ({"stability": {"min_margin": 4}}, "gates.stability needs what"),
    ],
)
def test_a_gate_that_can_only_refuse_is_named(gates, said):
    with pytest.raises(InputError, match="no model could pass: ") as raised:
        preflight.require_passable(with_gates(gates), baseline=False, stability=False)
    assert said in str(raised.value)


def test_what_is_given_is_enough():
    gates = {**GAIN, "drift": {"max_psi": 0.1}, "stability": {"min_margin": 4}}
    config = with_gates(gates)
    (said,) = preflight.require_passable(config, baseline=True, stability=True)
    assert said == "gates: auc, drift, stability"
    plain = with_gates({"auc": {"click": {"min": 0.5}}})
    assert preflight.require_passable(plain, baseline=False, stability=False)


def test_every_file_of_the_log_is_opened(tmp_path):
    rows = tiny.make_rows(60)
    tiny.write_log(tmp_path, rows)
    (said, joined) = preflight.require_log(with_gates({}), tmp_path)
    assert said.startswith("log: 1 files, about 60 rows") and "users.parquet" in joined
    half = [{name: v for name, v in row.items() if name != "click"} for row in rows]
    tiny.write_parquet(half, tmp_path / "log.parquet")
    with pytest.raises(InputError, match="no column 'click', which tasks.click needs"):
        preflight.require_log(with_gates({}), tmp_path)


def test_a_place_without_room_or_rights_is_refused(tmp_path, monkeypatch):
    place = tmp_path / "not" / "yet"
    assert "free" in preflight.require_place(place)[0]
    with pytest.raises(InputError, match="Make room"):
        preflight.require_place(place, 1 << 60)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot write"):
        preflight.require_place(place)


def steadyrank(command, *arguments):
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def test_the_command_says_what_it_looked_at_and_run_refuses_before_it_begins(tmp_path):
    tiny.write_log(tmp_path, tiny.make_rows(60))
    config, output = tmp_path / "c.json", tmp_path / "run"
    config.write_text(json.dumps(tiny.config_document(gates={"size": {"max_mb": 9}})))
    done = steadyrank("check", "--config", config, "--output", output)
    assert done.exit_code == 0, done.output
    for said in ("config: ", "gates: size", "log: 1 files, about 60 rows", "output: "):
        assert said in done.output
    assert not output.exists()
    config.write_text(json.dumps(tiny.config_document(gates=GAIN)))
    for command in ("check", "run"):
        done = steadyrank(command, "--config", config, "--output", output)
        assert isinstance(done.exception, InputError), done.output
        assert "gates.auc.click.min_gain needs --baseline" in str(done.exception)
        assert not (output / "examples").exists()
