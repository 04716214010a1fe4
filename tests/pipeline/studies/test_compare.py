"""Runs side by side: what differs is shown, what is alike is not, names stay names."""

import copy
import json
import re

import numpy as np
import plotly.graph_objects as go
import pytest
import yaml
from typer.testing import CliRunner

import steadyrank
from steadyrank.models.features import Task
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config.gates import Gates
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import finite
from steadyrank.pipeline.metrics import scored
from steadyrank.pipeline.metrics.samples import FILE, Samples, differences, read_samples
from steadyrank.pipeline.metrics.scored import Scored
from steadyrank.pipeline.metrics.uncertainty import HIGHER
from steadyrank.pipeline.report.comparison import flatten
from steadyrank.pipeline.studies.compare import compare, names_of
from tests.helpers.report_page import HOSTILE, Page, recorded

SIZE = {"examples": 64, "batch_size": 64}


def write_run(path, task="is_click", auc=0.7, verdict="PASS", **config):
    content = recorded(task)
    metrics = copy.deepcopy(content["metrics"])
    metrics["tasks"][task]["auc"] = auc
    for folder, name, document in (
        ("evaluation", "metrics.json", metrics),
        ("evaluation", "verdict.json", {"verdict": verdict, "gates": []}),
    ):
        (path / folder).mkdir(parents=True, exist_ok=True)
        (path / folder / name).write_text(json.dumps(finite(document)))
    (path / "train").mkdir()
    lines = [json.dumps(finite({**SIZE, **line})) for line in content["log"]]
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


ROWS, USERS = 1500, 150
TASK = Task("is_click", negative_rate=0.5)


def judged(noise, order=slice(None)):
    """A task's metrics and samples under a model that sees so much noise."""
    random = np.random.default_rng(1)
    groups = random.integers(0, USERS, ROWS) * 7919 - 10**6
    logit = random.normal(size=USERS)[(groups + 10**6) // 7919] + random.normal(size=ROWS)
    label = (random.uniform(size=ROWS) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    seen = logit + noise * random.normal(size=ROWS)
    output = (1 / (1 + np.exp(-seen))).astype(np.float32)
    kept = np.arange(ROWS)[order]
    named = {"is_click": output[kept], "score": output[kept]}
    rows = Scored(
        {"is_click": label[kept]},
        {"is_click": np.ones(len(kept))},
        named,
        groups[kept],
        {},
        {},
    )
    return rows


def evaluated(rows, baseline=None):
    tasks, base, samples = scored.compare(rows, baseline, [TASK], Gates(), curves=False)
    return tasks, samples


def test_differences_are_those_of_the_paired_bootstrap_of_both():
    """Two evaluations, rows in other orders, each alone, against both drawn together."""
    a, b = judged(2.0), judged(0.5, order=slice(None, None, -1))
    (ours, drawn), (theirs, others) = evaluated(a), evaluated(b)
    together, _ = evaluated(judged(0.5), baseline=a)
    found = {one["metric"]: one for one in differences(ours, drawn, theirs, others)}
    assert set(together["is_click"]["gain"]) == set(found) - {"calibration"}
    for metric, gain in together["is_click"]["gain"].items():
        sign = 1 if metric in HIGHER else -1
        one = found[metric]
        assert sign * one["difference"] == pytest.approx(gain["difference"], abs=1e-9), (
            metric
        )
        assert one["error"] == pytest.approx(gain["error"], rel=1e-9), metric
        assert one["error"] < ours["is_click"]["errors"][metric], "it is not paired"
    assert found["auc"]["verdict"] == "better" and found["log_loss"]["verdict"] == "better"
    assert found["calibration"]["verdict"] is None
    back = {one["metric"]: one for one in differences(theirs, others, ours, drawn)}
    assert back["auc"]["verdict"] == back["log_loss"]["verdict"] == "worse"


def test_samples_of_other_rows_are_not_subtracted():
    ours, drawn = evaluated(judged(2.0))
    theirs, others = evaluated(judged(0.5, order=slice(1, None)))
    for one in differences(ours, drawn, theirs, others):
        assert one["interval"] is None and one["verdict"] in ("no difference told", None)
    assert list(differences(ours, drawn, {}, others)) == []


def test_samples_are_read_back_and_damage_is_named(tmp_path):
    _, drawn = evaluated(judged(2.0))
    drawn.write(tmp_path)
    read = read_samples(tmp_path)
    assert read.drawn_from == drawn.drawn_from and set(read.values) == {"is_click"}
    for metric, values in drawn.values["is_click"].items():
        np.testing.assert_array_equal(read.values["is_click"][metric], values)
    assert (tmp_path / FILE).stat().st_size < 30_000
    (tmp_path / FILE).write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="samples.npz is corrupt"):
        read_samples(tmp_path)
    assert read_samples(tmp_path / "none") == Samples()


def with_samples(run, rows):
    tasks, drawn = evaluated(rows)
    drawn.write(run / "evaluation")
    change(run, tasks=finite(tasks))


def test_a_verdict_comes_first_on_the_page_and_in_the_terminal(tmp_path):
    runs = [write_run(tmp_path / name) for name in "abc"]
    for run, noise in zip(runs, (2.0, 0.5, 2.0), strict=True):
        with_samples(run, judged(noise))
    found = steadyrank.compare(runs, output=tmp_path / "page.html")
    assert found.verdicts == (
        "b against a: better at is_click.",
        "No difference is told between c and a, at any task.",
    )
    (area,) = (one for one in found.differences["b"] if one["metric"] == "auc")
    seen = Page((tmp_path / "page.html").read_text()).seen
    assert seen.index("b against a: better at is_click.") < seen.index("Rows Split")
    low, high = area["interval"]
    told = f"+{area['difference']:.4f} {low:+.4f} to {high:+.4f}"
    assert f"is_click AUC {area['first']:.4f} {area['other']:.4f} {told} better" in seen
    assert f"{told} +0.0000 † +0.0000 to +0.0000" in seen  # in the table of the metric
    said = CliRunner().invoke(
        app, ["compare", *map(str, runs), "--output", str(tmp_path / "p")]
    )
    assert "b against a: better at is_click." in said.output
    assert "No difference is told between c and a" in said.output
    assert "95 % interval" in said.output


def test_a_folder_that_is_missing_is_made_and_what_cannot_be_is_refused(tmp_path):
    runs = [write_run(tmp_path / name) for name in "ab"]
    compare(runs, tmp_path / "new" / "deep" / "page.html")
    assert (tmp_path / "new" / "deep" / "page.html").stat().st_size > 1000
    with pytest.raises(InputError, match="a is a folder"):
        compare(runs, tmp_path / "a")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*file"):
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
    (_, told) = compare(runs, tmp_path / "page.html")
    assert re.search(said, told["said"]), "the terminal says it, too"
    seen = Page((tmp_path / "page.html").read_text()).seen
    assert re.search(said, seen) if said else "compare." not in seen, seen
    assert said or "cannot be told" not in seen


def test_runs_that_are_not_whole_are_named(tmp_path):
    run = write_run(tmp_path / "a")
    with pytest.raises(InputError, match="at least two runs. Received: 1"):
        compare([run], tmp_path / "page.html")
    with pytest.raises(InputError, match="b/evaluation is not an evaluated run"):
        compare([run, tmp_path / "b"], tmp_path / "page.html")
    other = write_run(tmp_path / "b")
    (tmp_path / "c").symlink_to(run)
    for same in (run, tmp_path / "b" / ".." / "a", tmp_path / "c"):
        with pytest.raises(InputError, match="runs that differ.*two are the same folder"):
            compare([run, other, same], tmp_path / "page.html")
    (run / "train" / "config.yaml").unlink()
    with pytest.raises(InputError, match="cannot read .*config.yaml"):
        compare([run, other], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_names_are_as_short_as_tells_them_apart(tmp_path):
    a, b = tmp_path / "x" / "run", tmp_path / "y" / "run"
    assert names_of([a, b]) == ["x/run", "y/run"]
    assert names_of([a, b.parent]) == ["run", "y"]


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
