"""What settings and numbers are called where MLflow keeps them, within its limits."""

import json
import re
from collections.abc import Iterator

# of servers of any version: later ones take longer texts
KEY, PARAMETER, TAG = 250, 500, 5000  # characters
CUT = "..."


def name_of(name: str) -> str:
    """A name as MLflow takes it: letters, digits, ``_-. /``, and a clean path.

    ``hr@10`` becomes ``hr_at_10``; whatever else it refuses, ``_``.
    """
    text = re.sub(r"[^\w\-. /]", "_", name.replace("@", "_at_"))
    parts = [re.sub(r"^\.+", _as_lines, part) or "_" for part in text.split("/")]
    return "/".join(parts)[:KEY].rstrip("/")


def _as_lines(dots: re.Match) -> str:
    return "_" * len(dots[0])


def cut(text: str, most: int) -> str:
    """A text of so many characters at most; one that was cut says so."""
    return text if len(text) <= most else text[: most - len(CUT)] + CUT


def parameters_of(settings: dict) -> dict[str, str]:
    """Settings by their paths: ``train.dense.clip`` -> ``clippy``.

    Items of a list that have names go by them, as in ``--set``; a list of values is one
    text.  What is null or empty is left out.

    Args:
        settings: Plain values, in dictionaries and lists.
    """
    return {name_of(key): cut(text, PARAMETER) for key, text in _leaves(settings, "")}


def _leaves(value, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list) and value and all(map(_is_named, value)):
        value = {item["name"]: _without_name(item) for item in value}
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}".lstrip("."))
    elif value not in (None, "", []):
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield path, text


def _is_named(item) -> bool:
    return isinstance(item, dict) and "name" in item


def _without_name(item: dict) -> dict:
    return {key: value for key, value in item.items() if key != "name"}
