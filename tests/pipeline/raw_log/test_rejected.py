"""What is told of rejected rows, from tables that come one after another."""

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.raw_log import rejected
from steadyrank.pipeline.raw_log.rejected import samples

ROW = st.tuples(
    st.sampled_from(["no time", "no number"]),
    st.sampled_from([None, "", "a", "b", "c"]),
    st.sampled_from(["x.csv", "y.csv"]),
)


def table(rows: list[tuple]) -> pa.Table:
    names = ("reason", "value", "source", "line")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return pa.table({**columns, "other": ["o"] * len(rows)})


def told(rows: list[tuple]) -> dict:
    """The same by plain Python."""
    found = {}
    for reason in {row[0] for row in rows}:
        own = sorted((r for r in rows if r[0] == reason), key=lambda row: row[2:])
        counts = Counter(row[1] for row in own)
        common = max(counts, key=counts.get)  # of equal ones, what comes first
        found[reason] = {
            "rows": len(own),
            "source": own[0][2],
            "line": own[0][3],
            "value": own[0][1],
            "common": common,
            "count": counts[common],
        }
    return found


@given(rows=st.lists(ROW, min_size=1, max_size=30), cuts=st.lists(st.integers(0, 30)))
@settings(deadline=None, max_examples=60)
def test_samples_hang_on_no_cut_and_no_order(rows, cuts):
    rows = [(*row, line) for line, row in enumerate(rows)]
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [rows[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]
    assert samples(map(table, parts[::-1])) == told(rows)


def test_of_many_values_some_are_held_and_all_rows_counted(monkeypatch):
    monkeypatch.setattr(rejected, "VALUES", 3)
    rows = [("odd", f"v{n}", "x.csv", n) for n in range(40)]
    rows += [("odd", "-", "x.csv", 100 + n) for n in range(5)]
    rows += [("rare", "r", "x.csv", 200)]
    found = samples(table(rows[start : start + 7]) for start in range(0, len(rows), 7))
    assert found["odd"]["rows"] == 45 and found["rare"]["rows"] == 1
    assert (found["odd"]["value"], found["odd"]["common"]) == ("v0", "-")


def test_nothing_rejected_has_no_samples():
    assert samples([]) == {}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_texts_of_any_kind_are_told(kind):
    rows = table([("no time", "a", "x.csv", 1)])
    rows = rows.set_column(1, "value", rows["value"].cast(kind))
    assert samples([rows, table([("no time", "a", "x.csv", 2)])])["no time"]["count"] == 2
