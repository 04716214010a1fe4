"""A config in any form that a command takes: a file, its content, or a ``Config``."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steadyrank.pipeline.config import (
    Config,
    override,
    parse_any_config,
    read_document,
    set_key,
)
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.places import GivenPlace, Place, place_of
from steadyrank.pipeline.files.staging import Staging

AnyConfig = Config | SequenceConfig
GivenConfig = GivenPlace | Mapping[str, Any] | AnyConfig
Overrides = Iterable[str] | Mapping[str, Any]  # "train.epochs=2", or {"train.epochs": 2}
Inputs = GivenPlace | Iterable[GivenPlace]


def any_config(
    given: GivenConfig, overrides: Overrides | None = None, inputs: Inputs | None = None
) -> AnyConfig:
    """The checked config of a model of any kind.

    Args:
        given: A YAML file's path or URL, its content as a dictionary, or a config.
        overrides: ``"train.epochs=2"``, several such, or ``{"train.epochs": 2}``.
        inputs: What ``data.input`` shall be, relative to the working folder.

    Raises:
        InputError: It cannot be read, or says what is not possible.
    """
    document = document_of(given, overrides)
    if inputs:
        set_key(document, "data.input", as_inputs(inputs), "--input")
    return parse_any_config(document, source_of(given))


def file_of(given: GivenConfig) -> Place | None:
    """The file that a config stands in; None: it stands in none.

    Raises:
        InputError: It is no form of a config.
    """
    if isinstance(given, str | os.PathLike):
        return place_of(given)
    if isinstance(given, Mapping | Config | SequenceConfig):
        return None
    raise InputError(
        "config must be a path, a URL, a dictionary or a Config. "
        f"Received: {type(given).__name__}. Pass one of these."
    )


def source_of(given: GivenConfig) -> str:
    """What messages call a config."""
    return str(file_of(given) or "as given")


def folder_of(given: GivenConfig, data: GivenPlace | None = None) -> Place:
    """What a config's paths are relative to: ``data``, else the folder of its file.

    Of a config that stands in no file, that is the working folder.
    """
    file = file_of(given)
    return place_of(data) if data is not None else file.parent if file else Path()


def document_of(given: GivenConfig, overrides: Overrides | None = None) -> dict[str, Any]:
    """The unchecked content of a config; what was given is not changed."""
    file = file_of(given)
    if file is not None:
        with Staging() as staging:
            document = read_document(staging.read_file(file))
    elif isinstance(given, Config | SequenceConfig):
        document = _plain(given.model_dump())
    else:
        document = _plain(given)
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            set_key(document, key, _plain(value), "set")
    else:
        for text in [overrides] if isinstance(overrides, str) else overrides or ():
            override(document, text)
    return document


def _plain(value: Any) -> Any:
    """A copy, of what YAML can say."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def as_inputs(given: Inputs) -> list[str]:
    """Paths and patterns of a log, absolute; URLs as they are."""
    named = [given] if isinstance(given, str | os.PathLike) else given
    places = [place_of(each) for each in named]
    return [str(p.absolute() if isinstance(p, Path) else p) for p in places]


def inputs_of(config: AnyConfig) -> list[str]:
    """All paths and patterns that a config has preprocessing read."""
    joined = [join.input for join in getattr(config.data, "join", ())]
    return [*config.data.input, *joined, *getattr(config.data, "earlier_events", ())]
