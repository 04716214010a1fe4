"""Whether the files of a day have come, and how long they are waited for."""

import datetime
import re
import zoneinfo
from pathlib import Path

from steadyrank.pipeline.config.events import UNITS_MS
from steadyrank.pipeline.config.given import AnyConfig
from steadyrank.pipeline.config.log import DAY_MARK
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.raw_log.open import files_of


def lacks_files(config: AnyConfig, folder: Path, day: str, of: type = any) -> bool:
    """Whether patterns with ``{day}`` match nothing on a day.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        day: The day.
        of: ``any``: one of them matches nothing; ``all``: none matches anything.
    """
    paths = _paths_of(config, folder, day)
    return bool(paths) and of(not files_of(path) for path in paths)


def _paths_of(config: AnyConfig, folder: Path, day: str) -> list[str]:
    """The paths and patterns of a day."""
    dated = [pattern for pattern in config.data.input if DAY_MARK in pattern]
    return [within(folder, pattern.replace(DAY_MARK, day)) for pattern in dated]


def late(
    config: AnyConfig,
    folder: Path,
    day: str,
    give_up_after: str | None,
) -> str:
    """Why a night gives a day up whose files have not come; ``""``: they are there.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        day: The day.
        give_up_after: How long after the day's end files are waited for: ``6h``; None:
            for ever.

    Raises:
        PassingError: They may still come.
        InputError: ``give_up_after`` is no length of time.
    """
    until = None if give_up_after is None else _deadline(config, day, give_up_after)
    if not lacks_files(config, folder, day):
        return ""
    if until is None or datetime.datetime.now(datetime.timezone.utc) < until:
        said = f" They are waited for until {until:%Y-%m-%d %H:%M %Z}." if until else ""
        absent = [path for path in _paths_of(config, folder, day) if not files_of(path)]
        raise PassingError(
            f"the files of {day} have not come: no {', no '.join(absent)}.{said} Try again."
        )
    return f"no files of {day} came within {give_up_after} of its end: given up"


def _deadline(config: AnyConfig, day: str, after: str) -> datetime.datetime:
    """The moment from which a day's files are not waited for any more."""
    if not re.fullmatch(r"\d+[mhd]", after):
        raise InputError(
            "--give-up-after must be a count of m, h or d, such as 6h or 2d. Received: "
            f"{after!r}."
        )
    try:
        return _end_of(config, day, int(after[:-1]) * UNITS_MS[after[-1]])
    except OverflowError:
        raise InputError(
            f"--give-up-after {after} after the end of {day} is beyond the calendar. Give "
            "a shorter time, such as 6h, or another --day."
        ) from None


def _end_of(config: AnyConfig, day: str, later_ms: int) -> datetime.datetime:
    """So long after the end of a day."""
    zone = zoneinfo.ZoneInfo(config.data.timezone)
    start = datetime.datetime.combine(datetime.date.fromisoformat(day), datetime.time())
    end = (start + datetime.timedelta(days=1)).replace(tzinfo=zone)
    return end + datetime.timedelta(milliseconds=later_ms)
