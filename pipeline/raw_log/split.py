"""Which split and which window a row belongs to."""

import datetime
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import to_strings
from steadyrank.pipeline.raw_log.zones import utc_offset_ms

SPLITS = ("train", "validation", "test")
DAY = len("2026-11-24")  # the start of a window's name
ALL = "all"  # the only window of a log without time


# what data sets call their parts, in lower case
WORDS = {"train": 0, "training": 0, "test": 2, "testing": 2}
WORDS |= dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), 1)
UNKNOWN = -1


def read_split(values: pa.Array) -> np.ndarray:
    """Number of each row's split in ``SPLITS`` by a column; ``UNKNOWN``: none of them."""
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(to_strings(values)[0]))
    place = pc.index_in(texts, value_set=pa.array([*WORDS]))
    found = pa.array([*WORDS.values()], pa.int8()).take(place)
    return pc.fill_null(found, UNKNOWN).to_numpy(zero_copy_only=False)


def assign_split(
    data: Any, ms: np.ndarray | None, hashed: np.ndarray, held_out: bool = False
) -> np.ndarray:
    """Number of each row's split in ``SPLITS``.

    Args:
        data: The config's ``data`` section.
        ms: Time of each row, int64 milliseconds since 1970; None: no time.
        hashed: uint64 fingerprints of the rows, or of their groups, from which fractions
            are drawn: equal ones fall into the same split, and a run repeated into the
            same splits.
        held_out: Whether the rows are of a file that ``split.files`` names.

    Returns:
        int8 ``[rows]``.
    """
    split = data.split
    if split.files and not held_out:
        return np.zeros(len(hashed), np.int8)
    if split.within_test:
        late = np.where(uniform(hashed) < split.validation, 1, 2)
        return np.where(ms < data.moment_ms(split.test), 0, late).astype(np.int8)
    if split.by_fraction:
        bounds = [1 - split.validation - split.test, 1 - split.test]
        return np.searchsorted(bounds, uniform(hashed), side="right").astype(np.int8)
    bounds = [data.moment_ms(split.validation), data.moment_ms(split.test)]
    return np.searchsorted(bounds, ms, side="right").astype(np.int8)


def uniform(hashed: np.ndarray) -> np.ndarray:
    """Hashes as numbers in [0, 1)."""
    return (hashed >> np.uint64(11)).astype(np.float64) / 2.0**53


def assign_window(data: Any, ms: np.ndarray | None, rows: int) -> np.ndarray:
    """Number of each row's window: windows are counted in local time from 1970."""
    if ms is None or data.window_ms is None:
        return np.zeros(rows, np.int64)
    return (ms + utc_offset_ms(ms, data.timezone)) // data.window_ms


def last_training_window(data: Any) -> str:
    """The window before the moment at which training rows end.

    Raises:
        InputError: There are no such windows, or the moment cuts one in two.
    """
    if said := why_no_border(data):
        raise InputError(said)
    ends = np.array([data.moment_ms(data.split.training_ends)])
    return window_name(data, int(assign_window(data, ends, 1)[0]) - 1)


def why_no_border(data: Any) -> str:
    """Why training rows do not end between two windows; ``""``: they do."""
    if not data.split.by_moments:
        return (
            "a log is only appended to by moments: data.split must name one. Received: "
            f"{data.split.model_dump(mode='json', exclude_defaults=True)}."
        )
    if data.time is None or data.window_ms is None:
        return (
            "a log is only appended to by windows: data.time must name a column and "
            f"data.window a length. Received: time={data.time}, window={data.window}."
        )
    ends = np.array([data.moment_ms(data.split.training_ends)])
    if (ends + utc_offset_ms(ends, data.timezone))[0] % data.window_ms:
        return (
            f"data.split: {data.split.training_ends} is no border of windows of "
            f"{data.window}; training rows must end with a window to be appended to."
        )
    return ""


def window_name(data: Any, window: int) -> str:
    """A window's first moment; names sort as windows do."""
    if data.time is None or data.window_ms is None:
        return ALL
    start = datetime.datetime(1970, 1, 1) + datetime.timedelta(
        milliseconds=window * data.window_ms
    )
    if data.window_ms % 86_400_000 == 0:
        return start.strftime("%Y-%m-%d")
    return start.strftime("%Y-%m-%dT%H-%M")


def span_of(split: str, windows: Collection[str]) -> str:
    """A split in words, with the days that its windows begin on."""
    days = sorted({window[:DAY] for window in windows} - {ALL})
    if not days:
        return split
    return (
        f"{split} ({days[0]})" if len(days) == 1 else f"{split} ({days[0]} to {days[-1]})"
    )
