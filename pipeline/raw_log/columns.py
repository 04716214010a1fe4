"""Raw columns become typed ones, whole columns at a time; what cannot is pointed at."""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import MISSING_INTEGER
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.arrow_types import is_wide, moment_texts

NUMBER = r"^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
WHOLE_NUMBER = r"^-?\d+$"
# how databases write truth, and reals without a value
TRUTH = {"true": 1.0, "t": 1.0, "false": 0.0, "f": 0.0}
NOT_FINITE = [sign + word for sign in ("", "-", "+") for word in ("nan", "inf", "infinity")]
WORDS = [*TRUTH, *NOT_FINITE]
MEANING = [*TRUTH.values(), *map(float, NOT_FINITE)]
LARGEST = float(np.finfo(np.float32).max)  # examples and signatures hold float32


@dataclass(frozen=True)
class Notation:
    """How values are written in texts: keys of a config's ``data``.

    Attributes:
        decimal: Before the fraction of a number.
        thousands: Between groups of three digits; ``""``: digits are not grouped.
        null_values: Texts that stand for a missing value, as the empty one does.
    """

    decimal: str = "."
    thousands: str = ""
    null_values: tuple[str, ...] = ()

    @classmethod
    def of(cls, data) -> "Notation":
        """As a config's ``data`` says of the log."""
        return cls(data.decimal, data.thousands, tuple(data.null_values))


PLAIN = Notation()
SEVERAL = (  # what to do about a list: of a label and all else, and of a feature
    "each row must have one value there.",
    "say with max_values how many values to keep (kind must be categorical; or sequence, "
    "with of and length).",
)


def raw_type(kind: str, column: pa.DataType, where: str, several: bool) -> str:
    """Decide how the values of a column are held, from its Arrow type.

    Args:
        kind: The feature's kind, or ``"numeric"`` for a label; ``"vector"``: a list of
            numbers.
        column: The column's type.
        where: Feature and file, for the message.
        several: Whether the feature holds a list of values.

    Returns:
        ``"string"``, ``"integer"`` or ``"float"``.  Whole numbers of which some are
        beyond int64 are strings.

    Raises:
        InputError: The type does not suit the kind.
    """
    value = column
    if kind == "vector":
        return _require_numbers(column, where)
    if is_list(column):
        if not several:
            raise InputError(
                f"{where} is {column}: {SEVERAL[where.startswith('features.')]}"
            )
        value = column.value_type
    number, text = is_number(value), is_text(value) or is_bytes(value)
    if kind == "numeric" and (number or text or pa.types.is_null(value)):
        return "float"
    if kind != "numeric" and number:
        return "string" if is_wide(value) else "integer"
    if kind != "numeric" and (text or is_moment(value) or pa.types.is_null(value)):
        return "string"
    raise InputError(
        f"{where} is {column}, which a {kind} feature or label cannot read. Allowed: "
        "numbers, booleans and strings; for ids also dates, UUIDs, and lists of these."
    )


def _require_numbers(column: pa.DataType, where: str) -> str:
    within = column.value_type if is_list(column) else column
    if pa.types.is_null(column) or (is_list(column) and is_number(within)):
        return "float"
    raise InputError(
        f"{where} is {column}, which a vector cannot read. Allowed: lists of numbers, as "
        "Parquet, Avro, ORC and JSON lines have them."
    )


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether it holds bytes of any length, which mostly are texts without the name."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_moment(kind: pa.DataType) -> bool:
    return pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind)


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


def to_strings(values: pa.Array, notation: Notation = PLAIN) -> tuple[pa.Array, np.ndarray]:
    """Values as strings, empty ones as null.

    Returns:
        The strings, and a boolean array: where bytes are not UTF-8, or a number with a
        fraction is among whole ones beyond int64.
    """
    bad = np.zeros(len(values), bool)
    if is_bytes(values.type):
        values, bad = _decoded(values)
    elif pa.types.is_floating(values.type):
        values, bad = to_integers(values)
    elif pa.types.is_decimal(values.type):
        values, bad = _whole(values)
    elif is_moment(values.type):
        values = moment_texts(values)
    if values.type != pa.string():
        values = values.cast(pa.string())
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values), bad


def _decoded(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Bytes as texts, and where they are none, found by halves."""
    try:
        return values.cast(pa.string()), np.zeros(len(values), bool)
    except pa.ArrowInvalid:
        if len(values) == 1:
            return pa.nulls(1, pa.string()), np.ones(1, bool)
    half = len(values) // 2
    (left, first), (right, last) = _decoded(values[:half]), _decoded(values[half:])
    return pa.concat_arrays([left, right]), np.concatenate([first, last])


def to_integers(
    values: pa.Array, notation: Notation = PLAIN
) -> tuple[pa.Array, np.ndarray]:
    """Values as int64, and where one is not a whole number of that size.

    -2^63 is missing: signatures of the exported model say so with it.
    """
    bad = np.zeros(len(values), bool)
    if is_text(values.type):
        values = trimmed(values)
        good = pc.match_substring_regex(values, WHOLE_NUMBER)
        # 19 digits in front of zeros that do not count, at most 2^63 - 1
        digits = pc.replace_substring_regex(values, r"^-?0*", "")
        long = pc.utf8_length(digits)
        fits = pc.or_(
            pc.less(long, 19),
            pc.and_(pc.equal(long, 19), pc.less_equal(digits, str(2**63 - 1))),
        )
        good = pc.and_(good, fits)
        return kept(values, good).cast(pa.int64()), _is_false(good)
    if pa.types.is_floating(values.type):
        values = _finite(values.cast(pa.float64()))
        whole = pc.and_(
            pc.equal(pc.floor(values), values), pc.less(pc.abs(values), float(2**53))
        )
        return kept(values, whole).cast(pa.int64()), _is_false(whole)
    if pa.types.is_decimal(values.type):
        values, bad = _whole(values)
        wide = pa.decimal256(min(values.type.precision + 20, 76), 0)
        low, high = pa.scalar(-(2**63), wide), pa.scalar(2**63, wide)
        values = values.cast(wide)
        fits = pc.and_(pc.greater_equal(values, low), pc.less(values, high))
        values, bad = kept(values, fits), bad | _is_false(fits)
    elif pa.types.is_uint64(values.type):
        fits = pc.less(values, pa.scalar(2**63, pa.uint64()))
        values, bad = kept(values, fits), _is_false(fits)
    values = values.cast(pa.int64())
    missing = pc.equal(values, MISSING_INTEGER)
    if pc.any(missing).as_py():
        values = kept(values, pc.invert(missing))
    return values, bad


def _whole(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Decimals without a fraction, exactly, and where there is one."""
    whole = pc.equal(pc.floor(values), values)
    kind = values.type
    wide = kind.precision - kind.scale + 1
    found = (
        pa.decimal128(max(1, min(wide, 38)), 0) if wide <= 38 else pa.decimal256(wide, 0)
    )
    return kept(values, whole).cast(found), _is_false(whole)


def to_floats(values: pa.Array, notation: Notation = PLAIN) -> tuple[pa.Array, np.ndarray]:
    """Values as float64, and where one is not a number; true is 1, false is 0.

    NaN, infinity, and what is beyond the range of float32 become null.
    """
    numbers, bad, _ = to_finite(values, notation)
    return numbers, bad


def to_finite(
    values: pa.Array, notation: Notation = PLAIN
) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """The same, and where a value is infinite, or beyond the range of float32.

    Unlike NaN, which is how a missing value is written, such a one was meant to be one.
    """
    numbers, bad = _to_reals(values, notation)
    beyond = pc.fill_null(pc.greater(pc.abs(numbers), LARGEST), False)
    return _finite(numbers), bad, beyond.to_numpy(zero_copy_only=False)


def _to_reals(values: pa.Array, notation: Notation) -> tuple[pa.Array, np.ndarray]:
    """Values as float64, which may be NaN or infinite, and where one is no number."""
    if is_bytes(values.type):
        texts, not_text = to_strings(values)
        numbers, bad = _to_reals(texts, notation)
        return numbers, bad | not_text
    if is_text(values.type):
        values = pointed(trimmed(values), notation)
        number = pc.match_substring_regex(values, NUMBER)
        bad = _is_false(number)
        numbers = kept(values, number).cast(pa.float64())
        if bad.any():
            words = pc.utf8_lower(values.filter(pa.array(bad)))
            found = pc.index_in(words, value_set=pa.array(WORDS))
            numbers = pc.replace_with_mask(
                numbers, pa.array(bad), pa.array(MEANING).take(found)
            )
            bad[bad] = found.is_null().to_numpy(zero_copy_only=False)
        return numbers, bad
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return values.cast(pa.float64(), safe=False), np.zeros(len(values), bool)


def pointed(values: pa.Array, notation: Notation) -> pa.Array:
    """Numbers as Arrow reads them: with a point, and digits in one group."""
    if notation.thousands:
        mark, point = re.escape(notation.thousands), re.escape(notation.decimal)
        grouped = rf"^[+-]?\d{{1,3}}(?:{mark}\d{{3}})+(?:{point}\d*)?$"
        right = pc.match_substring_regex(values, grouped)
        joined = pc.replace_substring(values, notation.thousands, "")
        values = pc.if_else(right, joined, values)
    if notation.decimal != ".":  # 1.5 is no number where 1,5 is
        values = pc.replace_substring(values, ".", " ")
        values = pc.replace_substring(values, notation.decimal, ".")
    return pc.replace_substring_regex(values, r"^\+", "")


CONVERT = {"string": to_strings, "integer": to_integers, "float": to_floats}


def convert(
    values: pa.Array, raw: str, separator: str, notation: Notation = PLAIN
) -> tuple[pa.Array, np.ndarray]:
    """Convert a column, or the values within its lists.

    Args:
        values: The raw column.
        raw: ``"string"``, ``"integer"`` or ``"float"``.
        separator: Splits strings into lists; ``""``: they are values themselves.
        notation: How values are written in texts.

    Returns:
        The typed column (null: missing), and where a row's value could not be read.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if not separator and not is_list(values.type):
        return CONVERT[raw](values, notation)
    unreadable = np.zeros(len(values), bool)
    if separator:
        texts, unreadable = to_strings(values)
        values = pc.split_pattern(texts, separator)
    items = values.flatten()
    if notation.null_values and is_text(items.type):
        items = without_markers(items, notation.null_values)
    items, bad_items = CONVERT[raw](items, notation)
    if not items.null_count and not bad_items.any():
        lengths = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), items), unreadable
    parents = pc.list_parent_indices(values).to_numpy(zero_copy_only=False)
    bad = np.bincount(parents[bad_items], minlength=len(values)) > 0
    keep = items.is_valid()
    counts = np.bincount(
        parents[keep.to_numpy(zero_copy_only=False)], minlength=len(values)
    )
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), items.filter(keep))
    return lists, bad | unreadable


def to_vectors(lists: pa.Array, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists of numbers as a matrix; a null list is a missing vector.

    Args:
        lists: Lists, or nulls.
        width: Numbers of each.

    Returns:
        float32 ``[rows, width]``, all NaN where there is none, and where a list has more
        numbers, or fewer, or one that is null, not finite or beyond float32.
    """
    matrix, bad = (
        np.full((len(lists), width), np.nan, np.float32),
        np.zeros(len(lists), bool),
    )
    if pa.types.is_null(lists.type):
        return matrix, bad
    there = lists.is_valid().to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    fits = there & (lengths == width)
    flat = lists.filter(pa.array(fits)).flatten()
    numbers, unread, beyond = to_finite(flat)
    spoiled = numbers.is_null().to_numpy(zero_copy_only=False) | unread | beyond
    values = numbers.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    good = ~spoiled.reshape(-1, width).any(axis=1)
    places = np.flatnonzero(fits)
    matrix[places[good]] = values[good]
    bad[there & ~fits] = True
    bad[places[~good]] = True
    return matrix, bad


def as_lists(matrix: np.ndarray) -> pa.Array:
    """A matrix as a column of lists of one length, NaN as they are."""
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def as_matrix(lists: pa.Array) -> np.ndarray:
    """What ``as_lists`` was given, float32 ``[rows, width]``."""
    return lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), -1)


def rejoined(values: pa.Array, separator: str, notation: Notation) -> pa.Array:
    """Texts of several values without those that stand for a missing one."""
    texts = to_strings(values)[0]
    marked = [pc.match_substring(texts, marker) for marker in notation.null_values]
    if not any(pc.any(found).as_py() for found in marked):
        return values
    lists, _ = convert(texts, "string", separator, notation)
    return pc.binary_join(lists, separator)


def without_markers(values: pa.Array, null_values: tuple[str, ...]) -> pa.Array:
    """Texts, but null where one stands for a missing value."""
    for marker in null_values:
        marked = pc.equal(values, pa.scalar(marker, values.type))
        if pc.any(marked).as_py():
            values = pc.if_else(marked, pa.scalar(None, values.type), values)
    return values


def trimmed(values: pa.Array) -> pa.Array:
    values = pc.utf8_trim_whitespace(values.cast(pa.string()))
    return pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)


def kept(values: pa.Array, good: pa.Array) -> pa.Array:
    return pc.if_else(good, values, pa.scalar(None, values.type))


def _finite(values: pa.Array) -> pa.Array:
    return kept(values, pc.less_equal(pc.abs(values), LARGEST))


def _is_false(good: pa.Array) -> np.ndarray:
    """Where a check failed; a missing value has not failed."""
    return pc.invert(pc.fill_null(good, True)).to_numpy(zero_copy_only=False)
