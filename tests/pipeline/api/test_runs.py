"""From Python what the commands do: runs, sweeps, nights, views."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

import steadyrank
from steadyrank.pipeline import cli
from steadyrank.pipeline.config import load_config
from tests.helpers import tiny
from tests.helpers.functions import DOCUMENT, ROOT


def readme_example() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"\n## From Python\n.*?```python\n(.*?)```", text, re.DOTALL)
    assert 3 <= len(code.splitlines()) <= 10
    return code


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A folder with a run by the README's lines, and one from the command line."""
    folder = tmp_path_factory.mktemp("both")
    tiny.write_log(folder)
    (folder / "mine.yaml").write_text(yaml.safe_dump(DOCUMENT))
    variables = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(readme_example(), variables)
        command = ["run", "--config", "mine.yaml", "--output", "runs/cli"]
        done = cli.app([*command, "--set", "train.epochs=2"], standalone_mode=False)
    assert not done
    return folder, variables["result"]


def files_of(run: Path) -> dict[str, Path]:
    """Each file, under its name without the moment, process and machine in it."""
    paths = [path for path in run.rglob("*") if path.is_file()]
    return {
        re.sub(r"(events.out.tfevents).*?(\.v2|$)", r"\1\2", str(p.relative_to(run))): p
        for p in paths
    }


SAME = ("examples/", "train/best/", "train/config.yaml", "train/vocab/", "train/schema")


def test_a_run_from_python_is_the_commands(both):
    folder, result = both
    ours, theirs = files_of(folder / "runs/monday"), files_of(folder / "runs/cli")
    assert set(ours) == set(theirs) and len(ours) > 30
    same = [name for name in ours if name.startswith(SAME)]
    assert len(same) > 15
    for name in same:
        assert ours[name].read_bytes() == theirs[name].read_bytes(), name
    verdicts = [
        json.loads(files["evaluation/verdict.json"].read_text()) for files in (ours, theirs)
    ]
    assert verdicts[0]["gates"] == verdicts[1]["gates"] == result.evaluate.gates
    assert verdicts[0]["verdict"] == verdicts[1]["verdict"] == result.verdict == "PASS"
    metrics = json.loads(theirs["evaluation/metrics.json"].read_text())
    assert result.metrics["tasks"]["click"]["auc"] == metrics["tasks"]["click"]["auc"]
    assert json.loads(theirs["train/train.json"].read_text())["epochs"] == 2


def test_what_the_readme_released_is_served(both):
    folder, result = both
    blessed = json.loads((folder / "served" / "blessed.json").read_text())
    assert blessed["current"] == 1
    assert result.report == Path("runs/monday/evaluation/report.html")
    assert (folder / result.report).is_file()
    with pytest.raises(steadyrank.InputError, match="no version to go back to"):
        steadyrank.release(to=folder / "served", rollback=True)
    with pytest.raises(steadyrank.InputError, match="needs --model and --evaluation"):
        steadyrank.release(to=folder / "served", model=folder / "runs/cli/export")
    run = folder / "runs/cli"
    again = steadyrank.release(
        to=folder / "served", model=run / "export", evaluation=str(run / "evaluation")
    )
    assert (again.version, again.verdict, again.forced, again.withdrawn) == (
        2,
        "PASS",
        None,
        (),
    )
    back = steadyrank.release(to=folder / "served", rollback=True)
    assert (back.version, back.withdrawn) == (1, (2,))


def test_views_of_a_run(both, tmp_path):
    folder, _ = both
    runs = [folder / "runs" / name for name in ("monday", "cli")]
    page = steadyrank.compare(runs, output=tmp_path / "page.html")
    assert page.runs == ("monday", "cli") and "monday" in page.output.read_text()
    with pytest.raises(steadyrank.InputError, match="at least two runs. Received: 1"):
        steadyrank.compare(str(runs[0]), output=tmp_path / "other.html")
    titles = list(steadyrank.inspect(runs[0]).parts)
    assert [title.split(" /")[0] for title in titles] == [
        "example set",
        "trained model",
        "export",
        "evaluation",
    ]
    check = steadyrank.serve_check(
        examples=runs[0] / "examples", model=runs[1] / "export", output=tmp_path / "c.json"
    )
    assert check.passed and set(check.differences) == {"serving_default", "tf_example"}
    assert json.loads((tmp_path / "c.json").read_text())["rows"] == check.rows == 100
    seen = steadyrank.replay(
        DOCUMENT, examples=runs[0] / "examples", train=runs[0] / "train", epoch=0, batch=1
    )
    # rows 64 to 127, of a hundred a day
    assert (seen.epoch, seen.batch) == (0, 1)
    assert seen.diagnosis["window"] == "2024-03-02"
    assert set(seen.diagnosis["tasks"]) == {"click", "like", "watch"}


def test_what_can_be_known_before_a_run(log_folder, tmp_path):
    places = {"data": log_folder, "output": tmp_path / "run"}
    found = steadyrank.check(DOCUMENT, **places).looked_at
    assert [said.split()[0] for said in found] == [
        "config:",
        "gates:",
        "log:",
        "joined:",
        "output:",
        "room:",
        "rows:",
    ]
    assert found[0] == "config: as given" and "about 600 rows" in found[2]
    needing = tiny.config_document(gates={"auc": {"click": {"min_gain": 0.0}}})
    for look in (steadyrank.check, steadyrank.run):
        with pytest.raises(steadyrank.InputError, match="min_gain needs --baseline"):
            look(needing, **places)
    assert not list(tmp_path.iterdir())


def test_a_config_out_of_a_log(log_folder, tmp_path):
    told = {"input": log_folder / "log.parquet", "output": tmp_path / "mine.yaml"}
    made = steadyrank.init(**told)
    config = load_config(made.output)
    assert made.features == tuple(feature.name for feature in config.features)
    assert made.tasks == tuple(task.name for task in config.tasks) and made.why
    assert config.data.input == [str(log_folder / "log.parquet")]
    with pytest.raises(steadyrank.InputError, match="mine.yaml exists already"):
        steadyrank.init(**told)


def test_a_log_from_python(tmp_path):
    seen = []

    class Seen(steadyrank.Progress):
        def step(self, step, total, text):
            seen.append((step, total))

    made = steadyrank.synthesize(output=tmp_path / "log", rows=300, progress=Seen())
    assert made.rows == 300 and (made.output / "log.parquet").is_file()
    assert seen[0] == (0, 100) and seen[-1] == (100, 100)
    with pytest.raises(steadyrank.InputError, match="exists already"):
        steadyrank.synthesize(output=str(tmp_path / "log"))


@pytest.mark.parametrize("form", ["file", "document", "config"])
def test_a_sweeps_workers_see_its_config(form, tmp_path, monkeypatch):
    """Also where it stands in no file: they are other processes."""
    stage = importlib.import_module("steadyrank.pipeline.studies.sweep")
    space = {"space": [{"key": "train.seed", "values": [1, 2]}], "trials": 2}
    document = tiny.config_document(train={"epochs": 2})
    path, sweep_file = tmp_path / "c.yaml", tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(document))
    sweep_file.write_text(yaml.safe_dump({"sweep": space}))
    given = {"file": path, "document": document, "config": load_config(path)}[form]
    taken = []

    def sweep(space, examples, output, *, command, progress, **more):
        assert command[:4] == [sys.executable, "-m", "steadyrank", "sweep"]
        options = dict(zip(command[4::2], command[5::2], strict=True))
        config = load_config(options["--config"])
        assert config.train.epochs == 3 and config.sweep == space.sweep
        assert config.model_copy(update={"sweep": None}) == space.config
        assert (options["--examples"], options["--train"]) == (examples, Path("t"))
        progress([{"trial": "0"}])
        assert more.pop("train_path") == Path("t")
        taken.append((options["--config"], more))
        value = {"objective": "auc", "best_value": 0.7, "own_value": None}
        value |= {"told": False, "verdict": "No trial is told from the first."}
        return value if output.name == "out" else None

    monkeypatch.setattr(stage, "sweep", sweep)
    told = {"examples": "e", "sweep": sweep_file, "train": "t", "set": {"train.epochs": 3}}
    switches, rows = {"workers": 2, "resume": True, "overwrite": False}, []

    class Seen(steadyrank.Progress):
        def trials(self, found):
            rows.extend(found)

    found = steadyrank.sweep(
        given, output=tmp_path / "out", **told, **switches, progress=Seen()
    )
    assert (found.best_value, found.own_value) == (0.7, None)
    assert found.best == tmp_path / "out" / "best.yaml" and rows == [{"trial": "0"}]
    assert taken[0][1] == switches and not taken[0][0].exists()
    assert steadyrank.sweep(given, output=tmp_path / "worker", **told) is None


def test_a_sweep_needs_a_worker(examples, tmp_path):
    document = tiny.config_document()
    document["sweep"] = {"space": [{"key": "train.seed", "values": [1, 2]}], "trials": 1}
    with pytest.raises(steadyrank.InputError, match="--workers must be at least 1"):
        steadyrank.sweep(document, examples=examples, output=tmp_path / "s", workers=0)


def test_stability_takes_methods_as_text_or_one_by_one(examples, tmp_path, monkeypatch):
    stage = importlib.import_module("steadyrank.pipeline.studies.stability")
    taken = []

    def stability(config, examples, output, methods, *, progress, **more):
        taken.append(([method.name for method in methods], more))
        progress("a probe")
        found = {"rate_in_use": 0.1, "margin": None, "advice": "none", "methods": []}
        return found

    monkeypatch.setattr(stage, "stability", stability)
    told = {"windows": 3, "steps": 7, "seeds": 2, "overwrite": True}
    places = {"examples": examples, "output": tmp_path / "s"}
    for methods in ("none, agc=0.1", ["none", "agc=0.1"]):
        found = steadyrank.stability(DOCUMENT, methods=methods, **places, **told)
        assert found.margin is None and found.report == tmp_path / "s" / "stability.html"
    assert taken[0] == taken[1] and taken[0][0] == ["none", "agc 0.1"]
    assert taken[0][1] == told


def test_a_night_from_python(tmp_path, monkeypatch):
    module = importlib.import_module("steadyrank.pipeline.nightly")

    def nightly(config, folder, day, store, *, beam_flags, give_up_after, progress):
        assert give_up_after == "6h"
        assert (folder, day, store) == (Path("log"), "2024-03-05", tmp_path)
        assert beam_flags == ["--x"] and config.train.seed == 5
        return {"day": day, "verdict": "HOLD", "left_out": None}

    monkeypatch.setattr(module, "nightly", nightly)
    night = steadyrank.nightly(
        DOCUMENT,
        day="2024-03-05",
        store=str(tmp_path),
        data="log",
        set={"train.seed": 5},
        give_up_after="6h",
        beam_flags=["--x"],
    )
    assert night.verdict == "HOLD" and night.version is None and not night.accepted
    assert night.output == tmp_path / "nights" / "2024-03-05"
    with pytest.raises(steadyrank.InputError, match="local folders only"):
        steadyrank.nightly(DOCUMENT, day="2024-03-05", store="s3://b/store")
