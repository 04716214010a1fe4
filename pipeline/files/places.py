"""Places that a command is given, and what it refuses of them before it begins."""

import os
from pathlib import Path
from typing import overload

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.urls import Url, locate

Place = Path | Url
GivenPlace = str | os.PathLike[str]  # a path, or a URL


@overload
def place_of(given: GivenPlace) -> Place: ...
@overload
def place_of(given: None) -> None: ...
def place_of(given: GivenPlace | None) -> Place | None:
    """The place that a path or a URL names; None: None.

    Raises:
        InputError: It is a URL of another scheme.
    """
    return None if given is None else locate(os.fspath(given))


def local_path(given: GivenPlace) -> Path:
    """A path, for what needs the locks, links and renames of a local folder.

    Raises:
        InputError: It is a URL.
    """
    place = place_of(given)
    if not isinstance(place, Path):
        raise InputError(
            f"this works in local folders only. Received: {place}. Copy it to one first."
        )
    return place


def keep_apart(output: Place, *inputs: Place | None) -> None:
    """Refuse an output in whose place the working folder stands, or an input.

    Raises:
        InputError: It is the working folder, is or holds an input, or has no name.
    """
    if isinstance(output, Path) and (
        output.name in ("", "..") or Path.cwd().is_relative_to(_absolute(output))
    ):
        raise InputError(
            "--output must be a folder of its own, and neither the working folder nor "
            f"one that holds it. Received: {output}. Name one in it: {output / 'out'}."
        )
    for place in inputs:
        if place and f"{_absolute(place)}/".startswith(f"{_absolute(output)}/"):
            raise InputError(
                f"--output would take the place of an input, {place}. Received: {output}. "
                "Choose another --output."
            )


def _absolute(place: Place) -> str:
    # not ``resolve``, which fails on a loop of links
    return os.path.realpath(place) if isinstance(place, Path) else place.rstrip("/")
