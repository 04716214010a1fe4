"""A config as a document: read from YAML, overridden, not yet checked."""

import re
from pathlib import Path

import yaml

from steadyrank.pipeline.files.errors import InputError, fault, near
from steadyrank.pipeline.files.urls import original

MOST_BYTES, MOST_VALUES, DEEPEST = 1 << 22, 100_000, 50  # of a config


class Loader(yaml.SafeLoader):
    """YAML with the booleans of version 1.2: ``on`` is a word, and a join's key.

    And without keys that stand twice, of which PyYAML takes the last; of a size and a depth
    that a config has, aliases written out.
    """

    def __init__(self, stream):
        super().__init__(stream)
        self._within = self._values = 0

    def compose_node(self, parent, index):
        self._within, self._values = self._within + 1, self._values + 1
        _require_small(self._within, self._values)
        node = super().compose_node(parent, index)
        self._within -= 1
        return node

    def get_single_node(self):
        node = super().get_single_node()
        if node is not None:
            _size(node, {})
        return node

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


def _size(node: yaml.Node, known: dict) -> tuple[int, int]:
    """Depth and number of a node's values, its aliases written out."""
    if id(node) in known:
        if known[id(node)] is None:
            raise yaml.YAMLError("a part of it is an alias of itself")
        return known[id(node)]
    known[id(node)] = None
    inner = [] if isinstance(node, yaml.ScalarNode) else node.value
    if isinstance(node, yaml.MappingNode):
        inner = [each for pair in inner for each in pair]
    sizes = [_size(each, known) for each in inner]
    depth = 1 + max((depth for depth, _ in sizes), default=0)
    values = 1 + sum(values for _, values in sizes)
    _require_small(depth, values)
    known[id(node)] = depth, values
    return depth, values


def _require_small(depth: int, values: int) -> None:
    if depth > DEEPEST:
        raise yaml.YAMLError(f"it is nested deeper than {DEEPEST}")
    if values > MOST_VALUES:
        raise yaml.YAMLError(f"it holds more than {MOST_VALUES} values, with its aliases")


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
        with Path(path).open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        document = yaml.load(text.decode("utf-8-sig"), Loader)
    except OSError as error:
        raise fault(f"cannot read config {path}: {error.strerror}", error) from None
    except (yaml.YAMLError, ValueError) as error:  # of UTF-8, of a date
        raise InputError(f"config {original(Path(path))} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(
            f"config {original(Path(path))} must hold keys such as data, features, "
            f"tasks. Received: {type(document).__name__}. docs/config.md names all."
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
    if len(parents) >= DEEPEST:
        raise InputError(
            f"{source} {path[:60]}...: it must not be nested deeper than {DEEPEST}. "
            "Take levels out."
        )
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
    raise InputError(
        f"{source} {path}: {part!r} is not a section, but a value. Set a key of a "
        "section, such as train.epochs=2."
    )
