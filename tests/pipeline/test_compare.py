"""Runs side by side: what differs is shown, what is alike is not, names stay names."""

import copy
import json
import re

import plotly.graph_objects as go
import pytest
import yaml
from typer.testing import CliRunner

from steadyrank.pipeline.cli import app
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.report.comparison import flatten
from steadyrank.pipeline.studies.compare import compare, names_of
from tests.pipeline.test_report import HOSTILE, Page, recorded


def write_run(path, task="is_click", auc=0.7, verdict="PASS", **config):
    content = recorded(task)
    metrics = copy.deepcopy(content["metrics"])
    metrics["tasks"][task]["auc"] = auc
    for folder, name, document in (
        ("evaluation", "metrics.json", metrics),
        ("evaluation", "verdict.json", {"verdict": verdict, "gates": []}),
    ):
        (path / folder).mkdir(parents=True, exist_ok=True)
        (path / folder / name).write_text(json.dumps(document))
    (path / "train").mkdir()
    lines = [json.dumps(line) for line in content["log"]]
    (path / "train" / "log.jsonl").write_text("\n".join(lines))
    document = {"tasks": [{"name": task}], "train": {"epochs": 1, **config}}
    (path / "train" / "config.yaml").write_text(yaml.safe_dump(document))
    return path


def test_runs_stand_side_by_side(tmp_path):
    runs = [
        write_run(tmp_path / "a", auc=0.7, seed=1),
        write_run(tmp_path / "b", auc=0.71, verdict="HOLD", seed=2),
    ]
    compare(runs, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert "a PASS 1,234 test" in page.seen and "b HOLD 1,234 test" in page.seen
    assert "is_click 0.7000 0.6900 to 0.7100 0.7100 0.6900 to 0.7100" in page.seen
    assert "Key a b train.seed 1 2" in page.seen and "train.epochs" not in page.seen
    assert "do not compare" not in page.seen
    assert len(page.figures) == 2
    for figure in page.figures:
        go.Figure(figure)
        assert [trace["name"] for trace in figure["data"]] == ["a", "b"]


def test_a_folder_that_is_missing_is_made_and_what_cannot_be_is_refused(tmp_path):
    runs = [write_run(tmp_path / name) for name in "ab"]
    compare(runs, tmp_path / "new" / "deep" / "page.html")
    assert (tmp_path / "new" / "deep" / "page.html").stat().st_size > 1000
    with pytest.raises(InputError, match="a is a folder"):
        compare(runs, tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder .*file"):
        compare(runs, tmp_path / "file" / "page.html")


def test_hostile_names_are_told_as_names(tmp_path):
    runs = [write_run(tmp_path / name, task=HOSTILE) for name in "ab"]
    change(runs[1], fingerprint="other")
    compare(runs, tmp_path / "page.html")
    source = (tmp_path / "page.html").read_text()
    assert HOSTILE not in source
    assert "cannot be told" in Page(source).seen


def change(run, **metrics):
    path = run / "evaluation" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | metrics))


def identity(rows, click, watch, columns=("time", "user"), whole="0"):
    labels = {"is_click": click, "watch_time_ms": watch}
    keys = [{"columns": None, "rows": whole, "labels": dict.fromkeys(labels, whole)}]
    keys += [{"columns": list(columns), "rows": rows, "labels": labels}]
    return {"rows": 1234, "keys": keys}


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({}, ""),
        ({"rows": "1", "click": "1", "watch": "1", "whole": "0"}, ""),  # one log's rows
        (
            {"rows": "1", "click": "1", "watch": "1"},
            "b was judged on other rows than a: its metrics of is_click, w",
        ),
        ({"click": "1"}, "b was judged on other labels than a: its metrics of is_click do"),
        ({"rows": "1", "watch": "1"}, "other rows than a: its metrics of watch_time_ms do"),
        ({"columns": ("user",)}, "cannot be told for is_click, watch_time_ms: their"),
    ],
)
def test_only_other_rows_and_other_labels_do_not_compare(tmp_path, theirs, said):
    """Whatever the features: the examples' fingerprints are others in each case."""
    runs = [write_run(tmp_path / name) for name in "ab"]
    ours = {"rows": "0", "click": "0", "watch": "0"}
    change(runs[0], identity=identity(**ours))
    other = identity(**{**ours, "whole": "1", **theirs})
    change(runs[1], identity=other, fingerprint="other")
    compare(runs, tmp_path / "page.html")
    seen = Page((tmp_path / "page.html").read_text()).seen
    assert re.search(said, seen) if said else "compare." not in seen, seen
    assert said or "cannot be told" not in seen


def test_runs_that_are_not_whole_are_named(tmp_path):
    run = write_run(tmp_path / "a")
    with pytest.raises(InputError, match="at least two runs. Received: 1"):
        compare([run], tmp_path / "page.html")
    with pytest.raises(InputError, match="b/evaluation is not an evaluated run"):
        compare([run, tmp_path / "b"], tmp_path / "page.html")
    (run / "train" / "config.yaml").unlink()
    with pytest.raises(InputError, match="cannot read .*config.yaml"):
        compare([run, run], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_names_are_as_short_as_tells_them_apart(tmp_path):
    a, b = tmp_path / "x" / "run", tmp_path / "y" / "run"
    assert names_of([a, b]) == ["x/run", "y/run"]
    assert names_of([a, b.parent]) == ["run", "y"]
    assert names_of([a, a])[0].startswith("1 ")


def test_a_config_is_flattened_by_name():
    config = {"a": {"b": 1}, "c": [{"name": "n", "d": [1, 2]}, {"e": None}], "f": []}
    assert flatten(config) == {
        "a.b": "1", "c.n.name": "n", "c.n.d": "[1, 2]", "c.1.e": "None", "f": "[]"
    }  # fmt: skip


def test_the_page_has_a_name_without_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [str(write_run(tmp_path / name)) for name in "ab"]
    done = CliRunner().invoke(app, ["compare", *runs], standalone_mode=False)
    assert done.exception is None and (tmp_path / "compare.html").exists()
