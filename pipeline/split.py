"""Which split and which window a row belongs to."""

import datetime

import numpy as np

from pipeline.columns import utc_offset_ms
from pipeline.config.sections import Data

SPLITS = ("train", "validation", "test")
ALL = "all"  # the only window of a log without time


def assign_split(
    data: Data, ms: np.ndarray | None, hashed: np.ndarray, held_out: bool = False
) -> np.ndarray:
    """Number of each row's split in ``SPLITS``.

    Args:
        data: The config's ``data`` section.
        ms: Time of each row, int64 milliseconds since 1970; None: no time.
        hashed: uint64 fingerprints, from which fractions are drawn: equal rows fall
            into the same split, and a run repeated into the same splits.
        held_out: Whether the rows are of a file that ``split.files`` names.

    Returns:
        int8 ``[rows]``.
    """
    split = data.split
    if split.files and not held_out:
        return np.zeros(len(hashed), np.int8)
    if split.by_fraction:
        uniform = (hashed >> np.uint64(11)).astype(np.float64) / 2.0**53
        bounds = [1 - split.validation - split.test, 1 - split.test]
        return np.searchsorted(bounds, uniform, side="right").astype(np.int8)
    bounds = [data.moment_ms(split.validation), data.moment_ms(split.test)]
    return np.searchsorted(bounds, ms, side="right").astype(np.int8)


def assign_window(data: Data, ms: np.ndarray | None, rows: int) -> np.ndarray:
    """Number of each row's window: windows are counted in local time from 1970."""
    if ms is None or data.window_ms is None:
        return np.zeros(rows, np.int64)
    return (ms + utc_offset_ms(ms, data.timezone)) // data.window_ms


def window_name(data: Data, window: int) -> str:
    """A window's first moment; names sort as windows do."""
    if data.time is None or data.window_ms is None:
        return ALL
    start = datetime.datetime(1970, 1, 1) + datetime.timedelta(
        milliseconds=window * data.window_ms
    )
    if data.window_ms % 86_400_000 == 0:
        return start.strftime("%Y-%m-%d")
    return start.strftime("%Y-%m-%dT%H-%M")
