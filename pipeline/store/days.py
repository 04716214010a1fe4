"""The days of a night: which is judged, which are read, which are trained on."""

import datetime
from pathlib import Path
from typing import Any

from steadyrank.pipeline.config.given import AnyConfig
from steadyrank.pipeline.config.log import DAY_MARK
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import kind_of
from steadyrank.pipeline.kinds.protocol import Kind
from steadyrank.pipeline.preprocess.plan import Addition
from steadyrank.pipeline.raw_log.split import DAY
from steadyrank.pipeline.store.lateness import lacks_files

DAY_MS = 86_400_000


def checked_day(config: AnyConfig, day: str) -> str:
    """The day, if it is one, and the config can be used for nights.

    Raises:
        InputError: It is not, or cannot.
    """
    try:
        day = datetime.date.fromisoformat(day).isoformat()
    except ValueError:
        raise InputError(
            f"--day must be a date such as 2022-05-06. Received: {day!r}."
        ) from None
    data = config.data
    if not data.split.within_test:
        raise InputError(
            "data.split.validation must be a fraction, of the rows of the day, and "
            f"data.split.test a date, which --day replaces. Received: "
            f"validation={data.split.validation}, test={data.split.test}."
        )
    if data.window_ms is None or DAY_MS % data.window_ms:
        raise InputError(
            "data.window must be a day, or part one into equal parts: 1d, 6h. Received: "
            f"{data.window}. Set one of these."
        )
    return day


def on_day(
    config: AnyConfig, folder: Path, day: str, addition: Addition
) -> tuple[AnyConfig, list[str]]:
    """The config of one night: its day tests, and the files with its rows are read.

    Returns:
        Also the days that are passed over, having no files: else one of them would
        refuse every night from then on.
    """
    split = config.data.split.model_copy(update={"test": datetime.date.fromisoformat(day)})
    patterns, days = config.data.input, _unread(kind_of(config), addition)
    before = [d for d in days if addition.base and d != day]
    missing = [d for d in before if lacks_files(config, folder, d, all)]
    read = [d for d in days if d not in missing]
    paths = dict.fromkeys(p.replace(DAY_MARK, d) for p in patterns for d in read)
    update = {"split": split, "input": list(paths)}
    data = config.data.model_copy(update=update)
    return config.model_copy(update={"data": data}), missing


def _unread(kind: Kind, addition: Addition) -> list[str]:
    """The days to read after the base's training days; any, where there is no base."""
    if addition.base is None:
        return ["*"]
    base: Any = kind.open_examples(addition.base)
    last = list(base.windows("train"))[-1][:DAY]
    first = datetime.date.fromisoformat(last)
    count = (datetime.date.fromisoformat(addition.until) - first).days
    days = [(first + datetime.timedelta(n)).isoformat() for n in range(count + 1)]
    return [day for day in days if day not in addition.without]


def test_day(examples: ExampleSet) -> str:
    """The day that an example set tests on."""
    return next(iter(examples.windows("test")))[:DAY]


def windows_of(
    config: AnyConfig, examples: ExampleSet, base: Path | None
) -> tuple[str, ...]:
    """The training windows of a night: all of its first one, then the last days'.

    Of those that the base has not seen, none is passed over: they are more than the
    last days where nights were refused, or never ran.
    """
    windows = tuple(examples.windows("train"))
    if base is None or config.nightly.train_days is None:
        return windows
    before: Any = kind_of(config).open_examples(base / "examples")
    seen = before.windows("train")
    days = sorted({window[:DAY] for window in windows})[-config.nightly.train_days :]
    return tuple(w for w in windows if w[:DAY] in days or w not in seen)
