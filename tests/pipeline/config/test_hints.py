"""A misspelt key is answered with the keys of the section that it stands in."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from steadyrank.pipeline.config import (
    Config,
    SequenceConfig,
    load_any_config,
    parse_any_config,
)
from steadyrank.pipeline.config.document import read_document
from steadyrank.pipeline.config.hints import allowed_keys
from steadyrank.pipeline.files.errors import InputError
from tests.helpers import tiny

CONFIG = read_document(Path(__file__).resolve().parents[3] / "configs" / "demo.yaml")
CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SHIPPED = [path.name for path in sorted(CONFIGS.glob("*.yaml"))]
STRAY = "zyx"


def places(document, path=()):
    """The path of every dictionary of a document, itself among them."""
    if isinstance(document, dict):
        yield path
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def at(node, path):
    """What stands at a path of a document, or of the checked config that it became."""
    for part in path:
        node = getattr(node, part) if isinstance(node, BaseModel) else node[part]
    return node


@pytest.mark.parametrize("name", SHIPPED)
def test_a_stray_key_anywhere_is_answered_with_its_sections_keys(name, tmp_path):
    config, document = load_any_config(CONFIGS / name), read_document(CONFIGS / name)
    tried = 0
    for path in places(document):
        section = at(config, path)
        if not isinstance(section, BaseModel):  # tasks by name, and the like
            continue
        changed = copy.deepcopy(document)
        at(changed, path)[STRAY] = 1
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text(yaml.safe_dump(changed))
        with pytest.raises(InputError) as error:
            load_any_config(wrong)
        (line,) = [line for line in str(error.value).splitlines() if STRAY in line]
        said = re.search(r"Allowed: (.*)\.$", line).group(1).split(", ")
        fields = type(section).model_fields.items()
        assert said == sorted(field.alias or name for name, field in fields), line
        tried += 1
    assert tried > 8


def test_a_task_that_is_called_as_a_section_is_a_task():
    document = tiny.config_document()
    document["tasks"][0]["name"] = "train"
    document["gates"] = {"auc": {"train": {"mn": 0.5}}}
    location = ("gates", "auc", "train", "mn")
    assert allowed_keys(location, Config) == ["min", "min_gain"]


@pytest.mark.parametrize(
    "root, location, keys",
    [
        (Config, ("model", "ple", "zyx"), {"levels", "task_experts"}),
        (Config, ("train", "task_weights", "gradnorm", "zyx"), {"alpha", "rate", "method"}),
        (Config, ("features", 3, "numeric", "zyx"), {"buckets", "transform"}),
        (Config, ("gates", "slices", 0, "calibration", "a", "deciles", "b"), {"max_error"}),
        (Config, ("sweep", "space", "train.dense", "when", "zyx"), {"key", "values"}),
        (SequenceConfig, ("train", "phases", 1, "zyx"), {"blocks", "grow"}),
        (SequenceConfig, ("data", "sequences", "keep", "zyx"), {"column"}),
    ],
)
def test_paths_that_no_shipped_config_has(root, location, keys):
    assert keys <= set(allowed_keys(location, root))


def test_a_section_that_does_not_hold_is_shown_as_it_was_given():
    with pytest.raises(
        InputError, match=r"data\.split: needs .*Received: \{'by': 'group'\}"
    ):
        data = {**CONFIG["data"], "split": {"by": "group"}}
        parse_any_config({**CONFIG, "data": data}, "given")


@pytest.mark.parametrize("name", ["_x", "1x", "x y", "x-y"])
def test_a_feature_is_called_as_an_input_of_tensorflow_can_be(name, tmp_path):
    wrong = tmp_path / "wrong.yaml"
    document = read_document(CONFIGS / "demo.yaml")
    document["features"][0]["name"] = name
    wrong.write_text(yaml.safe_dump(document))
    with pytest.raises(InputError, match="name: must match"):
        load_any_config(wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"trunk": "dcn_v3"}}, "Received: 'dcn_v3'. Did you mean 'dcn_v2'?"),
        ({"model": {"trunk": "zzz"}}, "Received: 'zzz'"),
        (
            {"train": {"dense": {"clip": "clipy"}}},
            "Received: 'clipy'. Did you mean 'clippy'?",
        ),
        ({"train": {"dense": {"clip": 3}}}, "Received: 3"),
    ],
)
def test_a_misspelt_choice_is_answered_with_the_nearest(change, said):
    with pytest.raises(InputError) as caught:
        parse_any_config(tiny.config_document() | change, "c")
    (line,) = [line for line in str(caught.value).splitlines() if "must be" in line]
    assert line.endswith(said) and line.count("Received") == 1
