"""A config as a document: read from YAML, overridden, not yet checked."""

import re
from pathlib import Path

import yaml

from steadyrank.pipeline.files.errors import InputError, near
from steadyrank.pipeline.files.urls import original


class Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2: ``on`` is a word, and a join's key.

    And without keys that stand twice, of which PyYAML takes the last.
    """

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        lines = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                raise yaml.YAMLError(
                    f"{key.value!r} stands in line {lines[name]} and again in line {line}. "
                    "Keep one"
                )
            lines[name] = line
        return node


def _moment(loader: Loader, node: yaml.ScalarNode):
    """A date; one that the calendar lacks stays a text, which its key then refuses."""
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:
        return node.value


Loader.add_constructor("tag:yaml.org,2002:timestamp", _moment)
Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"))
        if tag == "tag:yaml.org,2002:bool"
        else (tag, pattern)
        for tag, pattern in resolvers
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_document(path: Path, overrides: list[str] | None = None) -> dict:
    """Read and override a config file, unchecked; see ``load_config``."""
    try:
        document = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise InputError(f"cannot read config {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # of UTF-8, of a date
        raise InputError(f"config {original(Path(path))} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(
            f"config {original(Path(path))} must hold keys such as data, features, tasks."
        )
    for text in overrides or []:
        override(document, text)
    return document


def override(document: dict, text: str) -> None:
    """Set a key of a config that is still a dictionary, as ``load_config`` says."""
    path, equals, value_text = text.partition("=")
    if not equals:
        raise InputError(f"--set must be key.path=value. Received: {text!r}")
    try:
        value = yaml.load(value_text, Loader)
    except (yaml.YAMLError, ValueError) as error:  # of a date
        raise InputError(f"--set {path}: the value is not YAML: {error}") from None
    set_key(document, path, value, "--set")


def set_key(document: dict, path: str, value: object, source: str) -> None:
    """Set a key of a config that is still a dictionary.

    Args:
        document: It is changed.
        path: Such as ``train.batch_size``; items of a list go by name or number.
        value: The key's value; None, of an item of a list: the item goes.
        source: Who asks, for the message: ``"--set"``.

    Raises:
        InputError: The path leads through what is no section.
    """
    *parents, last = path.split(".")
    node = document
    for part in parents:
        node = _child(node, part, path, source)
    if isinstance(node, list) and value is None:
        node.remove(_child(node, last, path, source))
        return
    if not isinstance(node, dict):
        raise InputError(f"{source} {path}: set a key of an item, such as {path}.dim=8")
    node[last] = value


def _child(node, part: str, path: str, source: str):
    if isinstance(node, dict):
        return node.setdefault(part, {})
    if isinstance(node, list):
        named = {str(i.get("name")): i for i in node if isinstance(i, dict)}
        if part in named:
            return named[part]
        if part.isdigit() and int(part) < len(node):
            return node[int(part)]
        raise InputError(f"{source} {path}: there is no {part!r}. {near(part, named)}")
    raise InputError(f"{source} {path}: {part!r} is not a section.")
