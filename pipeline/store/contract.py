"""Days of a store that do not keep the data contract."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

from steadyrank.pipeline.files.errors import RefusedError
from steadyrank.pipeline.preprocess.plan import Addition

Made = TypeVar("Made")


def without_refused(
    make: Callable[[Addition], Made], addition: Addition
) -> tuple[Made | None, dict[str, list[str]]]:
    """Make the examples of a night without the days that the data contract refuses.

    Args:
        make: Makes them.
        addition: The days to read, up to the night's own.

    Returns:
        What ``make`` gave, and day -> reasons of those that were refused; None where the
        night's own is among them, and nothing was made.
    """
    refused: dict[str, list[str]] = {}
    while True:
        without = (*addition.without, *refused)
        try:
            return make(dataclasses.replace(addition, without=without)), refused
        except RefusedError as error:
            for day in error.days:
                refused[day] = [why for why in error.reasons if day in why] or [str(error)]
            if addition.until in refused:
                return None, refused


def left_out(nights: Mapping[str, dict]) -> list[str]:
    """Days that are never trained on: to blame for a refusal, or refused themselves."""
    blamed = {night["left_out"] for night in nights.values()} - {None}
    return sorted(blamed.union(*(night.get("refused", {}) for night in nights.values())))
