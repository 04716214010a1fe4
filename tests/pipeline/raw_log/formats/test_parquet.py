"""Parquet files that are empty, corrupt, or hold what is no text."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log, read_all
from tests.helpers import tiny
from tests.helpers.log_on_disk import ROWS, refused


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


@pytest.mark.parametrize("groups", [0, 1])
def test_a_parquet_file_without_rows_is_refused(folder, groups):
    table = pq.read_table(folder / "log.parquet")
    with pq.ParquetWriter(folder / "log.parquet", table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table.slice(0, 0))
    message = refused(folder)
    assert "log.parquet" in message
    assert "no rows" in message


@pytest.mark.parametrize("name", ["log.parquet", "users.parquet"])
@pytest.mark.parametrize("where", ["footer", "head", "page", "zero"])
def test_a_corrupt_parquet_file_is_named(folder, name, where):
    path = folder / name
    table = pq.read_table(path)
    pq.write_table(table, path, compression="snappy")
    data = bytearray(path.read_bytes())
    if where == "footer":
        data[-20:-10] = b"\xff" * 10
    elif where == "head":
        data = data[: len(data) // 2]
    elif where == "page":
        data[8:400] = b"\xff" * 392
    else:
        data = b""
    path.write_bytes(data)
    message = refused(folder)
    assert name in message
    assert "corrupt" in message


def not_utf8(kind):
    """Two texts or lists of them, of which the second is not UTF-8."""
    if pa.types.is_dictionary(kind):
        indices = pa.array([0, 1], kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, not_utf8(kind.value_type))
    texts = pa.array([b"a", b"b\xff"], pa.large_binary())
    if pa.types.is_nested(kind):
        values = not_utf8(kind.value_type)
        if pa.types.is_large_list(kind):
            return pa.LargeListArray.from_arrays([0, 1, 2], values)
        return pa.ListArray.from_arrays([0, 1, 2], values)
    return texts.view(pa.large_string()).cast(kind)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
    ],
    ids=str,
)
def test_texts_in_parquet_that_are_not_utf8_are_rejected(tmp_path, kind):
    path = str(tmp_path / "x.parquet")
    texts = not_utf8(kind)
    pq.write_table(pa.table({"a": texts, "b": [1, None], "junk": texts}), path)
    log = open_log([path], Form(), {"a": "x", "b": "y"})
    (batch,) = log.pieces[0].batches()
    table, malformed = batch.table, batch.malformed
    assert table["b"].to_pylist() == [1]
    text = "[b\ufffd]" if pa.types.is_nested(kind) else "b\ufffd"
    assert malformed.to_pylist() == [
        {"text": f"a: {text}, b: ", "reason": "not UTF-8", "line": 2}
    ]
    with pytest.raises(InputError, match="x.parquet: line 2: not UTF-8: 'a: "):
        read_all(log, ["a"])
    log = open_log([path], Form(), {"b": "y"})  # nobody needs the text
    (batch,) = log.pieces[0].batches()
    table, malformed = batch.table, batch.malformed
    assert (len(table), malformed) == (2, None)


def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, ["a", "a"]), path)
    with pytest.raises(InputError, match=r"x.parquet: column names must differ.*'a', 'a'"):
        open_log([str(path)], Form(), {"a": "x"})


def test_a_number_that_is_a_moment_in_another_file_is_refused(tmp_path):
    for name, kind in (("1", pa.int64()), ("2", pa.timestamp("us"))):
        table = pa.table({"a": pa.array([1], pa.int64()).cast(kind)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    pattern = str(tmp_path / "*.parquet")
    assert len(open_log([pattern], Form(), {"a": "data.time"}).files) == 2
    with pytest.raises(InputError, match=r"2.parquet: column 'a' is timestamp.us., but"):
        open_log([pattern], Form(), {"a": "features.a"})


@pytest.mark.parametrize("later", [[{"a": 1}], [b"1"], [[{"a": 1}]]])
def test_bytes_and_structs_after_numbers_are_refused(tmp_path, later):
    first = [[1]] if isinstance(later[0], list) else [1]
    for name, values in (("1", first), ("2", later)):
        pq.write_table(pa.table({"a": values}), tmp_path / f"{name}.parquet")
    for key in ("features.a", "data.time"):
        with pytest.raises(InputError, match="2.parquet: column 'a' is"):
            open_log([str(tmp_path / "*.parquet")], Form(), {"a": key})
