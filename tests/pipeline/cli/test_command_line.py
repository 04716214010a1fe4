"""What every command line has: options anywhere, statuses, JSON, and how to go on."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from rich.table import Table

from steadyrank.pipeline import api, cli
from steadyrank.pipeline.cli import application, terminal
from steadyrank.pipeline.cli.arguments import command_of, common_first, going_on
from steadyrank.pipeline.cli.json_console import JsonConsole, _value
from steadyrank.pipeline.cli.summary import Summary
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.documents import Document, require
from steadyrank.pipeline.files.errors import (
    ExistsError,
    InputError,
    ToldToEndError,
)
from steadyrank.pipeline.raw_log.find import find
from tests.helpers import tiny


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("train --config c", "train --config c"),
        ("train --config c --log-format json", "--log-format json train --config c"),
        ("run --notify 'a b' -- --x", "--notify 'a b' run -- --x"),
        ("run --log-format=json --x", "--log-format=json run --x"),
        ("run -- --log-format json", "run -- --log-format json"),  # Beam's, as it is
        ("run --log-format", "--log-format run"),
    ],
)
def test_common_options_stand_anywhere(words, first):
    found = common_first(shlex.split(words))
    assert found == shlex.split(first)
    if words != "run --log-format":
        assert command_of(found) in ("train", "run")


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (
            "run --config 'my c' --output a --overwrite",
            "run --config 'my c' --output a --resume",
        ),
        ("run --output a --resume -- --x", "run --output a --resume -- --x"),
        ("train --output begun --set a=b", "train --output begun --set a=b --resume"),
        ("train --output=begun", "train --output=begun --resume"),
        ("train --output new", "train --output new"),  # which left nothing yet
        ("sweep --output swept", "sweep --output swept --resume"),
        ("nightly --day 2026-01-01 --store s", "nightly --day 2026-01-01 --store s"),
        ("--log-format json run --output a", "--log-format json run --output a --resume"),
    ],
)
def test_the_command_that_goes_on(tmp_path, monkeypatch, words, again):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "begun.partial").mkdir()
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / "sweep.json").touch()
    assert going_on(shlex.split(words)) == f"steadyrank {again}"
    assert going_on(["preprocess", "--output", "a"]) is None


def ended(monkeypatch, words, error=None):
    """The exit status of a command line whose command raises."""
    statuses = []
    monkeypatch.setattr(application, "leave", statuses.append)
    if error is not None:

        def fails(*_, **__):
            raise error

        monkeypatch.setattr(application, "app", fails)
    cli.main(words)
    return statuses[0]


def test_an_interruption_prints_what_goes_on_and_never_overwrites(monkeypatch, capsys):
    words = ["run", "--config", "c", "--output", "a", "--overwrite"]
    assert ended(monkeypatch, words, KeyboardInterrupt()) == 130
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("To go on: steadyrank run --config c --output a --resume")


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (application.Terminated(), 130, "told to end (SIGTERM)."),
        (
            ToldToEndError("told to end (SIGTERM) after step 5, which a holds."),
            75,
            "holds.",
        ),
    ],
)
def test_sigterm_is_told_alike_wherever_it_comes(monkeypatch, capsys, error, status, said):
    assert ended(monkeypatch, ["run", "--output", "a"], error) == status
    found = " ".join(capsys.readouterr().err.split())
    assert found.startswith("error told to end (SIGTERM)")
    assert found.endswith(f"{said} To go on: steadyrank run --output a --resume")


def test_sigterm_is_no_ctrl_c(monkeypatch, capsys):
    def killed(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(api, "export", killed)  # typer would call it a Ctrl-C
    monkeypatch.setattr(application, "leave", lambda status: None)
    cli.main(["export", "--config", "c", "--train", "t", "--output", "a"])
    assert "told to end (SIGTERM). It left nothing behind." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train", "nightly"])
def test_in_a_pipe_no_bar_is_drawn_and_a_line_comes_now_and_then(monkeypatch, name):
    piped = terminal.Terminal(file=io.StringIO())
    monkeypatch.setattr(terminal, "console", piped)
    monkeypatch.setattr(terminal, "PIPED_SECONDS", 0.05)
    shown = terminal.Shown()
    with shown.stage(name):
        shown.step(0, 0, "reading")
        for step in range(1, 4):
            shown.step(step, 3, f"epoch {step}")
        time.sleep(0.2)
        shown.step(0, 0, "evaluate")
        time.sleep(0.2)
    said = piped.file.getvalue().splitlines()
    begun = said.index("evaluate")
    assert said[0] == "reading"
    for lines, told in (
        (said[1:begun], "step 3 of 3: epoch 3"),
        (said[begun + 1 :], "evaluate"),
    ):
        assert lines
        for line in lines:
            assert re.fullmatch(rf"{name}: \d s so far, {told}", line), line


def test_what_exists_prints_what_goes_on(monkeypatch, capsys):
    error = ExistsError("a exists already.")
    assert ended(monkeypatch, ["run", "--output", "a"], error) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("To go on with it: steadyrank run --output a --resume")
    ended(monkeypatch, ["export", "--output", "a"], error)
    assert capsys.readouterr().err.rstrip().endswith("a exists already.")


def test_json_logs_end_with_what_the_command_came_to(monkeypatch, capsys, tmp_path):
    words = ["inspect", str(tmp_path / "none"), "--log-format", "json"]
    assert ended(monkeypatch, words) == 2
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["command"], last["status"], last["level"]) == ("inspect", 2, "error")
    assert "no such folder" in last["reasons"][0] and last["verdict"] is None
    ended(monkeypatch, ["inspect", str(tmp_path / "none")])
    assert "{" not in capsys.readouterr().out  # words stay words


READS = "import json,sys; d=json.load(sys.stdin); print(d['status'], d['command'])"


def test_a_command_is_told_at_the_end(monkeypatch, capfd, tmp_path):
    tells = shlex.join([sys.executable, "-c", READS])
    words = ["inspect", str(tmp_path / "none"), "--notify", tells]
    assert ended(monkeypatch, words) == 2
    assert "2 inspect" in capfd.readouterr().out
    words[-1] = shlex.join([sys.executable, "-c", "raise SystemExit(9)"])
    assert ended(monkeypatch, words) == 2  # the status stays
    assert "ended with 9" in capfd.readouterr().err
    words[-1] = "/none/such"
    assert ended(monkeypatch, words) == 2
    assert "warning: --notify /none/such" in capfd.readouterr().err


class Judged:
    verdict = "HOLD"
    output = "runs/a"
    gates = (
        {"gate": "auc", "task": "click", "reason": "too few rows", "passed": False},
        {"gate": "size", "task": None, "reason": "too large", "passed": False},
        {"gate": "skew", "task": None, "reason": "", "passed": True},
    )


def test_the_summary_says_verdict_and_reasons():
    summary = Summary()
    summary.command, summary.result = "evaluate", Judged()
    found = summary.document(1)
    assert found["reasons"] == ["auc click: too few rows", "size: too large"]
    assert (found["verdict"], found["status"], found["output"]) == ("HOLD", 1, "runs/a")


@pytest.mark.parametrize(
    ("word", "level"), [("PASS", "info"), ("HOLD", "warning"), ("REFUSE", "error")]
)
def test_verdicts_have_levels(monkeypatch, capsys, word, level):
    monkeypatch.setattr(terminal, "console", JsonConsole("evaluate"))
    terminal.verdict(word)
    found = json.loads(capsys.readouterr().out)
    assert (found["level"], found["message"]) == (level, word)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("26,556", 26556),
        ("0.7499", 0.7499),
        ("+0.0100* -0.001 to +0.021",
         {"value": 0.01, "low": -0.001, "high": 0.021, "told_from_chance": False}),
        (".51 .490–.530",
         {"value": 0.51, "low": 0.49, "high": 0.53, "told_from_chance": True}),
        ("2e-05", 2e-05),
        ("2026-01-02", "2026-01-02"),
        ("", ""),
        ("12 rows", "12 rows"),
        ("1,2", "1,2"),
    ],
)  # fmt: skip
def test_numbers_are_numbers_in_json(cell, value):
    assert _value(cell) == value
    assert type(_value(cell)) is type(value)


def test_tables_are_columns_and_typed_rows(monkeypatch, capsys):
    table = Table(title="t")
    table.add_column("task")
    table.add_column("auc")
    table.add_row("click", "0.75\n.740–.760")
    JsonConsole("x").print(table)
    row = json.loads(capsys.readouterr().out)["rows"][0]
    assert row[0] == "click" and row[1]["value"] == 0.75 and row[1]["high"] == 0.76


def test_help_says_how_commands_end():
    for words in (["-h"], ["train", "-h"], ["nightly", "--help"]):
        command = [sys.executable, "-m", "steadyrank", *words]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "75 may pass" in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train__batch_size": "many"}, "train.batch_size: must be a whole number"),
        ({"train__batch_size": 0}, "train.batch_size: must be 1 or more"),
        ({"train__epochs": [1]}, "train.epochs: must be"),
        ({"data__drop_duplicates": "so"}, "data.drop_duplicates: must be true or false"),
        ({"data__input": "x"}, "data.input: must be a list"),
        ({"features": 3}, "features: must be a list"),
    ],
)
def test_mistakes_are_said_in_our_own_words(change, said):
    with pytest.raises(InputError, match=said) as error:
        parse_config(tiny.config_document(**change), "c")
    for word in ("Input should", "Field required", "Value error", "parse"):
        assert word not in str(error.value)


class Shape(Document):
    """Of the test."""

    rows: int


def test_files_are_judged_in_our_own_words():
    with pytest.raises(InputError, match="a.json is corrupt: rows: it is missing"):
        require({}, Shape, "a.json")
    with pytest.raises(InputError, match="rows: must be a whole number"):
        require({"rows": "x"}, Shape, "a.json")


def test_a_missing_file_names_key_folder_and_nearest_name(tmp_path):
    (tmp_path / "log-2026.parquet").touch()
    with pytest.raises(InputError) as error:
        find([str(tmp_path / "log-2062.parquet")], "data.input")
    said = str(error.value)
    assert said.startswith(f"data.input: {tmp_path}/log-2062.parquet: no such file.")
    assert f"Looked in {tmp_path}" in said
    assert f"Did you mean {tmp_path}/log-2026.parquet?" in said
    with pytest.raises(InputError, match=rf"Looked in {tmp_path}, which"):
        find([f"{tmp_path}/none/*/deep-*.csv"])
