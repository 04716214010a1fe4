"""Raw columns become typed ones, whole columns at a time; what cannot is pointed at."""

import contextlib
import datetime
import zoneinfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.files.errors import InputError

NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
NOT_FINITE = r"^(?i:[+-]?(nan|inf|infinity))$"
WHOLE_NUMBER = r"^-?\d{1,18}$"
LOCAL = r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$"
ZONED = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})$"
PER_SECOND = {"s": 1, "ms": 1000, "us": 1_000_000}
HOUR_MS = 3_600_000
EARLIEST_MS, LATEST_MS = -2_208_988_800_000, 253_339_228_800_000  # years 1900 to 9997
LARGEST = float(np.finfo(np.float32).max)  # examples and signatures hold float32


def raw_type(kind: str, column: pa.DataType, where: str, several: bool) -> str:
    """Decide how the values of a column are held, from its Arrow type.

    Args:
        kind: The feature's kind, or ``"numeric"`` for a label.
        column: The column's type.
        where: Feature and file, for the message.
        several: Whether the feature holds a list of values.

    Returns:
        ``"string"``, ``"integer"`` or ``"float"``.

    Raises:
        InputError: The type does not suit the kind.
    """
    value = column
    if is_list(column):
        if not several:
            raise InputError(
                f"{where} is {column}: say with max_values how many values to keep "
                "(kind must be categorical; or sequence, with of and length)."
            )
        value = column.value_type
    number = is_number(value)
    if kind == "numeric" and (number or is_text(value) or pa.types.is_null(value)):
        return "float"
    if kind != "numeric" and number:
        return "integer"
    if kind != "numeric" and not (pa.types.is_nested(value) or is_bytes(value)):
        return "string"
    raise InputError(
        f"{where} is {column}, which a {kind} feature or label cannot read. Allowed: "
        "numbers, booleans and strings; for ids also dates, and lists of these."
    )


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_bytes(kind: pa.DataType) -> bool:
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    return (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece, without a copy where it is one."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def to_strings(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Values as strings, empty ones as null.

    Returns:
        The strings, and a boolean array: where a value could not be read (nowhere).
    """
    if values.type != pa.string():
        values = values.cast(pa.string())
    values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    return values, np.zeros(len(values), bool)


def to_integers(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Values as int64, and where one is not a whole number of that size."""
    if is_text(values.type):
        values = _trimmed(values)
        good = pc.match_substring_regex(values, WHOLE_NUMBER)
        return _kept(values, good).cast(pa.int64()), _is_false(good)
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        values = _finite(values.cast(pa.float64()))
        whole = pc.and_(
            pc.equal(pc.floor(values), values), pc.less(pc.abs(values), float(2**53))
        )
        return _kept(values, whole).cast(pa.int64()), _is_false(whole)
    if pa.types.is_uint64(values.type):
        fits = pc.less(values, pa.scalar(2**63, pa.uint64()))
        return _kept(values, fits).cast(pa.int64()), _is_false(fits)
    return values.cast(pa.int64()), np.zeros(len(values), bool)


def to_floats(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Values as float64, and where one is not a number.

    NaN, infinity, and what is beyond the range of float32 become null.
    """
    if is_text(values.type):
        values = _trimmed(values)
        number = pc.match_substring_regex(values, NUMBER)
        good = pc.or_(number, pc.match_substring_regex(values, NOT_FINITE))
        return _finite(_kept(values, number).cast(pa.float64())), _is_false(good)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return _finite(values.cast(pa.float64(), safe=False)), np.zeros(len(values), bool)


CONVERT = {"string": to_strings, "integer": to_integers, "float": to_floats}


def convert(values: pa.Array, raw: str, separator: str) -> tuple[pa.Array, np.ndarray]:
    """Convert a column, or the values within its lists.

    Args:
        values: The raw column.
        raw: ``"string"``, ``"integer"`` or ``"float"``.
        separator: Splits strings into lists; ``""``: they are values themselves.

    Returns:
        The typed column (null: missing), and where a row's value could not be read.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if separator:
        values = pc.split_pattern(to_strings(values)[0], separator)
    if not is_list(values.type):
        return CONVERT[raw](values)
    parents = pc.list_parent_indices(values).to_numpy(zero_copy_only=False)
    items, bad_items = CONVERT[raw](values.flatten())
    bad = np.bincount(parents[bad_items], minlength=len(values)) > 0
    keep = items.is_valid()
    counts = np.bincount(
        parents[keep.to_numpy(zero_copy_only=False)], minlength=len(values)
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), items.filter(keep)), bad


def require_time(kind: pa.DataType, where: str) -> None:
    """Raise InputError where a column of this type cannot hold times."""
    date = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if not (date or is_number(kind) or is_text(kind) or pa.types.is_null(kind)):
        raise InputError(
            f"{where} is {kind}, which cannot order the log. Allowed: integers, reals, "
            "timestamps, dates, and strings that hold one of these."
        )


def to_ms(values: pa.Array, unit: str, timezone: str) -> tuple[np.ndarray, np.ndarray]:
    """A time column as milliseconds since 1970 in UTC.

    Args:
        values: Integers or reals in ``unit``, Arrow times, or strings that hold either
            numbers or ISO dates and times; each row by itself.
        unit: ``"s"``, ``"ms"`` or ``"us"``.
        timezone: Of times that do not say theirs.

    Returns:
        int64 ``[rows]``, and where a time is missing, cannot be read or is not within
        the years 1900 to 9997 (mostly a wrong ``unit``).
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if is_text(values.type):
        texts = _trimmed(values)
        local, zoned = _moments(texts, LOCAL, None), _moments(texts, ZONED, "UTC")
        ms = pc.coalesce(local, zoned, _numbers_ms(to_floats(texts)[0], unit))
        is_local = local.is_valid().to_numpy(zero_copy_only=False)
    elif is_number(values.type) or pa.types.is_null(values.type):
        whole = pa.types.is_integer(values.type)
        numbers = to_integers(values)[0] if whole else to_floats(values)[0]
        ms, is_local = _numbers_ms(numbers, unit), np.zeros(len(values), bool)
    else:
        zone = getattr(values.type, "tz", None)
        ms = values.cast(pa.timestamp("ms", zone), False).cast(pa.int64())
        is_local = np.full(len(values), zone is None)
    inside = pc.and_(pc.greater(ms, EARLIEST_MS), pc.less(ms, LATEST_MS))
    bad = ~pc.fill_null(inside, False).to_numpy(zero_copy_only=False)
    ms = np.where(bad, 0, pc.fill_null(ms, 0).to_numpy(zero_copy_only=False))
    return np.where(is_local, local_to_utc(ms, timezone), ms), bad


def _moments(texts: pa.Array, form: str, zone: str | None) -> pa.Array:
    """Milliseconds of the strings of a form, null where one is of another."""
    moments = _kept(texts, pc.match_substring_regex(texts, form))
    try:
        moments = moments.cast(pa.timestamp("ns", zone))
    except pa.ArrowInvalid:  # of the right form, but no date, such as 30 February
        each = [_moment(text, zone) for text in moments.to_pylist()]
        return pa.array(each, pa.int64())
    return moments.cast(pa.timestamp("ms", zone), False).cast(pa.int64())


def _moment(text: str | None, zone: str | None) -> int | None:
    """One string as in ``_moments``; in microseconds beyond the years of nanoseconds."""
    texts = pa.array([text], pa.string())
    short = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
    for form, unit in ((texts, "ns"), (short, "us")):
        with contextlib.suppress(pa.ArrowInvalid):
            moment = form.cast(pa.timestamp(unit, zone))
            return moment.cast(pa.timestamp("ms", zone), False).cast(pa.int64())[0].as_py()
    return None


def _numbers_ms(numbers: pa.Array, unit: str) -> pa.Array:
    """Numbers in ``unit`` as int64 milliseconds, null where the calendar has no such."""
    rate = PER_SECOND[unit]
    low, high = EARLIEST_MS // 1000 * rate, LATEST_MS // 1000 * rate
    inside = pc.and_(pc.greater(numbers, low), pc.less(numbers, high))
    numbers = pc.fill_null(_kept(numbers, inside), 0).to_numpy(zero_copy_only=False)
    ms = numbers * (1000 // rate) if rate <= 1000 else numbers // (rate // 1000)
    missing = ~pc.fill_null(inside, False).to_numpy(zero_copy_only=False)
    return pa.array(np.floor(ms).astype(np.int64), mask=missing)


def local_to_utc(ms: np.ndarray, timezone: str) -> np.ndarray:
    """Local clock times to UTC; of two that the clock shows twice, the later one."""
    near = ms - utc_offset_ms(ms, timezone)
    return ms - utc_offset_ms(near, timezone)


def utc_offset_ms(ms: np.ndarray, timezone: str) -> np.ndarray:
    """The time zone's offset at each moment, looked up once for every hour that occurs."""
    hours, inverse = np.unique(ms // HOUR_MS, return_inverse=True)
    zone = zoneinfo.ZoneInfo(timezone)
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    offsets = [
        (start + datetime.timedelta(hours=int(hour))).astimezone(zone).utcoffset()
        for hour in hours
    ]
    millis = [round(offset.total_seconds() * 1000) for offset in offsets]
    return np.array(millis, np.int64)[inverse]


def _trimmed(values: pa.Array) -> pa.Array:
    values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def _kept(values: pa.Array, good: pa.Array) -> pa.Array:
    return pc.if_else(good, values, pa.scalar(None, values.type))


def _finite(values: pa.Array) -> pa.Array:
    return _kept(values, pc.less_equal(pc.abs(values), LARGEST))


def _is_false(good: pa.Array) -> np.ndarray:
    """Where a check failed; a missing value has not failed."""
    return pc.invert(pc.fill_null(good, True)).to_numpy(zero_copy_only=False)
