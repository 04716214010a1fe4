"""What is served is held against what was measured."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import export
from tests.helpers import tiny
from tests.helpers.served_rows import SHARED


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    document = tiny.config_document(serving={"shared": SHARED})
    output = tmp_path_factory.mktemp("serving") / "export"
    return export(parse_config(document, "c"), trained, output)


def test_serve_check(folder, examples, tmp_path):
    from steadyrank.pipeline.kinds import serve_check as stage

    result = stage(examples, folder, sizes=(1, 7), repeats=2)
    assert result["passed"] and result["rows"] == 100
    assert set(result["differences"]) == {"serving_default", "tf_example", "candidates"}
    timed = {(row["signature"], row["rows"]) for row in result["latency"]}
    names = {*result["differences"], "encoded"}
    assert timed == {(name, rows) for name in names for rows in (1, 7)}
    assert all(0 < r["p50_ms"] <= r["p99_ms"] for r in result["latency"])
    with pytest.raises(InputError, match="kept no raw rows of 'train'"):
        stage(examples, folder, split="train")


def test_serve_check_sees_a_difference(folder, examples, monkeypatch):
    from steadyrank.pipeline.export import loaded
    from steadyrank.pipeline.kinds import serve_check as stage

    honest = loaded.calls_of

    def crooked(model):
        call = honest(model)

        def bent(inputs, plain=call["tf_example"]):
            outputs = plain(inputs)
            outputs["like"][-1] = np.nan
            return outputs

        return {**call, "tf_example": bent}

    monkeypatch.setattr(loaded, "calls_of", crooked)
    result = stage(examples, folder, sizes=(), repeats=1)
    assert not result["passed"] and np.isnan(result["differences"]["tf_example"])


def serve_check(*arguments):
    return CliRunner().invoke(app, ["serve-check", *map(str, arguments)])


def test_serve_check_on_the_command_line(folder, examples, tmp_path, monkeypatch):
    """The features that candidates share are the export's; the folder is made first."""
    output, there = tmp_path / "new" / "check.json", []

    def timed(*_):
        there.append(output.parent.is_dir())
        return {"p50_ms": 1.0, "p99_ms": 2.0, "rows_per_second": 3.0}

    monkeypatch.setattr("steadyrank.pipeline.evaluate.serve_check.timed", timed)
    places = ("--examples", examples, "--model", folder)
    done = serve_check(*places, "--output", output)
    assert done.exit_code == 0, (done.output, done.exception)
    assert there and all(there)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["passed"] and found["differences"]["candidates"] <= 1e-5


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("s3://bucket/check.json", "local folders only. Received: s3://bucket/check.json"),
        (".", "is a folder"),
        ("file/check.json", "cannot write"),
    ],
)
def test_serve_check_refuses_an_output_that_cannot_be(
    output, said, folder, examples, tmp_path, monkeypatch
):
    monkeypatch.setattr("steadyrank.pipeline.evaluate.serve_check.timed", pytest.fail)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    places = ("--examples", examples, "--model", folder)
    done = serve_check(*places, "--output", output)
    assert isinstance(done.exception, InputError) and said in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
