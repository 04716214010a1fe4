"""Times in every form to milliseconds, whole columns at a time."""

import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.config.time_format import MONTHS, ZONE, time_pattern
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import (
    is_bytes,
    is_number,
    is_text,
    kept,
    to_floats,
    to_integers,
    to_strings,
    trimmed,
)
from steadyrank.pipeline.raw_log.zones import local_to_utc

PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
EARLIEST_MS, LATEST_MS = -2_208_988_800_000, 253_339_228_800_000  # years 1900 to 9997
DAY_MS = 86_400_000

# of SQL engines: 2026-01-01, 2026-01-01 00:05:07.123 UTC, 2026-01-01T00:05+05:30
ISO = (
    r"^(?P<Y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})"
    r"(?:[ T](?P<H>\d{2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    rf"(?P<z>{ZONE})?)?$"
)
LOCAL = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$"


def require_time(kind: pa.DataType, where: str) -> None:
    """Raise InputError where a column of this type cannot hold times."""
    date = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    readable = is_number(kind) or is_text(kind) or is_bytes(kind) or pa.types.is_null(kind)
    if not (date or readable) or pa.types.is_fixed_size_binary(kind):
        raise InputError(
            f"{where} is {kind}, which cannot order the log. Allowed: integers, reals, "
            "timestamps, dates, and strings that hold one of these."
        )


def to_ms(
    values: pa.Array, unit: str, timezone: str, form: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """A time column as milliseconds since 1970 in UTC.

    Args:
        values: Integers or reals in ``unit``, Arrow times, or strings that hold either
            numbers or ISO dates and times; each row by itself.
        unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``.
        timezone: Of times that do not say theirs.
        form: How strings and whole numbers are written; ``""``: as ``values`` says.

    Returns:
        int64 ``[rows]``, and where a time is missing, cannot be read or is not within
        the years 1900 to 9997 (mostly a wrong ``unit``).
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_bytes(values.type):
        values = to_strings(values)[0]
    if form and pa.types.is_integer(values.type):
        values = values.cast(pa.string())
    if is_text(values.type):
        ms, is_local = _texts_ms(trimmed(values), unit, form)
    elif is_number(values.type) or pa.types.is_null(values.type):
        ms, is_local = _numbers_ms(values, unit), np.zeros(len(values), bool)
    else:
        zone = getattr(values.type, "tz", None)
        ms, is_local = _arrow_ms(values), np.full(len(values), zone is None)
    inside = pc.and_(pc.greater(ms, EARLIEST_MS), pc.less(ms, LATEST_MS))
    bad = ~pc.fill_null(inside, False).to_numpy(zero_copy_only=False)
    ms = np.where(bad, 0, pc.fill_null(ms, 0).to_numpy(zero_copy_only=False))
    if not is_local.any():
        return ms, bad
    return np.where(is_local, local_to_utc(ms, timezone), ms), bad


def to_moments(
    values: pa.Array, unit: str, timezone: str, form: str
) -> tuple[pa.Array, np.ndarray]:
    """The same of a column that may lack times.

    Returns:
        int64, null where missing or bad, and where there is what is no time.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_bytes(values.type):
        values = to_strings(values)[0]
    ms, bad = to_ms(values, unit, timezone, form)
    if is_text(values.type):
        values = trimmed(values)
    elif pa.types.is_integer(values.type):
        values = to_integers(values)[0]
    missing = pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)
    return pa.array(ms, mask=bad | missing), bad & ~missing


def _arrow_ms(values: pa.Array) -> pa.Array:
    """Arrow times as int64 milliseconds; null where those do not hold them."""
    if not pa.types.is_timestamp(values.type):
        return values.cast(pa.timestamp("ms"), False).cast(pa.int64())
    rate = PER_SECOND[values.type.unit]
    return _in_range(values.cast(pa.int64()), rate)


def _texts_ms(texts: pa.Array, unit: str, form: str) -> tuple[pa.Array, np.ndarray]:
    """Strings as milliseconds, and where they are of a local clock."""
    if form:
        return _fields_ms(texts, time_pattern(form))
    local = kept(texts, pc.match_substring_regex(texts, LOCAL))
    try:  # the fast way, and for most logs the only one
        ms = _arrow_ms(local.cast(pa.timestamp("ns")))
        is_local = np.ones(len(texts), bool)
    except pa.ArrowInvalid:  # no date, such as 30 February, or beyond the years of ns
        ms, is_local = pa.nulls(len(texts), pa.int64()), np.zeros(len(texts), bool)
    rest = pc.and_(pc.is_null(ms), pc.is_valid(texts)).to_numpy(zero_copy_only=False)
    if rest.any():
        places = np.flatnonzero(rest)
        others = texts.take(pa.array(places))
        found, also = _fields_ms(others, ISO)
        found = pc.coalesce(found, _numbers_ms(others, unit))
        ms = pc.replace_with_mask(ms, pa.array(rest), found)
        is_local[places] = also
    return ms, is_local & ms.is_valid().to_numpy(zero_copy_only=False)


def _fields_ms(texts: pa.Array, pattern: str) -> tuple[pa.Array, np.ndarray]:
    """Strings by what the groups of a pattern hold; null where it does not match."""
    found = pc.extract_regex(texts, pattern)
    matched = found.is_valid().to_numpy(zero_copy_only=False)
    names = [field.name for field in found.type]
    parts = {name: pc.fill_null(pc.struct_field(found, name), "") for name in names}

    def number(name: str, missing: int = 0) -> np.ndarray:
        if name not in parts:
            return np.full(len(texts), missing, np.int64)
        digits = pc.if_else(pc.equal(parts[name], ""), str(missing), parts[name])
        return digits.cast(pa.int64()).to_numpy(zero_copy_only=False)

    year = number("Y") if "Y" in parts else _century(number("y"))
    month = number("m", 1) if "m" in parts else _month(parts.get("b"), len(texts))
    day, minute, second = number("d", 1), number("M"), number("S")
    hour, right = number("H"), matched.copy()
    if "I" in parts:
        hour, right = number("I"), right & (number("I") >= 1) & (number("I") <= 12)
    if "p" in parts:
        after = pc.equal(pc.utf8_lower(parts["p"]), "pm").to_numpy(zero_copy_only=False)
        hour = hour % 12 + 12 * after
    right &= (month >= 1) & (month <= 12) & (hour < 24) & (minute < 60) & (second < 60)
    months = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    right &= (day >= 1) & (days.astype("datetime64[M]") == months)
    ms = days.astype(np.int64) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000
    if "f" in parts:
        padded = pc.utf8_slice_codeunits(pc.utf8_rpad(parts["f"], 9, "0"), 0, 3)
        ms += padded.cast(pa.int64()).to_numpy(zero_copy_only=False)
    zone = parts.get("z", pa.array([""] * len(texts), pa.string()))
    return pa.array(ms - _zone_ms(zone), mask=~right), right & _is_empty(zone)


def _century(year: np.ndarray) -> np.ndarray:
    return np.where(year < 69, 2000, 1900) + year  # as POSIX has it


def _month(names: pa.Array | None, rows: int) -> np.ndarray:
    if names is None:
        return np.ones(rows, np.int64)
    place = pc.index_in(pc.utf8_lower(names), value_set=pa.array(MONTHS))
    return pc.fill_null(place, 0).to_numpy(zero_copy_only=False).astype(np.int64) + 1


def _is_empty(texts: pa.Array) -> np.ndarray:
    return pc.equal(texts, "").to_numpy(zero_copy_only=False)


def _zone_ms(texts: pa.Array) -> np.ndarray:
    """Offsets such as ``+05:30``, ``-0800`` or ``+00``; 0 for words and no text."""
    found = pc.extract_regex(texts, r"(?P<sign>[+-])(?P<H>\d{2}):?(?P<M>\d{2})?$")
    hours, minutes = (
        pc.if_else(
            pc.equal(pc.fill_null(pc.struct_field(found, n), ""), ""),
            "0",
            pc.struct_field(found, n),
        )
        .fill_null("0")
        .cast(pa.int64())
        .to_numpy(zero_copy_only=False)
        for n in "HM"
    )
    minus = pc.fill_null(pc.equal(pc.struct_field(found, "sign"), "-"), False)
    sign = np.where(minus.to_numpy(zero_copy_only=False), -1, 1)
    return sign * (hours * 60 + minutes) * 60_000


def _numbers_ms(values: pa.Array, unit: str) -> pa.Array:
    """Numbers in ``unit``, or texts of them, as int64 milliseconds.

    Null where the calendar has no such.  Whole numbers do not go through reals.
    """
    rate = PER_SECOND[unit]
    if pa.types.is_integer(values.type):
        return _in_range(to_integers(values)[0], rate)
    reals = _in_range(to_floats(values)[0], rate)
    if not is_text(values.type):
        return reals
    return pc.coalesce(_in_range(to_integers(values)[0], rate), reals)


def _in_range(numbers: pa.Array, rate: int) -> pa.Array:
    low, high = EARLIEST_MS // 1000 * rate, LATEST_MS // 1000 * rate
    bound = float if pa.types.is_floating(numbers.type) else _int64
    inside = pc.and_(pc.greater(numbers, bound(low)), pc.less(numbers, bound(high)))
    numbers = pc.fill_null(kept(numbers, inside), 0).to_numpy(zero_copy_only=False)
    ms = numbers * (1000 // rate) if rate <= 1000 else numbers // (rate // 1000)
    missing = ~pc.fill_null(inside, False).to_numpy(zero_copy_only=False)
    return pa.array(np.floor(ms).astype(np.int64), mask=missing)


def _int64(number: int) -> int:
    return min(max(number, -(2**63)), 2**63 - 1)


def suspected_unit(day: int, usual: int, unit: str) -> str:
    """Which unit a day far from the usual ones was probably written in; ``""``: none.

    Args:
        day: Since 1970, as read in ``unit``.
        usual: One of the other days.
        unit: In which numbers are read.
    """
    for other, rate in PER_SECOND.items():
        misread = usual * rate // PER_SECOND[unit]
        if other != unit and abs(day - misread) <= abs(misread) * 0.05:
            return other
    return ""


def shown(ms: int) -> str:
    """A moment for a message: its day in UTC."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=int(ms))
    return moment.strftime("%Y-%m-%d")
