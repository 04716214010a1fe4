"""Text out of a log acts on no terminal and no page."""

import json

import pytest
from rich.table import Table

from steadyrank.pipeline.cli import terminal
from steadyrank.pipeline.cli.json_console import JsonConsole
from steadyrank.pipeline.files.printable import printable
from steadyrank.pipeline.report.elements import embedded_json, text
from tests.helpers.command_line import in_this_process

ACTING = "\x1b[2J\x9b31m\u202e\r\x07\x7f\u2028"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain ü 日本\u3000語 a\nb\tc", "plain ü 日本\u3000語 a\nb\tc"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\u202eb", "a\\u202eb"),
        ("a\rb\x00", "a\\rb\\x00"),
        ("\U000e0041", "\\U000e0041"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_what_is_not_printed_is_written_out(given, shown):
    assert printable(given) == shown


def test_a_terminal_prints_it_and_keeps_its_own_colours(capsys):
    console = terminal.Terminal(force_terminal=True, width=200)
    table = Table()
    table.add_column(f"head{ACTING}")
    table.add_row(f"cell{ACTING}")
    console.print(table)
    console.print("[bold red]error[/] " + ACTING)
    said = capsys.readouterr().out
    assert "\x1b[1;31merror\x1b[0m" in said
    for acting in ("\x1b[2J", "\x9b", "\u202e", "\r", "\x07", "\x7f", "\u2028"):
        assert acting not in said


def test_a_line_of_json_holds_it_escaped(capsys):
    JsonConsole("x").line(f"a{ACTING}")
    said = capsys.readouterr().out
    assert said.strip().isprintable()
    assert json.loads(said)["message"] == f"a{ACTING}"


def test_a_page_shows_it():
    assert text(f"<{ACTING}").isprintable() and "&lt;" in text("<")
    drawn = json.loads(embedded_json({"name\x1b": [f"a{ACTING}", 1.5, None]}))
    assert drawn == {"name\\x1b": [printable(f"a{ACTING}"), 1.5, None]}


def test_an_error_moves_no_cursor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert in_this_process("inspect", f"z{ACTING}") == 2
    (tmp_path / "verdict.json").write_text(
        json.dumps({"verdict": f"v{ACTING}" + "v" * 30, "gates": []})
    )
    assert in_this_process("inspect", ".") == 0
    said = capsys.readouterr()
    assert "z\\x1b[2J" in said.err and "v\\x1b[2J" in said.out
    assert (said.out + said.err).replace("\n", "").isprintable()
