"""Columns to typed ones and times to milliseconds, by hand."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import convert, raw_type
from steadyrank.pipeline.raw_log.split import assign_split, assign_window, window_name
from steadyrank.pipeline.raw_log.times import to_ms
from steadyrank.pipeline.raw_log.zones import utc_offset_ms
from tests.helpers.tiny import config_document

NAN, INF = float("nan"), float("inf")


def converted(values, raw, separator=""):
    typed, bad = convert(values, raw, separator)
    return typed.to_pylist(), np.flatnonzero(bad).tolist()


@pytest.mark.parametrize(
    ("values", "raw", "typed", "bad"),
    [
        (pa.array(["a", "", None, " b"]), "string", ["a", None, None, " b"], []),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "string", list("aba"), []),
        (pa.array([datetime.date(2024, 3, 1), None]), "string", ["2024-03-01", None], []),
        (pa.array([1, None, -5], pa.int8()), "integer", [1, None, -5], []),
        (pa.array([True, False, None]), "integer", [1, 0, None], []),
        (pa.array([1.0, 2.5, NAN, None, INF]), "integer", [1, None, None, None, None], [1]),
        (pa.array([2.0**53 - 1, 2.0**60]), "integer", [2**53 - 1, None], [1]),
        (pa.array([2**63, 5], pa.uint64()), "integer", [None, 5], [0]),
        (pa.array([decimal.Decimal("3"), None]), "integer", [3, None], []),
        (
            pa.array([" 7", "-3", "", "x", "1.5", "1" * 30, None]),
            "integer",
            [7, -3, None, None, None, None, None],
            [3, 4, 5],
        ),
        (pa.array([1, None], pa.int64()), "float", [1.0, None], []),
        (pa.array([True, None]), "float", [1.0, None], []),
        (pa.array([0.5, NAN, INF, -INF, None]), "float", [0.5, *[None] * 4], []),
        (pa.array([1e39, -1e39, 3e38]), "float", [None, None, 3e38], []),
        (
            pa.array(
                [
                    "1.5",
                    "-2e3",
                    ".5",
                    "3.",
                    " 4 ",
                    "nan",
                    "-Inf",
                    "",
                    None,
                    "x",
                    "1,5",
                    "1e400",
                ]
            ),
            "float",
            [1.5, -2000.0, 0.5, 3.0, 4.0, *[None] * 7],
            [9, 10],
        ),
        (pa.nulls(2), "float", [None, None], []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_becomes_of_values_and_which_rows_are_bad(values, raw, typed, bad):
    found, at = converted(values, raw)
    if raw != "string":
        assert found == [None if x is None else pytest.approx(x) for x in typed]
    else:
        assert found == typed
    assert at == bad


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_lists_lose_what_is_missing_and_keep_their_order(offset):
    lists = pa.array([["a", "", "b"], [], None, [None, "c"], ["d"]])
    found, bad = converted(lists.slice(offset), "string")
    assert found == [["a", "b"], [], [], ["c"], ["d"]][offset:]
    assert bad == []


def test_a_list_with_a_bad_value_points_at_its_row():
    found, bad = converted(pa.array([["1", "x"], ["2"], None, ["y"]]), "integer")
    assert found == [[1], [2], [], []]
    assert bad == [0, 3]


def test_strings_are_split_at_the_separator():
    values = pa.array(["a|b", "", "|a||b|", None, "c"])
    found, bad = converted(values, "string", "|")
    assert found == [["a", "b"], [], ["a", "b"], [], ["c"]]
    assert bad == []


@pytest.mark.parametrize(
    ("kind", "column", "several", "raw"),
    [
        ("categorical", pa.int32(), False, "integer"),
        ("categorical", pa.bool_(), False, "integer"),
        ("categorical", pa.float64(), False, "integer"),
        ("categorical", pa.dictionary(pa.int8(), pa.string()), False, "string"),
        ("categorical", pa.date32(), False, "string"),
        ("categorical", pa.list_(pa.int64()), True, "integer"),
        ("categorical", pa.large_list(pa.string()), True, "string"),
        ("numeric", pa.string(), False, "float"),
        ("numeric", pa.decimal128(5, 2), False, "float"),
    ],
)
def test_the_raw_type_follows_the_column(kind, column, several, raw):
    assert raw_type(kind, column, "features.x", several) == raw


@pytest.mark.parametrize(
    ("kind", "column", "several", "said"),
    [
        ("categorical", pa.list_(pa.string()), False, "say with max_values"),
        ("numeric", pa.list_(pa.float64()), False, "say with max_values"),
        ("categorical", pa.struct([("a", pa.int64())]), False, "cannot read"),
        ("categorical", pa.list_(pa.list_(pa.int64())), True, "cannot read"),
        ("categorical", pa.map_(pa.string(), pa.int64()), False, "cannot read"),
        ("numeric", pa.timestamp("ms"), False, "cannot read"),
        ("numeric", pa.struct([("a", pa.int64())]), False, "cannot read"),
        ("categorical", pa.binary(16), False, "cannot read"),
        ("categorical", pa.duration("s"), False, "cannot read"),
        ("categorical", pa.opaque(pa.string(), "x", "y"), False, "cannot read"),
    ],
)
def test_a_type_that_does_not_suit_is_refused(kind, column, several, said):
    with pytest.raises(InputError, match=said) as caught:
        raw_type(kind, column, "features.x", several)
    assert "features.x" in str(caught.value)
    assert str(column) in str(caught.value)


def moment(text):
    return round(datetime.datetime.fromisoformat(text).timestamp() * 1000)


NOON = moment("2024-03-01T12:00:00+00:00")


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        (pa.array([NOON // 1000]), "s"),
        (pa.array([NOON // 1000], pa.int32()), "s"),
        (pa.array([NOON // 1000], pa.uint32()), "s"),
        (pa.array([NOON]), "ms"),
        (pa.array([NOON * 1000]), "us"),
        (pa.array([NOON * 1000], pa.uint64()), "us"),
        (pa.array([NOON / 1000]), "s"),
        (pa.array([str(NOON // 1000)]), "s"),
        (pa.array([f" {NOON} "]), "ms"),
        (pa.array([NOON], pa.timestamp("ms")), "s"),
        (pa.array([NOON * 10**6], pa.timestamp("ns")), "s"),
        (pa.array([NOON // 1000], pa.timestamp("s", "Asia/Tokyo")), "us"),
        (pa.array(["2024-03-01 12:00"]), "ms"),
        (pa.array(["2024-03-01T12:00:00.000"]).dictionary_encode(), "ms"),
        (pa.array(["2024-03-01T12:00:00"], pa.large_string()), "ms"),
        (pa.array(["2024-03-01T12:00:00.000999"]), "ms"),
        (pa.array(["2024-03-01T12:00:00Z"]), "ms"),
        (pa.array(["2024-03-01 14:00:00.0+02:00"]), "ms"),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_one_moment_in_every_form(values, unit):
    ms, bad = to_ms(values, unit, "UTC")
    assert ms.dtype == np.int64
    assert (ms.tolist(), bad.tolist()) == ([NOON], [False])


@pytest.mark.parametrize(
    ("values", "bad"),
    [
        (pa.array([NOON, None]), [1]),
        (pa.array([float(NOON), NAN, INF, None]), [1, 2, 3]),
        (pa.array(["2024-03-01", "soon", "", None]), [1, 2, 3]),
        (pa.array(["soon", "later", "2024-03-01"]), [0, 1]),
        (pa.array([str(NOON), "2024-03-01", "x"]), [2]),
        (pa.array(["2024-13-45", "2024-03-01", "2024-02-30", None]), [0, 2, 3]),
        (pa.array(["1e400", "-1e400", "2024-03-01"]), [0, 1]),
        (pa.array(["0001-01-01", "9999-12-31", "2024-03-01"]), [0, 1]),
        (pa.array([NOON * 1000, NOON]), [0]),  # microseconds: year 56,000
        (pa.array([-(2**63), 2**63 - 1, NOON]), [0, 1]),
        (pa.array([None], pa.null()), [0]),
        (pa.array([], pa.string()), []),
    ],
    ids=lambda value: str(value)[:40],
)
def test_times_that_cannot_be_read_are_pointed_at(values, bad):
    _, found = to_ms(values, "ms", "UTC")
    assert np.flatnonzero(found).tolist() == bad


FATES = {  # of a string by itself, in UTC: milliseconds, None where it is no moment
    "2022-01-01 00:00:00.123456789": moment("2022-01-01T00:00:00.123+00:00"),
    "2022-01-01T00:00:00.1234567": moment("2022-01-01T00:00:00.123+00:00"),
    "2022-01-01 00:00:00.12345678Z": moment("2022-01-01T00:00:00.123+00:00"),
    "2022-01-01 02:00:00.123456789+02:00": moment("2022-01-01T00:00:00.123+00:00"),
    "2500-01-01 00:00:00.123456789": moment("2500-01-01T00:00:00.123+00:00"),
    "2500-01-01": moment("2500-01-01T00:00:00+00:00"),
    "2022-01-01": moment("2022-01-01T00:00:00+00:00"),
    "2022-02-30": None,
    "2022-02-30 00:00:00.123456789": None,
    "2022-13-01T00:00Z": None,
    "soon": None,
}


@given(st.lists(st.sampled_from(sorted(FATES)), min_size=1, max_size=6))
@example(["2022-01-01 00:00:00.123456789", "2022-02-30"])
@example(["2022-01-01 00:00:00.12345678Z", "2022-13-01T00:00Z"])
@settings(max_examples=40)
def test_the_fate_of_a_time_does_not_hang_on_its_neighbours(texts):
    ms, bad = to_ms(pa.array(texts), "ms", "UTC")
    found = [None if lost else at for at, lost in zip(ms.tolist(), bad, strict=True)]
    assert found == [FATES[text] for text in texts]


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        ("Asia/Shanghai", "2024-03-01 08:00", "2024-03-01T00:00:00+00:00"),
        # Berlin goes from +1 to +2 at 01:00 UTC on 31 March, back on 27 October.
        ("Europe/Berlin", "2024-03-31 01:30", "2024-03-31T00:30:00+00:00"),
        ("Europe/Berlin", "2024-03-31 03:30", "2024-03-31T01:30:00+00:00"),
        ("Europe/Berlin", "2024-10-27 01:30", "2024-10-26T23:30:00+00:00"),
        ("Europe/Berlin", "2024-10-27 03:30", "2024-10-27T02:30:00+00:00"),
        # New York goes from -5 to -4 at 07:00 UTC on 10 March.
        ("America/New_York", "2024-03-10 01:30", "2024-03-10T06:30:00+00:00"),
        ("America/New_York", "2024-03-10 03:30", "2024-03-10T07:30:00+00:00"),
        ("America/New_York", "2024-03-10 06:00", "2024-03-10T10:00:00+00:00"),
    ],
)
@pytest.mark.parametrize("arrow", [False, True])
def test_times_without_a_zone_are_local(zone, local, utc, arrow):
    values = pa.array([local])
    ms, bad = to_ms(values.cast(pa.timestamp("us")) if arrow else values, "ms", zone)
    assert not bad.any()
    assert ms.tolist() == [moment(utc)]


def test_offsets_follow_the_zone():
    ms = np.array(
        [moment("2024-03-31T00:59:59+00:00"), moment("2024-03-31T01:00:00+00:00")]
    )
    assert utc_offset_ms(ms, "Europe/Berlin").tolist() == [3_600_000, 7_200_000]


def data(**changes):
    changes = {f"data__{key}": value for key, value in changes.items()}
    return parse_config(config_document(**changes), "c").data


@pytest.mark.parametrize(
    ("window", "utc", "name"),
    [
        ("1d", "2024-03-30T22:59:59+00:00", "2024-03-30"),
        ("1d", "2024-03-30T23:00:00+00:00", "2024-03-31"),
        ("1d", "2024-03-31T21:59:59+00:00", "2024-03-31"),  # a day of 23 hours
        ("1d", "2024-03-31T22:00:00+00:00", "2024-04-01"),
        ("6h", "2024-03-31T03:59:59+00:00", "2024-03-31T00-00"),
        ("6h", "2024-03-31T04:00:00+00:00", "2024-03-31T06-00"),
        ("15m", "2024-03-31T04:44:59+00:00", "2024-03-31T06-30"),
        (None, "2024-03-31T04:44:59+00:00", "all"),
    ],
)
def test_windows_are_local_days_and_hours(window, utc, name):
    section = data(window=window, timezone="Europe/Berlin")
    number = assign_window(section, np.array([moment(utc)]), 1)
    assert window_name(section, int(number[0])) == name


def test_splits_begin_at_their_local_moments():
    section = data(
        timezone="Asia/Shanghai",
        split={"validation": "2024-03-05", "test": "2024-03-06T12:00:00"},
    )
    times = ["04T15:59:59", "04T16:00:00", "06T03:59:59", "06T04:00:00"]
    ms = np.array([moment(f"2024-03-{time}+00:00") for time in times])
    assert assign_split(section, ms, None).tolist() == [0, 1, 1, 2]


def test_fractions_take_their_share_and_split_equal_rows_alike():
    section = data(time=None, window=None, split={"validation": 0.2, "test": 0.1})
    hashed = np.random.default_rng(1).integers(0, 2**64, 50_000, np.uint64)
    split = assign_split(section, None, hashed)
    shares = np.bincount(split, minlength=3) / len(split)
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.01)
    assert np.array_equal(assign_split(section, None, hashed[::-1]), split[::-1])
