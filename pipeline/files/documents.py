"""JSON files that stages write, checked when they are read again; ``shapes`` has each."""

import json
from typing import cast

from pydantic import BaseModel, ConfigDict, ValidationError

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.mistakes import said_of


class Document(BaseModel):
    """A JSON object: keys that its class does not name may be there."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())


def parse(text: str | bytes, shape: type[Document], source: object) -> dict:
    """Read a JSON document that a stage wrote.

    Args:
        text: All of it; bytes are UTF-8.
        shape: What it must hold.
        source: Where it is from, for the message.

    Returns:
        It, as it stands there.

    Raises:
        InputError: It is not JSON, holds numbers that are none, is nested too deep, or
            lacks what it must hold.
    """
    try:
        content = DECODER.decode(text.decode() if isinstance(text, bytes) else text)
    except ValueError as error:
        raise InputError(f"{source} is corrupt: {error}. Write it again.") from None
    except RecursionError:
        raise InputError(
            f"{source} is corrupt: it is nested too deep. Write it again."
        ) from None
    return require(content, shape, source)


def require(content: object, shape: type[Document], source: object) -> dict:
    """A JSON document, if it holds what it must; see ``parse``.

    Raises:
        InputError: It does not.
    """
    try:
        shape.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{source} is corrupt: {_first(error)}") from None
    return cast(dict, content)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) < float("inf") else _no_number(text)


DECODER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    place = ".".join(map(str, found["loc"]))
    received = type(found["input"]).__name__
    said = "it must be a JSON object" if not place else f"{place}: {said_of(found)}"
    return f"{said}. Received: {received}." if found["type"] != "missing" else f"{said}."
