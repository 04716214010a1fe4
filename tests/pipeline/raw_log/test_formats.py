"""The same rows in every format are the same rows."""

import bz2
import datetime
import decimal
import gzip
import json
import uuid

import fastavro
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import convert, to_floats
from steadyrank.pipeline.raw_log.formats import lines as text_lines
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from steadyrank.pipeline.raw_log.times import to_ms

few = settings(max_examples=25, deadline=None)
NEEDS = {"id": "features.id", "x": "features.x", "t": "data.time", "tags": "features.tags"}
TEXT = st.text(st.sampled_from('ab"\\,\n\u4e2d0:-'), max_size=5)
ROW = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(-(2**62), 2**62),
        "x": st.none() | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
        "t": st.datetimes(datetime.datetime(1901, 1, 1), datetime.datetime(2199, 1, 1)),
        "tags": st.none() | st.lists(TEXT.filter(bool), max_size=3),
        "name": TEXT,
    }
)
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("x", pa.float64()),
        ("t", pa.timestamp("us")),
        ("tags", pa.list_(pa.string())),
        ("name", pa.string()),
    ]
)


def as_json(rows) -> bytes:
    lines = (json.dumps({**row, "t": row["t"].isoformat(" ")}) for row in rows)
    return "\n".join(lines).encode()


def write(rows, path):
    """Write rows in the format that a name asks for."""
    name = path.name.partition(".")[2]
    table = pa.Table.from_pylist(rows, SCHEMA)
    if name == "orc":
        pyarrow.orc.write_table(table, path)
    elif name == "avro":
        of = {"id": "long", "x": "double", "name": "string"}
        of["t"] = {"type": "long", "logicalType": "local-timestamp-micros"}
        of["tags"] = {"type": "array", "items": "string"}
        fields = [{"name": n, "type": ["null", kind]} for n, kind in of.items()]
        schema = {"type": "record", "name": "row", "fields": fields}
        with path.open("wb") as file:
            fastavro.writer(file, fastavro.parse_schema(schema), rows, "deflate")
    elif name == "parquet":
        pq.write_table(table, path, row_group_size=3)
    elif name.endswith(".zst"):
        path.write_bytes(pa.compress(as_json(rows), "zstd", asbytes=True))
    else:
        pack = {"gz": gzip.compress, "bz2": bz2.compress}.get(name[-3:].strip("."), bytes)
        path.write_bytes(pack(as_json(rows)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("formats")


def batches_of(path, needs, **form):
    log = open_log([str(path)], Form(**form), needs)
    return log, [batch for piece in log.pieces for batch in piece.batches()]


def typed(path):
    """What models would see of a file, as plain values; and the lines of the rows."""
    _, batches = batches_of(path, NEEDS)
    rows, lines = [], []
    for batch in batches:
        table = {name: batch.table[name].combine_chunks() for name in NEEDS}
        tags = table["tags"]
        tags = (
            pa.nulls(len(tags), pa.list_(pa.null()))
            if pa.types.is_null(tags.type)
            else tags
        )
        found = [
            convert(table["id"], "integer", "")[0].to_pylist(),
            to_floats(table["x"])[0].to_pylist(),
            to_ms(table["t"], "ms", "UTC")[0].tolist(),
            convert(tags, "string", "")[0].to_pylist(),
        ]
        rows += list(zip(*found, strict=True))
        lines += batch.lines.tolist()
    return rows, lines


@few
@given(
    rows=st.lists(ROW, min_size=1, max_size=8),
    name=st.sampled_from(
        ["jsonl", "ndjson.gz", "json.zst", "json.bz2", "avro", "orc", "parquet"]
    ),
    size=st.sampled_from([64, 1 << 20]),
)
def test_rows_are_the_same_in_every_format(folder, rows, name, size):
    path = folder / f"x.{name}"
    write(rows, path)
    epoch = datetime.datetime(1970, 1, 1)
    want = [
        (
            row["id"],
            row["x"],
            (row["t"] - epoch) // datetime.timedelta(milliseconds=1),
            row["tags"] or [],
        )
        for row in rows
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", size)
        found, lines = typed(path)
    assert found == want
    assert lines == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([1, 2**53 + 1, 2**63 - 1], [1, 2**53 + 1, 2**63 - 1]),
        ([1.0, 2**53 + 1], [1, 2**53 + 1]),
        ([2**64 - 1, 7], [2**64 - 1, 7]),
        (["2026-01-01", "12:30"], ["2026-01-01", "12:30"]),
        (["2026-01-01T00:00:00Z"], ["2026-01-01T00:00:00Z"]),
        ([["2026-01-01"], []], [["2026-01-01"], []]),
    ],
    ids=str,
)
def test_values_in_json_are_what_they_are(folder, values, want):
    path = folder / "values.jsonl"
    path.write_text("".join(json.dumps({"a": value}) + "\n" for value in values))
    _, batches = batches_of(path, {"a": "features.a"})
    assert [v for b in batches for v in b.table["a"].to_pylist()] == want


def test_lines_that_are_no_objects_are_told_with_their_place(folder):
    path = folder / "bad.jsonl"
    lines = [b'{"a":1}', b"", b'{"a":', b'{"a":2}', b'{"a":"x"}', b'{"a":"\xff"}', b"  "]
    path.write_bytes(b"\n".join([*lines, b'{"a":3}']))
    _, batches = batches_of(path, {"a": "features.a"})
    assert [v for b in batches for v in b.table["a"].to_pylist()] == [1, 2, 3]
    assert [line for b in batches for line in b.lines.tolist()] == [1, 4, 8]
    assert sorted(batches[0].malformed["line"].to_pylist()) == [3, 5, 6]
    path.write_bytes(b'[{"a": 1}]')
    with pytest.raises(InputError, match="is one JSON array. Write one object a line"):
        batches_of(path, {"a": "features.a"})
    path.write_text("".join('{"a":%s}\n' % ('"x"' if n else 1) for n in range(300)))
    with pytest.raises(InputError, match="changed from number to string"):
        batches_of(path, {"a": "features.a"})


def test_logical_types_of_avro(folder):
    of = {
        "ids": {"type": "string", "logicalType": "uuid"},
        "deep": {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 0},
        "day": {"type": "int", "logicalType": "date"},
        "kind": {"type": "enum", "name": "kind", "symbols": ["a", "b"]},
        "both": ["null", "int", "long"],
        "raw": "bytes",
    }
    fields = [{"name": name, "type": kind} for name, kind in of.items()]
    schema = {"type": "record", "name": "row", "fields": fields}
    row = {
        "ids": uuid.UUID(int=7),
        "deep": decimal.Decimal(2**70),
        "day": datetime.date(2026, 1, 2),
        "kind": "b",
        "both": 2**40,
        "raw": b"abc",
    }
    path = folder / "logical.avro"
    with path.open("wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), [row])
    log, (batch,) = batches_of(path, {name: f"features.{name}" for name in of})
    found = {
        n: convert(batch.table[n].combine_chunks(), "string", "")[0][0].as_py() for n in of
    }
    assert found == {
        "ids": str(uuid.UUID(int=7)),
        "deep": str(2**70),
        "day": "2026-01-02",
        "kind": "b",
        "both": str(2**40),
        "raw": "abc",
    }
    assert log.schema.names == list(of)


@pytest.mark.parametrize("name", ["x.avro", "x.orc", "x.jsonl", "x.json.gz"])
@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_a_file_that_is_cut_off_is_named(folder, name, cut):
    rows = [
        {
            "id": n,
            "x": n / 7,
            "t": datetime.datetime(2026, 1, 1),
            "tags": ["a"],
            "name": str(n),
        }
        for n in range(500)
    ]
    path = folder / f"cut-{name}"
    write(rows, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * cut)])
    try:
        _, batches = batches_of(path, NEEDS)
    except InputError as error:
        assert str(path) in str(error)
        return
    assert name == "x.jsonl"  # of which a line was cut in two
    assert sum(len(b.malformed) for b in batches if b.malformed) == 1


def test_moments_that_orc_does_not_hold_are_refused_by_name(folder):
    path = folder / "old.orc"
    old = pa.array([datetime.datetime(1000, 1, 1)], pa.timestamp("us"))
    pyarrow.orc.write_table(pa.table({"t": old}), path)
    with pytest.raises(InputError, match="old.orc: .*out of range"):
        batches_of(path, {"t": "data.time"})
