"""Fingerprints: equal where rows are equal, and nowhere else."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.raw_log.fingerprint import fingerprint, hash_values

DAY = datetime.date(2024, 3, 1)
NOON = datetime.datetime(2024, 3, 1, 12)


def table():
    return pa.table(
        {
            "int": [1, 2, None, 1, 5],
            "real": [0.5, None, float("nan"), 0.5, -1.0],
            "text": ["a", "", None, "a", "äöü"],
            "flag": [True, False, None, True, False],
            "list": [["a", "b"], [], None, ["a", "b"], ["ab"]],
            "nested": [[[1], [2]], [[1, 2]], None, [[1], [2]], [[]]],
            "day": [DAY, None, DAY, DAY, DAY],
            "time": [NOON, NOON, None, NOON, NOON],
            "nothing": pa.nulls(5),
        }
    )


def keys(of: pa.Table) -> list[tuple[int, int]]:
    high, low = fingerprint(of)
    return list(zip(high.tolist(), low.tolist(), strict=True))


def test_rows_meet_exactly_where_they_are_equal():
    found = keys(table())
    assert found[0] == found[3]
    assert len(set(found)) == 4


def test_slices_batches_chunks_and_column_order_change_nothing():
    whole, expected = table(), keys(table())
    assert keys(whole.slice(2, 3)) == expected[2:]
    assert keys(whole.take(pa.array([4, 1, 0]))) == [expected[i] for i in (4, 1, 0)]
    assert keys(whole.select(whole.column_names[::-1])) == expected
    chunks = pa.concat_tables([whole.slice(0, 2), whole.slice(2, 1), whole.slice(3)])
    assert keys(chunks) == expected


def test_the_types_that_hold_the_same_values_meet():
    values = ["a", "bc", None, "a"]
    text = pa.array(values)
    for same in (text.cast(pa.large_string()), text.dictionary_encode()):
        assert np.array_equal(hash_values(same), hash_values(text))
    small = pa.array([1, None, 3], pa.int32())
    assert np.array_equal(hash_values(small), hash_values(small.cast(pa.int64())))
    lists = pa.array([["a"], None, ["b", "c"]])
    large = lists.cast(pa.large_list(pa.string()))
    assert np.array_equal(hash_values(large), hash_values(lists))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([["a", "b"], ["ab"], ["", "ab"], ["ab", ""], ["b", "a"], [], None]),
        pa.array([[1, 2], [2, 1], [1], [1, 2, 0], [0, 1, 2], [None], []]),
        pa.array([[[1], [2]], [[1, 2]], [[], [1, 2]], [[1, 2], []], [[]], []]),
        pa.array(["", None, " ", "\0", "\0\0", "a", "a\0"]),
        pa.array([0.0, float("nan"), None, float("inf"), float("-inf"), 1e-300]),
        pa.array([0, 1, -1, 2**62, -(2**63), None]),
        pa.array([b"a", b"", None, b"\xff", b"a\xff"]),
        pa.array([{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 1, "b": None}, None]),
        pa.array([decimal.Decimal("0.1"), decimal.Decimal("0.2"), None]),
        pa.array(
            [decimal.Decimal("9007199254740992.1"), decimal.Decimal("9007199254740992")]
        ),
        pa.array([datetime.time(1), datetime.time(2), None]),
        pa.array([datetime.timedelta(1), datetime.timedelta(2), None]),
        pa.array([[1.0, 2.0], [2.0, 1.0], None], pa.list_(pa.float32(), 2)),
    ],
    ids=lambda values: str(values.type),
)
def test_different_values_differ(values):
    assert len(set(hash_values(values).tolist())) == len(values)


def test_values_of_neighbouring_columns_do_not_run_together():
    found = keys(pa.table({"a": ["x", "xy", ""], "b": ["yz", "z", "xyz"]}))
    assert len(set(found)) == 3
    assert keys(pa.table({"a": [1], "b": [2]})) != keys(pa.table({"a": [2], "b": [1]}))


def test_both_zeros_are_one():
    assert len(set(hash_values(pa.array([0.0, -0.0])).tolist())) == 1


def test_a_hundred_thousand_rows_do_not_collide():
    count = 100_000
    number = np.arange(count)
    rows = pa.table(
        {
            "a": number % 317,
            "b": pa.array([f"{n // 317}" for n in number.tolist()]),
            "c": pa.array(number % 2 == 0),
        }
    )
    high, low = fingerprint(rows)
    assert len(np.unique(high)) == len(np.unique(low)) == count


def test_the_bits_are_even():
    high, low = fingerprint(pa.table({"a": np.arange(20_000)}))
    for half in (high, low):
        bits = (half[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
        assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02


ROWS = st.tuples(
    st.one_of(st.none(), st.integers(-3, 3)),
    st.one_of(st.none(), st.text("ab", max_size=3)),
    st.one_of(st.none(), st.lists(st.text("ab", max_size=2), max_size=3)),
)


@settings(max_examples=60)
@given(st.lists(ROWS, min_size=1, max_size=20))
def test_as_many_fingerprints_as_distinct_rows(rows):
    ints, texts, lists = zip(*rows, strict=True)
    columns = {
        "i": pa.array(ints, pa.int64()),
        "t": pa.array(texts, pa.string()),
        "l": pa.array(lists, pa.list_(pa.string())),
    }
    found = keys(pa.table(columns))
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            assert (found[i] == found[j]) == (one == other)
