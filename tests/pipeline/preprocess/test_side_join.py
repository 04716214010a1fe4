"""Side tables joined by bucket give what one that is held whole gives, to the byte."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess import plan, side_join
from steadyrank.pipeline.preprocess.plan import make_plan
from tests.helpers import tiny
from tests.helpers.dirty_log import dirty_rows
from tests.helpers.small_buffers import shrink

TASKS = [{**task} for task in tiny.CONFIG["tasks"]]
TASKS[0] |= {"truth": "p_click"}
TASKS[1] |= {"truth": "p_like"}
KINDS = pa.int64(), pa.int32()  # of the key, in the log and in the side table
FEATURES = [*tiny.CONFIG["features"], {"name": "place", "kind": "categorical"}]


def truth_of(number: int) -> dict:
    """Of an impression; one is impossible. Some are not known, 0 is: no key is not 0."""
    return {
        "number": number,
        "p_click": 1.5 if number == 35 else (number % 97) / 97,
        "p_like": None if number % 13 == 0 else (number % 7) / 7,
        "place": number % 5,
        "nobody_reads": -1,
    }


def log_of(folder, kinds=KINDS):
    """The dirty log and a table with a row for most of its impressions, and for others."""
    rows = [{**row} for row in dirty_rows()]
    for row in rows[::50]:
        row["number"] = None
    table = pa.Table.from_pylist(rows)
    place = table.column_names.index("number")
    table = table.set_column(place, "number", table["number"].cast(kinds[0]))
    pq.write_table(table, folder / "log.parquet", row_group_size=61)
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    truths = [truth_of(number) for number in range(-50, 2000) if number % 11 != 5]
    random.Random(3).shuffle(truths)
    for name, part in (("a", truths[:700]), ("b", truths[700:])):
        schema = [("number", pa.int64()), ("p_click", pa.float64())]
        schema += [("p_like", pa.float32()), ("place", pa.int16())]
        part = pa.Table.from_pylist(part, pa.schema([*schema, ("nobody_reads", pa.int8())]))
        part = part.set_column(0, "number", part["number"].cast(kinds[1]))
        pq.write_table(part, folder / f"truth-{name}.parquet", row_group_size=90)
    join = [*tiny.CONFIG["data"]["join"], {"input": "truth-*.parquet", "on": "number"}]
    document = tiny.config_document(data__join=join, tasks=TASKS, features=FEATURES)
    return parse_config(document, "c")


def by_bucket(monkeypatch, rows: int = 100):
    monkeypatch.setattr(plan, "SPREAD_ROWS", 60)  # there are fewer users
    monkeypatch.setattr(side_join, "BUCKET_ROWS", rows)


def contents(folder) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {n: b for n, b in found.items() if not n.startswith("rejected/rows")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    manifest = preprocess(log_of(folder), folder, folder / "out")
    return contents(folder / "out"), manifest


@pytest.mark.parametrize("small", [False, True], ids=["", "in many parts"])
def test_what_is_joined_by_bucket_is_what_is_joined_whole(
    tmp_path, monkeypatch, whole, small
):
    by_bucket(monkeypatch)
    if small:
        shrink(monkeypatch)
        monkeypatch.setattr(side_join, "BUFFER_BYTES", 2000)
    config = log_of(tmp_path)
    assert [make_plan(config, tmp_path).is_spread(n) for n in (0, 1)] == [False, True]
    manifest = preprocess(config, tmp_path, tmp_path / "out")
    found, wanted = contents(tmp_path / "out"), whole[0]
    assert sorted(found) == sorted(wanted)
    named = str(tmp_path).encode()
    for name in wanted:
        if name.startswith(("manifest", "rejected")):  # which name the log's folder
            assert (named in found[name]) or found[name] == wanted[name]
        else:
            assert found[name] == wanted[name], name
    assert manifest["rows"] == whole[1]["rows"]
    assert list(manifest["unmatched"].values()) == list(whole[1]["unmatched"].values())
    assert manifest["rows"]["rejected"]["truth of click: not from 0 to 1"] >= 1
    assert min(manifest["unmatched"].values()) > 0


@pytest.mark.parametrize(
    ("kinds", "spread"),
    [
        ((pa.int32(), pa.int64()), True),
        ((pa.float64(), pa.int64()), False),
        ((pa.int64(), pa.float64()), False),
        ((pa.string(), pa.string()), False),
    ],
    ids=str,
)
def test_keys_that_are_no_whole_numbers_are_joined_whole(
    tmp_path, monkeypatch, kinds, spread
):
    by_bucket(monkeypatch)
    assert make_plan(log_of(tmp_path, kinds), tmp_path).is_spread(1) is spread


def test_a_key_that_two_rows_have_is_refused(tmp_path, monkeypatch):
    by_bucket(monkeypatch)
    config = log_of(tmp_path)
    table = pq.read_table(tmp_path / "truth-a.parquet")
    twice = table.slice(7, 1)
    pq.write_table(twice, tmp_path / "truth-c.parquet")
    said = f"'number' must differ .* Received: 2 rows with {twice['number'][0]}"
    with pytest.raises(InputError, match=said):
        preprocess(config, tmp_path, tmp_path / "out")


def test_each_bucket_holds_some_of_a_side_table(tmp_path, monkeypatch):
    by_bucket(monkeypatch, 400)
    (spread,) = side_join.spreads_of(make_plan(log_of(tmp_path), tmp_path))
    keys = np.arange(100_000)
    sizes = np.bincount(side_join.buckets_of(keys, spread.bits))
    assert spread.bits == 3 and len(sizes) == 8
    assert abs(sizes / len(keys) * 8 - 1).max() < 0.05
