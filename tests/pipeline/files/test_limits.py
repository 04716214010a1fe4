"""Input that is out of all proportion: one line, the right status, and no hang."""

import os
import resource

import pytest

from steadyrank.models.score import parse_score
from steadyrank.pipeline.cli import application
from steadyrank.pipeline.config import read_document
from steadyrank.pipeline.files.errors import InputError, PassingError, foreseen
from tests.helpers import tiny
from tests.helpers.command_line import in_this_process

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
MERGED = "m0: &m0 {k0: 1}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 20)}], k{n}: 1}}\n"
    for n in range(1, 8)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "nested deeper than 50"),
        ("a: " + "{b: " * 5000 + "1" + "}" * 5000, "nested deeper than 50"),
        ("\n".join("  " * n + f"k{n}:" for n in range(1000)), "nested deeper than 50"),
        (BOMB, "more than 100000 values, with its aliases"),
        (MERGED, "more than 100000 values, with its aliases"),
        ("a: &a [*a]", "an alias of itself"),
        ("a: &a {b: *a}", "an alias of itself"),
        ("x" * (1 << 22) + ": 1", "more than 4194304 bytes"),
    ],
    ids=range(8),
)
def test_a_config_out_of_all_proportion_is_refused(tmp_path, text, said):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        read_document(tmp_path / "c.yaml")


def test_aliases_and_merges_of_a_usual_size_are_read(tmp_path):
    text = "a: &a {b: [1, 2]}\nc: [*a, *a]\nd: {<<: *a, e: 3}\n"
    (tmp_path / "c.yaml").write_text(text)
    a = {"b": [1, 2]}
    assert read_document(tmp_path / "c.yaml") == {"a": a, "c": [a, a], "d": {**a, "e": 3}}


def test_a_config_without_an_end_is_refused():
    with pytest.raises(InputError, match="more than 4194304 bytes"):
        read_document("/dev/zero")


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("(" * 5000 + "a" + ")" * 5000, "too many nested parentheses"),
        ("-" * 5000 + "a", "nested deeper than 300"),
        ("a" + "**a" * 5000, "nested deeper than 300"),
        ("a" + "+a" * 400, "nested deeper than 300"),
        ("-" * 400 + "a", "nested deeper than 300"),
        ("a*" * 10_000 + "a", "no more than 20000 characters"),
    ],
    ids=range(6),
)
def test_a_formula_out_of_all_proportion_is_refused(formula, said):
    with pytest.raises(ValueError, match=said):
        parse_score(formula, ["a"])


def test_a_product_of_many_tasks_is_read():
    names = [f"task_{n}" for n in range(250)]
    parse_score(" * ".join(names), names)


LONG = "n" * 300
LOOP = "loop/x"
WRONG = {
    "a name of 300 letters": (f"--set features.user.name={LONG}", "200 characters"),
    "a task of 300 letters": (f"--set tasks.click.name={LONG}", "200 characters"),
    "a deep key": (f"--set {'a.' * 5000}b=1", "nested deeper"),
    "a deep value": (f"--set train={'[' * 5000}", "nested deeper"),
    "a deep score": (f"--set score={'-' * 5000}click", "nested deeper"),
    "a long path": (f"--data {LONG}", ""),
    "a long input": (f"--input {LONG}.parquet", ""),
    "a loop as data": (f"--data {LOOP}", ""),
    "a loop as input": (f"--input {LOOP}", ""),
    "a loop of links": ("--input loop", ""),
}
PLACES = {
    "preprocess": "preprocess --config c.yaml --data . --output out",
    "run": "run --config c.yaml --data . --output out",
    "check": "check --config c.yaml --data .",
}
OF_PLACES = [
    "inspect {}",
    "release --model {} --evaluation x --to y",
    "release --to {} --rollback",
    "preprocess --config c.yaml --data . --output {}",
    "preprocess --config {} --output out",
    "train --config c.yaml --examples {} --output out",
    "train --config c.yaml --examples . --output {}",
    "export --config c.yaml --train {} --output out",
    "evaluate --config c.yaml --examples {} --model y --output out",
    "serve-check --examples {} --model x",
    "compare {} {} --output x",
    "nightly --config n.yaml --data . --store {} --day 2024-03-05",
    "stability --config c.yaml --examples {} --output out",
    "init --input {} --output new.yaml",
    "synthesize --rows 100 --output {}",
    "check --config c.yaml --data {}",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import yaml

    folder = tmp_path_factory.mktemp("limits")
    tiny.write_log(folder, tiny.make_rows(120))
    document = tiny.config_document(gates={"auc": {"click": {"min": 0.1}}})
    (folder / "c.yaml").write_text(yaml.safe_dump(document))
    document["data"]["split"] = {"validation": 0.3, "test": tiny.DATES[-1]}
    (folder / "n.yaml").write_text(yaml.safe_dump(document))
    (folder / "loop").symlink_to("loop")
    return folder


def ends_in_a_line(folder, monkeypatch, capsys, arguments) -> str:
    monkeypatch.chdir(folder)
    capsys.readouterr()
    status = in_this_process(*arguments)
    lines = capsys.readouterr().err.strip().splitlines()
    assert status == 2, (arguments, lines[-4:])
    assert "Traceback" not in "".join(lines)
    assert lines[0].startswith("error ") and max(map(len, lines)) < 2000
    return lines


@pytest.mark.parametrize("command", PLACES)
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_too_long_or_deep_ends_in_a_line(
    folder, monkeypatch, capsys, command, wrong
):
    arguments, said = WRONG[wrong]
    told = [*PLACES[command].split(), *arguments.split(" ", 1)]
    lines = ends_in_a_line(folder, monkeypatch, capsys, told)
    assert said in "\n".join(lines)
    assert not (folder / "out").exists()


@pytest.mark.parametrize("command", OF_PLACES)
@pytest.mark.parametrize("place", [LONG, "loop", LOOP, "c.yaml/x", "a\0b"], ids=range(5))
def test_a_place_that_cannot_be_ends_in_a_line(folder, monkeypatch, capsys, command, place):
    told = [part.replace("{}", place) for part in command.split()]
    ends_in_a_line(folder, monkeypatch, capsys, told)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("OSError: [Errno 5] Input/output error: '/d/a'", PassingError, "/d/a"),
        (
            "PermissionError: [Errno 13] Permission denied: '/d/a'",
            InputError,
            "use /d/a: P",
        ),
        ("BlockingIOError: [Errno 11] Resource temporarily", PassingError, "temporarily"),
        ("it met OSError: [Errno 5]", None, ""),
        ("KeyError: 5", None, ""),
    ],
)
def test_what_the_system_said_to_a_worker_is_told_apart(said, kind, words):
    """Beam raises another error, with the worker's in its words."""
    found = foreseen(RuntimeError(said))
    assert type(found) is (kind or type(None)) and words in str(found)


@pytest.mark.parametrize("limit", ["FSIZE", "NOFILE"])
def test_a_limit_of_the_shell_ends_in_a_line(folder, monkeypatch, capsys, limit):
    """``ulimit -f`` and ``-n``: 75, what is there stays, and Beam tells no story."""
    monkeypatch.chdir(folder)
    application.be_quiet()
    which = getattr(resource, f"RLIMIT_{limit}")
    lowest = {"FSIZE": 100, "NOFILE": len(os.listdir("/proc/self/fd")) + 2}[limit]
    before = resource.getrlimit(which)
    resource.setrlimit(which, (lowest, before[1]))
    try:
        words = "preprocess --config c.yaml --data . --output limited"
        status = in_this_process(*words.split())
    finally:
        resource.setrlimit(which, before)
    said = capsys.readouterr().err
    assert status == 75 and not (folder / "limited").exists()
    assert said.startswith("error ") and "Traceback" not in said
