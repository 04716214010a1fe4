"""``import steadyrank``: what the command line does, from Python; and quickly there."""

import dataclasses
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import typer
import yaml

import steadyrank
from steadyrank.pipeline import api, cli
from steadyrank.pipeline import run as stages
from steadyrank.pipeline.cli.application import WithBeamFlags
from steadyrank.pipeline.cli.terminal import Shown
from steadyrank.pipeline.config import load_any_config, load_config
from steadyrank.pipeline.config.given import any_config, folder_of
from steadyrank.pipeline.files import errors
from steadyrank.pipeline.files.urls import Url
from tests.helpers import tiny

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = typer.main.get_command(cli.app).commands
FUNCTIONS = {
    name: getattr(steadyrank, name)
    for name in api.__all__
    if inspect.isfunction(getattr(steadyrank, name))
}
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
REQUIRED = inspect.Parameter.empty
FIRST = {"config", "runs", "path"}  # what may be given without its name
GATES = {"divergence": {"max_micro": 100}, "auc": {"click": {"min": 0.0}}}
DOCUMENT = tiny.config_document(**tiny.LONG_ENOUGH, gates=GATES)
DOCUMENT["model"] = {"trunk": "lr"}  # compiles fast


def name_of(option) -> str:
    """Of an option that which users type: ``set`` for ``--set``."""
    typed = option.opts[0] if option.opts[0].startswith("--") else option.name
    return typed.removeprefix("--").replace("-", "_")


def options_of(command) -> dict[str, object]:
    """Name -> default of all that a command takes."""
    found = {
        name_of(option): REQUIRED if option.required else option.default
        for option in command.params
    }
    if isinstance(command, WithBeamFlags):
        found["beam_flags"] = ()
    return found


def parameters_of(function) -> dict[str, object]:
    found = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in found if p.name != "progress"}


def test_every_command_is_a_function():
    assert {name.replace("-", "_") for name in COMMANDS} == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_names_and_defaults_of_its_command(name):
    command = COMMANDS[name.replace("_", "-")]
    assert parameters_of(FUNCTIONS[name]) == options_of(command)


class TakenError(Exception):
    """What a function was called with, by name."""


def taking(function):
    """In its place: tells what it is called with."""

    def take(*arguments, **named):
        bound = inspect.signature(function).bind(*arguments, **named)
        bound.apply_defaults()
        raise TakenError(bound.arguments)

    return take


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_reaches_its_function(name, monkeypatch):
    """Each with a value of its own, so that no two can be exchanged."""
    kinds = typing.get_type_hints(FUNCTIONS[name])
    command, typed, wanted = name.replace("_", "-"), [], {}
    for number, option in enumerate(COMMANDS[command].params, 11):
        key = name_of(option)
        whole = int in (kinds[key], *typing.get_args(kinds[key]))
        words = [str(number) if whole else f"value{number}"]
        if option.multiple or option.nargs == -1:
            words.append(f"another{number}")
        wanted[key] = str(words) if len(words) > 1 else words[0]
        if kinds[key] is bool:
            typed.append(option.opts[0])
            wanted[key] = "True"
        elif option.opts[0].startswith("--"):
            typed += [part for word in words for part in (option.opts[0], word)]
        else:
            typed = [*words, *typed]
    if "beam_flags" in kinds:
        typed, wanted["beam_flags"] = [*typed, "--", "--runner=X"], "['--runner=X']"
    monkeypatch.setattr(api, name, taking(FUNCTIONS[name]))
    with pytest.raises(TakenError) as taken:
        cli.app([command, *typed], standalone_mode=False)
    found = dict(taken.value.args[0])
    assert isinstance(found.pop("progress", Shown()), Shown)
    assert {key: str(value) for key, value in found.items()} == wanted


@pytest.mark.parametrize("name", ["preprocess", "train", "export", "evaluate", "run"])
def test_every_argument_reaches_its_stage(name, monkeypatch):
    given = {"config": DOCUMENT, "progress": steadyrank.Progress()}
    for parameter in inspect.signature(FUNCTIONS[name]).parameters.values():
        value = f"a {parameter.name}"
        if isinstance(parameter.default, bool):
            value = True
        given.setdefault(parameter.name, value)
    given["set"] = {"train.seed": 77}
    if "input" in given:
        given["input"] = ["s3://b/log.csv"]
    monkeypatch.setattr(stages, name, taking(getattr(stages, name)))
    with pytest.raises(TakenError) as taken:
        FUNCTIONS[name](**given)
    found = taken.value.args[0]
    config = found.pop("config")
    assert config.train.seed == 77
    assert config.data.input == given.pop("input", DOCUMENT["data"]["input"])
    found = {{"folder": "data", "trained": "train"}.get(k, k): v for k, v in found.items()}
    told = {key: value for key, value in given.items() if key not in ("config", "set")}
    assert {k: str(v) for k, v in found.items()} == {k: str(v) for k, v in told.items()}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_and_gives(name):
    """By name but for what it is about, annotated, documented, with an example."""
    function = FUNCTIONS[name]
    parameters = list(inspect.signature(function).parameters.values())
    by_name = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert len(parameters) - len(by_name) == (parameters[0].name in FIRST)
    hints = typing.get_type_hints(function)
    assert set(hints) == {p.name for p in parameters} | {"return"}
    parts = re.split(r"\n    (Args|Returns|Raises|Example):\n", function.__doc__)
    assert parts[1::2] == ["Args", "Returns", "Raises", "Example"]
    told = re.findall(r"^        (\w+): ", parts[2], re.MULTILINE)
    assert sorted(told) == sorted(p.name for p in parameters)
    assert f"steadyrank.{name}(" in parts[8]


@pytest.mark.parametrize("name", [n for n in api.__all__ if n.endswith("Result")])
def test_a_result_does_not_change(name):
    result = getattr(steadyrank, name)
    assert dataclasses.is_dataclass(result) and result.__dataclass_params__.frozen
    told = re.findall(r"^        (\w+): ", result.__doc__, re.MULTILINE)
    assert told == [field.name for field in dataclasses.fields(result)]


def in_a_fresh_process(script: str) -> list:
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{script}"],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("TF_")}
        | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


HEAVY = "[m for m in ('tensorflow', 'apache_beam', 'pandas', 'numpy', 'pyarrow') if "
HEAVY += "m in sys.modules]"


def test_an_import_loads_nothing_before_it_is_asked_for():
    script = f"""
import steadyrank
first = sorted(m for m in sys.modules if m.startswith(("steadyrank.pipeline", "pydantic")))
names = {sorted(api.__all__)!r}
functions = [getattr(steadyrank, name) for name in names]
print(json.dumps([first, {HEAVY}, steadyrank.__version__]))
"""
    assert in_a_fresh_process(script) == [[], [], steadyrank.__version__]


def test_preprocessing_loads_no_tensorflow():
    """Every worker would hold it: half a gigabyte."""
    script = f"""
from steadyrank.pipeline.kinds import KINDS, _load
for kind in map(_load, KINDS.values()):
    kind
import steadyrank.pipeline.kinds.next_item.preprocess, steadyrank.pipeline.preprocess.stage
print(json.dumps({HEAVY}))
"""
    assert in_a_fresh_process(script) == ["apache_beam", "numpy", "pyarrow"]


def test_an_import_before_tensorflows_is_early_enough():
    script = """
import steadyrank, tensorflow as tf
steadyrank.run
print(json.dumps(tf.keras.__name__))
"""
    assert "tf_keras" in in_a_fresh_process(script)


def test_names_that_do_not_exist_are_no_attributes():
    with pytest.raises(AttributeError, match="no attribute 'trains'"):
        steadyrank.trains  # noqa: B018
    assert not hasattr(steadyrank, "runs")  # of the folder that they are from
    assert set(api.__all__) <= set(dir(steadyrank))
    gathered = {}
    exec("from steadyrank import *", gathered)
    assert gathered["run"] is api.run and set(api.__all__) <= set(gathered)
    for name in ("InputError", "PassingError", "DivergenceError"):
        assert getattr(steadyrank, name) is getattr(errors, name)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_is_the_same_in_every_form(path):
    """To the byte that is written beside the results, dates among them."""
    config = load_any_config(path)
    document = yaml.safe_load(path.read_text(encoding="utf-8").replace(" on:", " 'on':"))
    before = json.dumps(document, default=str)
    for given in (path, str(path), config, document):
        again = any_config(given)
        assert again == config
        assert again.model_dump_json() == config.model_dump_json()
    changed = any_config(document, {"train.seed": 77}, ["x.parquet", "s3://b/y"])
    assert changed.train.seed == 77
    assert changed.data.input == [str(Path("x.parquet").absolute()), "s3://b/y"]
    assert json.dumps(document, default=str) == before


@pytest.mark.parametrize("form", [dict, load_config, str])
@pytest.mark.parametrize(
    "overrides",
    [
        {"train.epochs": 3, "features.user.dim": 8},
        ["train.epochs=3", "features.user.dim=8"],
        ("train.epochs=3", "features.user.dim=8"),
    ],
)
def test_keys_are_overridden_in_every_form(form, overrides, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(tiny.CONFIG))
    given = tiny.config_document() if form is dict else form(path)
    config = any_config(given, overrides)
    assert config.train.epochs == 3 and config.features[0].dim == 8
    assert any_config(given, "train.epochs=2").train.epochs == 2
    assert any_config(given).train.epochs == 1


def test_what_paths_are_relative_to():
    assert folder_of("a/c.yaml") == folder_of(Path("a/c.yaml")) == Path("a")
    assert folder_of("s3://b/a/c.yaml") == "s3://b/a"
    assert folder_of("a/c.yaml", "s3://b") == Url("s3://b")
    assert folder_of({}) == Path() and folder_of({}, "x") == Path("x")


@pytest.mark.parametrize(
    ("given", "overrides", "said"),
    [
        (3, None, "must be a path, a URL, a dictionary or a Config. Received: int"),
        ({}, None, "config as given:\n  data: it is missing"),
        ("no.yaml", None, "cannot read config no.yaml"),
        (DOCUMENT, {"train.epoch": 2}, r"train.epoch: unknown key. Did you mean 'epochs'"),
        (DOCUMENT, {"train.batch_size.x": 2}, "set train.batch_size.x: set a key of"),
        (DOCUMENT, ["train.epochs"], "--set must be key.path=value"),
    ],
)
def test_a_config_that_will_not_do_is_refused(given, overrides, said, tmp_path):
    with pytest.raises(steadyrank.InputError, match=said):
        steadyrank.run(given, output=tmp_path / "run", set=overrides)
    assert not list(tmp_path.iterdir())


def test_a_next_item_model_has_no_stability():
    given = load_any_config(ROOT / "configs" / "sequence_cl.yaml")
    with pytest.raises(steadyrank.InputError, match="is not for next-item models"):
        steadyrank.stability(given, examples="e", output="o")


# Of README.md, run, beside the same command.


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
