"""What is said of a key that a config must not have, or that holds what it must not."""

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from steadyrank.pipeline.files.errors import near
from steadyrank.pipeline.files.mistakes import said_of

MOST_SHOWN = 300  # characters of what was received
ASKS = re.compile(r"//[^/\s@]*@")  # of a URL: who does, and a password


def explain(error: dict, document: dict, root: type[BaseModel]) -> str:
    """One line about one mistake: the key's path by name, what is wrong, what to do.

    No password that a URL holds is repeated.

    Args:
        error: One of pydantic's ``ValidationError.errors()``.
        document: What was checked.
        root: The model that it was checked against.
    """
    return ASKS.sub("//***@", _explained(error, document, root))


def _explained(error: dict, document: dict, root: type[BaseModel]) -> str:
    path, node, siblings = [], document, None
    for part in error["loc"]:
        if isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            name = node.get("name", part) if isinstance(node, dict) else part
            path.append(str(name))
        elif isinstance(node, dict) and part in node:
            siblings, node = part, node[part]
            path.append(str(part))
        elif error["type"] == "missing" or (
            not isinstance(node, dict) and not _is_alternative(part)
        ):
            path.append(str(part))
    where = ".".join(path) or "config"
    if error["type"] == "extra_forbidden":
        return (
            f"{where}: unknown key. {near(str(siblings), allowed_keys(error['loc'], root))}"
        )
    message = said_of(error)
    received = error.get("input")
    if error["type"] == "missing" or "Received" in message or not error["loc"]:
        return f"{where}: {message}"
    if isinstance(received, dict | list | BaseModel) and error["type"] != "value_error":
        return f"{where}: {message}"  # it names what is wrong in them
    return f"{where}: {message}. Received: {_short(repr(received))}"


def _is_alternative(part: str | int) -> bool:
    """Whether a part of a place is pydantic's name of one of several kinds of value."""
    return bool(
        re.match(r"(constrained-\w+|list\[|function-|nullable|int$|float$|str$)", str(part))
    )


def _short(text: str) -> str:
    """What fits on a line or two."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)})"


def allowed_keys(location: tuple, root: type[BaseModel]) -> list[str]:
    """The keys that a section allows, found by walking the models along a path.

    Args:
        location: As pydantic gives it: keys, numbers of a list's items, and which of
            several models was meant. The last is the key itself.
        root: The model that the path starts from.
    """
    found = [root]
    for part in location[:-1]:
        found = [inner for kind in found for inner in _step(kind, part)]
    return sorted({key for kind in found for s in _sections(kind) for key in keys_of(s)})


def keys_of(section: type[BaseModel]) -> list[str]:
    """The keys of a section, as they are written."""
    return [field.alias or name for name, field in section.model_fields.items()]


def _step(kind: Any, part: str | int) -> list[Any]:
    """What a part of a path leads to from a type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _step(inner[0], part)
    if origin in (Union, types.UnionType):
        tagged = [k for k in inner if any(_is_told_by(s, part) for s in _sections(k))]
        return tagged or [i for k in inner for i in _step(k, part)]
    if origin in (list, tuple):
        return [inner[0]]
    if origin is dict:
        return [inner[1]]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        # which of several models a list's item is comes as a part of its own
        return [kind.model_fields[part].annotation] if part in kind.model_fields else [kind]
    return []


def _sections(kind: Any) -> Iterator[type[BaseModel]]:
    """The models that a type may be."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    elif get_origin(kind) in (Annotated, Union, types.UnionType):
        for inner in get_args(kind):
            yield from _sections(inner)


def _is_told_by(section: type[BaseModel], tag: str | int) -> bool:
    """Whether a field that can have one value alone has this one."""
    fields = (field.annotation for field in section.model_fields.values())
    return any(get_origin(k) is Literal and get_args(k) == (tag,) for k in fields)
