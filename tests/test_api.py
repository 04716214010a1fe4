"""``import steadyrank``: what the command line does, from Python; and quickly there."""

import dataclasses
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
from tests.helpers.functions import DOCUMENT, ROOT

COMMANDS = typer.main.get_command(cli.app).commands

FUNCTIONS = {
    name: getattr(steadyrank, name)
    for name in api.__all__
    if inspect.isfunction(getattr(steadyrank, name))
}

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))

REQUIRED = inspect.Parameter.empty

FIRST = {"config", "runs", "path"}  # what may be given without its name


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
