"""Local clocks and UTC, exact to the second for every zone; whole columns at a time."""

import datetime
import zoneinfo

import numpy as np

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
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
        changes[place] = _change(zone, int(hours[place]) * 3600) * 1000
    return np.where(ms < changes[inverse], first[inverse], last[inverse])


def _change(zone: zoneinfo.ZoneInfo, start: int) -> int:
    """The second at which the offset changes, of an hour in which it does."""
    low, high, was = start, start + 3600, _offset(zone, start)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == was else (low, middle)
    return high


def _offset(zone: zoneinfo.ZoneInfo, second: int) -> int:
    """Milliseconds."""
    moment = EPOCH + datetime.timedelta(seconds=second)
    return round(moment.astimezone(zone).utcoffset().total_seconds() * 1000)
