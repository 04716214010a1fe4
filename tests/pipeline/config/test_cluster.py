"""TF_CONFIG: read as TensorFlow reads it, refused in words where it would wait for ever."""

import json

import pytest

from steadyrank.pipeline import cli
from steadyrank.pipeline.cli import application
from steadyrank.pipeline.config.cluster import VARIABLE, cluster
from steadyrank.pipeline.files.errors import InputError


def told(jobs, kind="worker", index=0) -> dict[str, str]:
    task = {"type": kind, "index": index}
    return {VARIABLE: json.dumps({"cluster": jobs, "task": task})}


TWO = {"worker": ["a:2222", "b:2222"]}


def test_the_workers_stand_in_their_order():
    found = cluster(told(TWO, index=1))
    assert found.addresses == ("a:2222", "b:2222") and found.index == 1
    assert found.jobs == {"worker": 2}


def test_a_chief_comes_before_the_workers():
    jobs = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}
    assert cluster(told(jobs, "chief")).index == 0
    found = cluster(told(jobs, "worker", 1))
    assert found.addresses == ("c:1", "a:1", "b:1") and found.index == 2
    assert found.jobs == {"chief": 1, "worker": 2}


@pytest.mark.parametrize("text", ["", "  ", "{}", json.dumps({"cluster": {}})])
def test_without_machines_a_process_trains_alone(text):
    assert cluster({VARIABLE: text}) is None and cluster({}) is None


def test_one_machine_is_alone():
    assert cluster(told({"worker": ["a:2222"]})) is None


MALFORMED = {
    "no JSON": {VARIABLE: "{worker"},
    "must be objects": {VARIABLE: "[]"},
    "must be objects ": {VARIABLE: '{"cluster": ["a:1"]}'},
    "neither chief nor worker": told({**TWO, "ps": ["c:2222"]}),
    "list of machines": told({"worker": "a:2222"}),
    "list of machines ": told({"worker": []}),
    "one chief": told({"chief": ["a:1", "b:1"]}, "chief"),
    "host:port": told({"worker": ["a:2222", "b"]}),
    "one is 'grpc://a:1'": told({"worker": ["grpc://a:1", "b:1"]}),
    "one is 'b:0'": told({"worker": ["a:1", "b:0"]}),
    "no JSON (": {VARIABLE: "[" * 100_000},
    "host:port ": told({"worker": ["a:2222", 7]}),
    "host:port  ": told({"worker": ["a:2222", "b:70000"]}),
    "twice": told({"worker": ["a:2222", "a:2222"]}),
    "worker 0 to 1": told(TWO, index=2),
    "worker 0 to 1 ": told(TWO, index=True),
    "worker 0 to 1  ": told(TWO, kind="evaluator"),
    "task must be": {VARIABLE: json.dumps({"cluster": TWO})},
}


@pytest.mark.parametrize("why", MALFORMED)
def test_what_is_malformed_is_said(why):
    with pytest.raises(InputError) as raised:
        cluster(MALFORMED[why])
    said = str(raised.value)
    assert why.strip() in said and said.startswith("TF_CONFIG must look like {")
    assert "Received: " in said and "Unset it" in said


@pytest.mark.parametrize("words", [["preprocess"], ["run"], ["sweep"], ["nightly"]])
def test_commands_of_one_machine_refuse_several(words, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, told(TWO)[VARIABLE])
    monkeypatch.setattr(application, "leave", lambda status: statuses.append(status))
    statuses = []
    needed = ["--config", "c.yaml", "--output", "o", "--sweep", "s", "--examples", "e"]
    needed = ["--config", "c.yaml", "--output", "o"] if words == ["run"] else needed
    cli.main([*words, *needed])
    said = " ".join(capsys.readouterr().err.split())
    assert f"TF_CONFIG names 2 machines, and `{words[0]}` works on one" in said
    assert statuses == [application.BAD_INPUT]
