"""Logs with what came before each row, found by a look at all rows in plain Python."""

import pyarrow as pa
from hypothesis import strategies as st

from steadyrank.pipeline.preprocess.placed import with_lists
from steadyrank.pipeline.preprocess.rows import HIGH, LOW
from steadyrank.pipeline.raw_log.fingerprint import fingerprint
from tests.helpers import tiny

MINUTE, HOUR = 60_000, 3_600_000
FEATURES = [
    {"name": "seen", "kind": "sequence", "of": "item", "length": 3},
    {"name": "liked", "kind": "sequence", "of": "item", "length": 2, "by": ["user"],
     "where": "click", "label_delay": "2m"},
    {"name": "shown", "kind": "numeric", "measure": "count", "window": "5m"},
    {"name": "clicks", "kind": "numeric", "measure": "count", "window": "6m",
     "by": ["item"], "where": "click", "label_delay": "3m"},
    {"name": "rate", "kind": "numeric", "measure": "rate", "window": "1h",
     "by": ["item"], "where": "click"},
    {"name": "since", "kind": "numeric", "measure": "since", "by": ["item", "user"]},
    {"name": "since_click", "kind": "numeric", "measure": "since", "where": "click"},
]  # fmt: skip
FEATURES = [{**feature, "from": "events"} for feature in FEATURES]
MS = {"m": MINUTE, "h": HOUR, "d": 24 * HOUR}


def ms(length):
    return int(length[:-1]) * MS[length[-1]] if length else 0


def expected(row: dict, rows: list[dict], feature: dict):
    """One feature of one row, by a look at all rows; None: missing."""
    by = feature.get("by", ["user"])
    if any(row[name] is None for name in by):
        return [] if feature["kind"] == "sequence" else None
    known = []
    for other in rows:
        same = all(other[name] == row[name] for name in by)
        if same and other["time_ms"] + ms(feature.get("label_delay")) < row["time_ms"]:
            known.append(other)
    known.sort(key=lambda other: (other["time_ms"], other["order"]))
    chosen = [r for r in known if "where" not in feature or r[feature["where"]] == 1]
    if feature["kind"] == "sequence":
        items = [r["item"] for r in chosen if r["item"] is not None]
        return items[-feature["length"] :]
    if feature["measure"] == "since":
        return (row["time_ms"] - chosen[-1]["time_ms"]) / 1000 if chosen else None
    first = row["time_ms"] - ms(feature["window"])
    chosen = [r for r in chosen if r["time_ms"] >= first]
    if feature["measure"] == "count":
        return len(chosen)
    labelled = [r for r in known if r["time_ms"] >= first and r["click"] is not None]
    return len(chosen) / len(labelled) if labelled else None


def found_of(looked, rows: int, first: int = 0) -> list[dict]:
    """What was found for some rows, lists in place of what points at them."""
    values = looked.values
    kinds = {name: found.type for name, found in values.items()}
    table = looked.columns(first, rows, 7)
    return with_lists(table, kinds, lambda name, bucket: values[name]).to_pylist()


def document(**changes) -> dict:
    found = tiny.config_document(**changes)
    found["features"] = [*found["features"], *FEATURES]
    found["contract"] = None
    return found


def table_of(rows: list[dict]) -> pa.Table:
    """The rows of a drawn log, each with a fingerprint."""
    kinds = [("user", pa.int64()), ("item", pa.string()), ("time_ms", pa.int64())]
    table = pa.Table.from_pylist(rows, pa.schema([*kinds, ("click", pa.int8())]))
    high, low = fingerprint(table)
    table = table.append_column(HIGH, pa.array(high)).append_column(LOW, pa.array(low))
    for row, *order in zip(rows, high.tolist(), low.tolist(), strict=True):
        row["order"] = order
    return table


ROW = st.fixed_dictionaries(
    {
        "user": st.sampled_from([None, 1, 2, -3]),
        "item": st.sampled_from([None, "a", "b", "c"]),
        "time_ms": st.integers(0, 12).map(lambda n: n * MINUTE + 1_700_000_000_000),
        "click": st.sampled_from([None, 0, 1]),
    }
)
