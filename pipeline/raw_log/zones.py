"""Local clocks and UTC, exact to the second for every zone; whole columns at a time."""

import datetime
import functools
import zoneinfo

import numpy as np

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
TABLE_FROM_MS = -2_208_988_800_000  # 1900; the first offset holds before
CYCLE_FROM_MS = 4_102_444_800_000  # 2100: from here on all zones go by rules
CYCLE_MS = 146_097 * DAY_MS  # 400 years, which are whole weeks
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def local_to_utc(ms: np.ndarray, timezone: str) -> np.ndarray:
    """Local clock times to UTC; of two that the clock shows twice, the later one.

    A time that the clock leaves out counts on from the moment at which it was set.
    """
    if timezone == "UTC":
        return ms
    before = ms - utc_offset_ms(ms - DAY_MS, timezone)
    after = ms - utc_offset_ms(ms + DAY_MS, timezone)
    found = np.minimum(before, after)
    for moment in (found, np.maximum(before, after)):
        right = moment + utc_offset_ms(moment, timezone) == ms
        found = np.where(right, moment, found)
    left_out = found + utc_offset_ms(found, timezone) != ms
    return np.where(left_out, before, found)


def utc_offset_ms(ms: np.ndarray, timezone: str) -> np.ndarray:
    """The time zone's offset at each moment.

    It is looked up at both ends of every hour that occurs.  Where they differ, the
    second between them at which it changes is searched for.
    """
    if timezone == "UTC":
        return np.zeros(len(ms), np.int64)
    hours, inverse = np.unique(ms // HOUR_MS, return_inverse=True)
    zone = zoneinfo.ZoneInfo(timezone)
    ends = np.unique(np.concatenate([hours, hours + 1]))
    known = {hour: _offset(zone, hour * 3600) for hour in ends.tolist()}
    first = np.array([known[hour] for hour in hours.tolist()], np.int64)
    last = np.array([known[hour + 1] for hour in hours.tolist()], np.int64)
    changes = (hours + 1) * HOUR_MS
    for place in np.flatnonzero(first != last):
        start = int(hours[place]) * 3600
        changes[place] = _change(zone, start, start + 3600) * 1000
    return np.where(ms < changes[inverse], first[inverse], last[inverse])


@functools.lru_cache(maxsize=16)
def offsets_of(timezone: str) -> tuple[np.ndarray, np.ndarray]:
    """Every change of a zone's offset, for ``in_table``: from when on it is what.

    Returns:
        int64 milliseconds since 1970, rising, the first the earliest moment of all; and
        int64 milliseconds, the offsets.
    """
    zone = zoneinfo.ZoneInfo(timezone)
    lists = range(TABLE_FROM_MS, CYCLE_FROM_MS, DAY_MS)
    rules = range(CYCLE_FROM_MS, CYCLE_FROM_MS + CYCLE_MS + 1, WEEK_MS)  # change monthly
    seconds = [ms // 1000 for ms in (*lists, *rules)]
    found = [_offset(zone, second) for second in seconds]
    starts, offsets = [-(2**63)], [found[0]]
    for place in np.flatnonzero(np.diff(found)).tolist():
        begin, end = seconds[place : place + 2]
        step = 3600 if begin * 1000 < CYCLE_FROM_MS else end - begin
        for at in range(begin, end, step):
            if _offset(zone, at) != (later := _offset(zone, at + step)):
                starts.append(_change(zone, at, at + step) * 1000)
                offsets.append(later)
    return np.array(starts, np.int64), np.array(offsets, np.int64)


def in_table(ms, array):
    """Moments whose offsets stand in the table: rules repeat every 400 years.

    Args:
        ms: int64 milliseconds since 1970 in UTC; NumPy array or tensor.
        array: What chooses: ``numpy``, or ``tensorflow``.
    """
    folded = CYCLE_FROM_MS + (ms - CYCLE_FROM_MS) % CYCLE_MS
    return array.where(ms < CYCLE_FROM_MS, ms, folded)


def clock_shows(kind: str, local):
    """The hour, 0 to 23, or the weekday, Monday 0, of a local clock's milliseconds."""
    if kind == "hour":
        return local // HOUR_MS % 24
    return (local // DAY_MS + 3) % 7  # 1970 began with a Thursday


def _change(zone: zoneinfo.ZoneInfo, start: int, end: int) -> int:
    """The second at which the offset changes, between two in which it does once."""
    low, high, was = start, end, _offset(zone, start)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == was else (low, middle)
    return high


def _offset(zone: zoneinfo.ZoneInfo, second: int) -> int:
    """Milliseconds."""
    moment = EPOCH + datetime.timedelta(seconds=second)
    return round(moment.astimezone(zone).utcoffset().total_seconds() * 1000)
