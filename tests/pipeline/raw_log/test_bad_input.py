"""Bad input: a clear error that names the thing, and nothing left behind."""

import gzip
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from apache_beam.io.filesystem import BeamIOError
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from typer.testing import CliRunner

from steadyrank.pipeline import run as stages
from steadyrank.pipeline.api.describe import describe
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import read_by_preprocessing
from steadyrank.pipeline.files.errors import InputError, PassingError, fault
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.places import keep_apart
from steadyrank.pipeline.files.publish import PARTIAL, publish, write_json
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.kinds.results import EvaluateResult, ExportResult
from steadyrank.pipeline.preprocess import encode
from steadyrank.pipeline.preprocess.beam_job import run_job
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.rows import LOW, type_rows
from steadyrank.pipeline.raw_log.formats import lines as text_lines
from steadyrank.pipeline.raw_log.formats.base import Form, Piece
from steadyrank.pipeline.raw_log.formats.csv import Csv
from steadyrank.pipeline.raw_log.formats.parquet import Parquet
from steadyrank.pipeline.raw_log.open import open_log, read_all
from tests.helpers import naive, tiny
from tests.helpers.command_line import in_this_process, steadyrank
from tests.helpers.settled import settle

ROWS = tiny.make_rows(240)


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


def parse(**changes):
    return parse_config(tiny.config_document(**changes), "c")


def run(folder, **changes):
    return preprocess(parse(**changes), folder, folder / "out")


def refused(folder, **changes) -> str:
    with pytest.raises(InputError) as caught:
        run(folder, **changes)
    left = [path.name for path in folder.iterdir() if "out" in path.name]
    assert left == []
    return str(caught.value)


def with_column(name, values):
    def change(folder):
        table = pq.read_table(folder / "log.parquet")
        index = table.column_names.index(name)
        pq.write_table(table.set_column(index, name, values), folder / "log.parquet")

    return change


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"features": [{"name": "itm", "kind": "categorical"}]},
            ["no column 'itm'", "features.itm", "Did you mean 'item'?"],
        ),
        ({"tasks": [{"name": "clik"}]}, ["no column 'clik'", "tasks.clik", "'click'"]),
        ({"data__time": "time"}, ["no column 'time'", "data.time", "'time_ms'"]),
        ({"data__group": "usr"}, ["no column 'usr'", "data.group", "'user'"]),
        (
            {"tasks": [{"name": "click", "truth": "p_click"}]},
            ["no column 'p_click'", "tasks.click.truth"],
        ),
        (
            {"features": [{"name": "user_contry", "kind": "categorical"}]},
            ["Did you mean 'user_country'?", "users.parquet", "log.parquet"],
        ),
        (
            {"data__join": [{"input": "users.parquet", "on": "usr"}]},
            ["users.parquet: no column 'usr'", "data.join.on", "'user'"],
        ),
        ({"data__input": ["lag.parquet"]}, ["lag.parquet: no such file"]),
        ({"data__input": ["users.parquet"]}, ["no column 'item'"]),
        (
            {"data__time": "user_country"},
            ["data.time", "'user_country'", "users.parquet"],
        ),
    ],
)
def test_a_missing_column_or_file_is_named(folder, changes, said):
    message = refused(folder, **changes)
    for words in said:
        assert words in message


LIST = pa.array([[1.0]] * 240)
STRUCT = pa.array([{"a": 1}] * 240)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("price", LIST, ["features.price", "'price'", "list<", "log.parquet"]),
        ("item", STRUCT, ["features.item", "struct<a: int64>"]),
        ("click", STRUCT, ["tasks.click", "struct<a: int64>"]),
        ("click", LIST, ["tasks.click", "list<"]),
        ("time_ms", STRUCT, ["data.time", "struct<a: int64>"]),
        ("time_ms", LIST, ["data.time", "list<"]),
        ("time_ms", pa.array([0] * 240, pa.time32("ms")), ["data.time", "time32"]),
        ("item", pa.array([b"\xff"] * 240, pa.binary(1)), ["features.item", "binary[1]"]),
        ("item", pa.array([0] * 240, pa.duration("s")), ["features.item", "duration"]),
        ("item", pa.array([b"\xff"] * 240), ["feature item: not UTF-8: 240, such as"]),
    ],
    ids=lambda value: str(getattr(value, "type", ""))[:20],
)
def test_a_column_of_the_wrong_type_is_named(folder, column, values, said):
    with_column(column, values)(folder)
    message = refused(folder)
    for words in said:
        assert words in message


def test_a_list_without_max_values_and_the_reverse_are_refused(folder):
    features = [{"name": "item", "kind": "categorical", "max_values": 3}]
    assert "max_values needs a list, or a separator" in refused(folder, features=features)


def test_lists_with_a_separator_are_refused(folder):
    """Examples would hold a list's values as they are, requests the parts of a text."""
    with_column("tags", pa.array([["a|3", "c"]] * 240))(folder)
    message = refused(folder)
    assert "features.tags: column 'tags'" in message
    assert "list<" in message
    assert "Remove the separator" in message


SIDE = pa.table({"user": [1, 2], "country": ["de", "fr"], "age": [3, 4]})


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (SIDE.drop(["user"]), "no column 'user', which data.join.on needs"),
        (SIDE.set_column(1, "country", pa.array([[1], [2]])), "'country' is list<"),
        (SIDE.set_column(0, "user", pa.array(["1", "2"])), "'user' is string, but int64"),
    ],
)
def test_every_file_of_a_side_table_is_checked(folder, later, said):
    pq.write_table(SIDE, folder / "users1.parquet")
    pq.write_table(later, folder / "users2.parquet")
    join = [{"input": "users?.parquet", "on": "user", "prefix": "user_"}]
    message = refused(folder, data__join=join)
    assert "users2.parquet: " in message
    assert said in message


@pytest.mark.parametrize("file", ["users", "log"])
@pytest.mark.parametrize("value", [[1], {"a": 1}, b"1"])
def test_a_key_that_cannot_be_joined_on_is_refused(folder, file, value):
    table = pq.read_table(folder / f"{file}.parquet")
    index = table.column_names.index("user")
    keys = pa.array([value] * len(table))
    pq.write_table(table.set_column(index, "user", keys), folder / f"{file}.parquet")
    features = [{"name": "country", "column": "user_country", "kind": "categorical"}]
    said = f"data.join: column 'user' of .*{file}.parquet is"
    with pytest.raises(InputError, match=said):
        make_plan(parse(features=features), folder)


def test_side_tables_that_cannot_be_one_are_named(tmp_path):
    for name, values in (("1", [True]), ("2", [7])):
        pq.write_table(pa.table({"a": values}), tmp_path / f"{name}.parquet")
    log = open_log([str(tmp_path / "*.parquet")], Form(), {"a": "x"})
    with pytest.raises(InputError, match=r"1.parquet, .*2.parquet: .*bool vs int64"):
        read_all(log, ["a"])


def test_columns_of_side_tables_that_nobody_needs_may_differ(folder):
    pq.write_table(SIDE, folder / "users1.parquet")
    later = SIDE.set_column(0, "user", pa.array([5, 6]))
    pq.write_table(later.set_column(2, "age", [["x", "y"]]), folder / "users2.parquet")
    join = [{"input": "users?.parquet", "on": "user", "prefix": "user_"}]
    sides = make_plan(parse(data__join=join), folder).sides
    assert read_all(sides[0], ["user"])["user"].to_pylist() == [1, 2, 5, 6]


def test_files_that_disagree_about_a_type_are_refused(folder):
    for name, values in (("a", ["x"] * 240), ("b", [["x"]] * 240), ("c", list(range(240)))):
        shutil.copy(folder / "log.parquet", folder / f"{name}.parquet")
        table = pq.read_table(folder / f"{name}.parquet").drop(["item"])
        table = table.append_column("item", pa.array(values))
        pq.write_table(table, folder / f"{name}.parquet")
    for other in "bc":
        files = ["a.parquet", f"{other}.parquet"]
        message = refused(folder, data__input=files)
        assert f"{other}.parquet: column 'item' is" in message


def test_labels_outside_of_0_and_1_are_rejected_and_too_many_refused(folder):
    rows = [{**row, "click": 2 if i < 12 else row["click"]} for i, row in enumerate(ROWS)]
    tiny.write_parquet(rows, folder / "log.parquet")
    message = refused(folder, data__max_rejected=0.04)
    assert "12 of 240 rows were rejected" in message
    assert "label click: neither 0 nor 1: 12" in message
    manifest = run(folder, data__max_rejected=0.05)
    assert manifest["rows"]["rejected"] == {"label click: neither 0 nor 1": 12}


@pytest.mark.parametrize("values", [LIST, pa.array([0] * 240, pa.timestamp("ms"))])
def test_a_truth_that_cannot_be_read_is_refused(folder, values):
    with_column("watch", values)(folder)
    message = refused(folder, tasks=[{"name": "click", "truth": "watch"}])
    assert "tasks.click.truth: column 'watch' of" in message


def test_a_truth_that_is_no_probability_rejects_its_row(folder):
    with_column("watch", pa.array(["0", "1.0", ".5", "", "7", "-.1", "hello", "inf"] * 30))(
        folder
    )
    plan = make_plan(parse(tasks=[{"name": "click", "truth": "watch"}]), folder)
    table = pq.read_table(folder / "log.parquet").slice(0, 8)
    more = {"user_country": pa.nulls(8), LOW: pa.array([0] * 8)}
    for name, values in more.items():
        table = table.append_column(name, values)
    _, reasons, *_ = type_rows(table, plan)
    said = "truth of click: not from 0 to 1"
    odd = ["truth of click: not a number", "truth of click: infinite, or beyond float32"]
    assert list(reasons) == [""] * 4 + [said, said, *odd]


INF, NAN = float("inf"), float("nan")
TEXTS = ["inf", "-Infinity", "1e999", "-1e39", "nan", "", "1", "0"]  # two are missing
REALS = [INF, -INF, 1e300, -1e39, NAN, None, 1.0, 0.0]


@pytest.mark.parametrize("values", [TEXTS, REALS], ids=["texts", "reals"])
def test_what_is_infinite_is_told_from_what_is_missing(folder, values):
    with_column("watch", pa.array(values * 30))(folder)
    for said, task, rows in (
        ("label watch", {"name": "watch"}, 120),
        ("truth of click", {"name": "click", "truth": "watch"}, 120),
        ("sample weight of click", {"name": "click", "sample_weight": "watch"}, 60),
    ):
        item = {"name": "item", "kind": "categorical"}
        alone = parse(tasks=[task], features=[item], data__join=[], score=task["name"])
        found = settle(alone, folder)
        assert found.rejected[f"{said}: infinite, or beyond float32"] == 120
        assert len(found.rows) == rows  # a weight may not be missing


def test_a_number_that_is_infinite_is_missing_and_counted(folder):
    with_column("watch", pa.array(TEXTS * 30))(folder)
    number = {"name": "watch", "kind": "numeric"}
    manifest = run(folder, features=[number], tasks=[{"name": "click"}])
    assert manifest["infinite"] == {"watch": 120} and not manifest["rows"]["rejected"]


def test_rows_that_will_be_refused_are_not_encoded(folder, monkeypatch):
    with_column("watch", pa.array([-3e38, 3e38] * 120))(folder)
    encoded = []
    monkeypatch.setattr(encode, "encode_rows", lambda *_: encoded.append(1))
    number = {"name": "watch", "kind": "numeric"}
    message = refused(folder, features=[number], tasks=[{"name": "click"}])
    assert "features.watch: column 'watch' goes from" in message and not encoded


def test_a_rejected_row_is_kept_whatever_its_columns_are_called_and_hold(folder):
    table = pq.read_table(folder / "log.parquet")
    named = {"item": "source", "tags": "reason"}
    table = table.rename_columns([named.get(n, n) for n in table.column_names])
    groups = pa.array([bytes([200, i % 7]) for i in range(240)])  # no UTF-8
    click = table["click"].to_pylist()
    click[3] = 9
    index = table.column_names.index("click")
    table = table.set_column(index, "click", pa.array(click)).append_column("key", groups)
    pq.write_table(table, folder / "log.parquet")
    items = [{"name": "item", "column": "source", "kind": "categorical"}]
    items += [{"name": "tags", "column": "reason", "kind": "categorical"}]
    run(folder, features=items, data__group="key")
    (row,) = pq.read_table(folder / "out" / "rejected" / "rows.parquet").to_pylist()
    assert row["source"] == str(folder / "log.parquet")
    assert row["reason"] == "label click: neither 0 nor 1"
    assert row["click"] == "9"
    assert (row["source_"], row["reason_"]) == (ROWS[3]["item"], ROWS[3]["tags"])


def test_all_rows_rejected_is_refused_even_where_any_share_may_be(folder):
    tiny.write_parquet([{**row, "click": 3} for row in ROWS], folder / "log.parquet")
    assert "240 of 240 rows" in refused(folder, data__max_rejected=1.0)


def test_no_readable_time_at_all_is_refused(folder):
    rows = [{**row, "time_ms": row["time_ms"] * 1000} for row in ROWS]
    tiny.write_parquet(rows, folder / "log.parquet")
    assert "time_ms: no readable time: 240" in refused(folder)


def test_a_split_without_rows_is_named(folder):
    split = {"validation": "2024-03-05", "test": "2030-01-01"}
    message = refused(folder, data__split=split)
    assert "the test split has no rows: data.split has validation 2024-03-05, " in message
    assert "train 2024-03-01 to 2024-03-04" in message


@pytest.mark.parametrize("groups", [0, 1])
def test_a_parquet_file_without_rows_is_refused(folder, groups):
    table = pq.read_table(folder / "log.parquet")
    with pq.ParquetWriter(folder / "log.parquet", table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table.slice(0, 0))
    message = refused(folder)
    assert "log.parquet" in message
    assert "no rows" in message


@pytest.mark.parametrize("text", ["", "\n", ",".join(tiny.COLUMNS) + "\n"])
def test_a_csv_file_without_rows_is_refused(folder, text):
    (folder / "log.csv").write_text(text)
    message = refused(folder, data__input=["log.csv"])
    assert "log.csv" in message
    assert "empty" in message or "no rows" in message


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


def csv_lines(folder, count=None):
    path = folder / "log.csv"
    tiny.write_csv(ROWS[:count], path)
    return path, path.read_bytes().splitlines()


def test_malformed_csv_lines_are_rejected_and_kept(folder):
    path, lines = csv_lines(folder)
    lines[5:5] = [b"1,2,3"]
    lines.append(b"x," * 20)
    path.write_bytes(b"\n".join(lines) + b"\n")
    manifest = run(folder, data__input=["log.csv"])
    assert manifest["rows"]["rejected"] == {
        "CSV line has 3 columns instead of 10": 1,
        "CSV line has 21 columns instead of 10": 1,
    }
    assert manifest["rows"]["read"] == 242
    rejected = pq.read_table(folder / "out" / "rejected" / "rows.parquet")
    assert "1,2,3" in rejected["text"].to_pylist()


def batches(path, **form):
    """The rows of a CSV file, and the lines that are none."""
    read = list(Piece(str(path), Csv(Form(**form))).batches())
    rows = [tuple(row.values()) for batch in read for row in batch.table.to_pylist()]
    bad = [b.malformed["text"].to_pylist() for b in read if b.malformed is not None]
    bad = [text for texts in bad for text in texts]
    return rows, bad


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,2\n"best,2\n3,4\n5,6\n', "line 3: .*'\"best,2"),
        ('a,b\n1,2\n1,"best\n3,4\n5,"6"\n', "line 3: .*'1,\"best"),
        ('a,b\r1,2\r1,"best\r3,4\r', "line 3"),
        ('a,b\n1,2\n1,"best\n3,4', "line 3"),
        ('a,"b\n1,2\n3,4"\n', "line 1: .*'a,\"b"),
    ],
)
def test_a_quote_that_is_never_closed_is_refused_and_not_one_row(tmp_path, text, said):
    (tmp_path / "x.csv").write_bytes(text.encode())
    with pytest.raises(InputError, match=f"x.csv: .*{said}") as caught:
        batches(tmp_path / "x.csv")
    assert "data.quote: null" in str(caught.value)
    assert "data.multiline: true" in str(caught.value)


def test_files_without_quotes_and_with_line_breaks_in_them_are_read(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n"best,2\n3,"4\n')
    rows = [("1", "2"), ('"best', "2"), ("3", '"4')]
    assert batches(path, quote=None) == (rows, [])
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 16)
    path.write_text('a,b\n1,"2\n3\n4\n5\n6"\n7,8\n')
    assert batches(path, multiline=True) == ([("1", "2\n3\n4\n5\n6"), ("7", "8")], [])
    with pytest.raises(InputError, match="x.csv: .*data.multiline: true"):
        batches(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_whole_csv_files_are_read_whatever_ends_their_lines(tmp_path, end, pack):
    name = "x.csv" if pack is bytes else "x.csv.gz"
    lines = ["\ufeffa,b", "1,2", "", '"3","4,5"', "6", "", "7,8"]
    for last in ("", end, end + end):
        (tmp_path / name).write_bytes(pack((end.join(lines) + last).encode()))
        rows = [("1", "2"), ("3", "4,5"), ("7", "8")]
        assert batches(tmp_path / name) == (rows, ["6"])


def test_csv_values_that_are_no_numbers_are_rejected(folder):
    rows = [dict(row) for row in ROWS]
    rows[0]["price"], rows[1]["click"], rows[2]["time_ms"] = "cheap", "yes", "noon"
    tiny.write_csv(rows, folder / "log.csv")
    manifest = run(folder, data__input=["log.csv"])
    assert manifest["rows"]["rejected"] == {
        "feature price: not a number": 1,
        "label click: not a number": 1,
        "time_ms: no readable time": 1,
    }


def test_lines_that_are_not_utf8_are_rejected(tmp_path, monkeypatch):
    """Also where blocks before them were read as text."""
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 64)
    lines = [b"%d,x%d" % (n, n) for n in range(200)]
    rows = [(str(n), f"x{n}") for n in range(200) if n not in (9, 120, 150)]
    lines[9], lines[120], lines[150] = b"9", b"120,a\xff", b"\xfe,\xc3"
    (tmp_path / "x.csv").write_bytes(b"a,b\n" + b"\n".join(lines))
    assert batches(tmp_path / "x.csv") == (rows, ["9", "120,a\ufffd", "\ufffd,\ufffd"])


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


def test_a_file_that_two_patterns_mean_is_read_once(folder):
    log = open_log([str(folder / n) for n in ("l*.parquet", "log.parquet")], Form(), {})
    assert log.files == (str(folder / "log.parquet"),)


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


def test_a_column_called_as_one_of_ours_is_refused(tmp_path):
    pq.write_table(pa.table({"__source": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="features.a: column '__source'.*Rename it"):
        open_log([str(tmp_path / "x.parquet")], Form(), {"__source": "features.a"})


def test_a_header_line_that_nothing_ends_is_a_file_without_rows(tmp_path):
    (tmp_path / "x.csv").write_text("a,b")
    assert batches(tmp_path / "x.csv") == ([], [])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--direct_num_worker=4"], "no --direct_num_worker. Did you mean '--direct_num_w"),
        (["--qqqqq=1"], r"Beam has no --qqqqq\.$"),
        (["--runner=FlnkRunner"], "Unexpected pipeline runner: FlnkRunner"),
        (["--runner=no.such.Runner"], "No module named 'no'"),
    ],
)
def test_a_flag_that_beam_does_not_know_is_refused(tmp_path, flags, said):
    with pytest.raises(InputError, match=said):
        run_job([], None, tmp_path, flags)


def test_csv_with_a_byte_order_mark_and_crlf_reads_as_without(folder):
    path, lines = csv_lines(folder)
    wanted = run(folder, data__input=["log.csv"])
    shutil.rmtree(folder / "out")
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n")
    assert run(folder, data__input=["log.csv"])["rows"] == wanted["rows"]


def test_csv_with_a_column_twice_is_refused(folder):
    path, lines = csv_lines(folder)
    lines[0] = lines[0].replace(b"tags", b"item")
    path.write_bytes(b"\n".join(lines))
    assert "column names must differ" in refused(folder, data__input=["log.csv"])


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_a_damaged_gzip_file_is_named(folder, damage):
    path, _ = csv_lines(folder)
    good = gzip.compress(path.read_bytes(), mtime=0)
    packed = folder / "log.csv.gz"
    packed.write_bytes(good)
    assert run(folder, data__input=["log.csv.gz"])["rows"]["read"] == 240
    shutil.rmtree(folder / "out")
    half = len(good) // 2
    packed.write_bytes(
        {
            "cut": good[:half],
            "flipped": good[:half] + b"\0" * 50 + good[half + 50 :],
            "plain": path.read_bytes(),
        }[damage]
    )
    message = refused(folder, data__input=["log.csv.gz"])
    assert "log.csv.gz" in message


def test_an_unknown_format_is_refused(folder):
    (folder / "log.xlsx").write_bytes(b"x")
    assert "unknown format" in refused(folder, data__input=["log.xlsx"])


def test_a_side_table_with_a_key_twice_is_refused(folder):
    users = tiny.make_users()
    tiny.write_parquet([*users, users[3]], folder / "users.parquet")
    message = refused(folder)
    assert "users.parquet" in message
    assert "21 rows, 20 values" in message


def test_a_column_in_the_log_and_a_side_table_is_refused(folder):
    users = [{"user": u["user"], "item": "x"} for u in tiny.make_users()]
    tiny.write_parquet(users, folder / "users.parquet")
    join = [{"input": "users.parquet", "on": "user"}]
    message = refused(folder, data__join=join, features=tiny.CONFIG["features"][:2])
    assert "columns ['item'] are in the log and in a side table" in message


def test_a_column_of_two_side_tables_is_refused(folder):
    shutil.copy(folder / "users.parquet", folder / "more.parquet")
    join = [{"input": f"{name}.parquet", "on": "user"} for name in ("users", "more")]
    features = [{"name": "country", "kind": "categorical"}]
    message = refused(folder, data__join=join, features=features)
    for words in ("column 'country'", "users.parquet", "more.parquet", "prefix"):
        assert words in message
    run(folder, data__join=join, features=tiny.CONFIG["features"][:2])  # nobody asks for it


def test_joins_in_the_wrong_order_are_refused(folder):
    cities = pa.table({"country": ["de", "fr"], "city": ["Bonn", "Lyon"]})
    pq.write_table(cities, folder / "cities.parquet")
    join = [
        {"input": "users.parquet", "on": "user"},
        {"input": "cities.parquet", "on": "country"},
    ]
    features = [{"name": "city", "kind": "categorical"}]
    message = refused(folder, data__join=join[::-1], features=features)
    assert "data.join: column 'country'" in message and "users.parquet" in message
    run(folder, data__join=join, features=features)


def test_a_side_table_that_knows_no_row_is_refused(folder):
    """A log of texts, and whole numbers."""
    tiny.write_csv([r | {"user": f"u{r['user'] or 0}"} for r in ROWS], folder / "log.csv")
    message = refused(folder, data__input=["log.csv"])
    assert "users.parquet has the 'user' of none of the 240 rows" in message
    assert "Types: int64 there, string in the log." in message


def test_what_joins_found_and_features_without_values_are_said(folder, capsys):
    rows = [row | {"price": None, "tags": None, "watch": None} for row in ROWS]
    tiny.write_parquet(rows, folder / "log.parquet")
    flags = ["--config", write_config(folder), "--output", folder / "out"]
    assert in_this_process("preprocess", *flags) == 0
    said = " ".join(capsys.readouterr().out.split())
    lonely = sum(row["user"] is None or row["user"] >= 20 for row in ROWS)
    assert f"{1 - lonely / 240:.1%} found by user: " in said
    assert "warning: feature price has no value in any training row" in said
    assert "warning: feature tags has" in said and said.count("warning:") == 3
    assert "warning: task watch has no label in any row" in said
    (shown,) = describe(folder / "out").values()
    (row,) = [r for r in shown if "not found" in r[0]]
    assert row[1] == lonely


def test_nan_and_infinity_are_missing_numbers_but_no_label_is_infinite(folder):
    rows = [dict(row) for row in ROWS]
    for i, value in enumerate((float("nan"), float("inf"), float("-inf"), 1e39)):
        rows[i]["price"] = value
        rows[i + 4]["watch"] = value if value > 0 else None
    tiny.write_parquet(rows, folder / "log.parquet")
    manifest = run(folder)
    assert manifest["rows"]["rejected"] == {"label watch: infinite, or beyond float32": 2}
    assert manifest["infinite"] == {"price": 3}
    found = naive.read(folder / "out")
    kept = [row for place, row in enumerate(rows) if place not in (5, 7)]
    missing = sum(row["price"] is None for row in kept) + 4
    assert sum(n for row, n in found.items() if row[6] == "nan") == missing
    assert not any("inf" in row for row in found)


def test_an_output_that_exists_is_refused_and_replaced_when_asked(folder):
    run(folder)
    before = (folder / "out" / "manifest.json").read_bytes()
    config = parse_config(tiny.config_document(), "c")
    with pytest.raises(InputError, match="exists already.*--overwrite"):
        preprocess(config, folder, folder / "out")
    assert (folder / "out" / "manifest.json").read_bytes() == before
    tiny.write_parquet(ROWS[:200], folder / "log.parquet")
    split = {"validation": "2024-03-03", "test": "2024-03-04"}
    config = parse_config(tiny.config_document(data__split=split), "c")
    assert preprocess(config, folder, folder / "out", overwrite=True)["rows"]["read"] == 200
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["log.parquet", "out", "users.parquet"]


def test_an_interrupted_stage_leaves_what_was_there(tmp_path):
    path = tmp_path / "out"
    for overwrite in (False, True):
        with pytest.raises(KeyboardInterrupt):
            with publish(path, overwrite) as partial:
                (partial / "half").write_text("x")
                assert not (path / "half").exists()
                raise KeyboardInterrupt
        if not overwrite:
            assert list(tmp_path.iterdir()) == []
            with publish(path) as partial:
                (partial / "train.json").write_text("y")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert [p.name for p in path.iterdir()] == ["train.json"]


@pytest.mark.parametrize("name", ["log.parquet", "a/train.json"])
def test_what_no_stage_wrote_is_not_replaced(tmp_path, name):
    path = tmp_path / "out"
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text("")
    for output in (path, path / name):
        with pytest.raises(InputError, match="not what a stage wrote"):
            with publish(output, overwrite=True):
                pass
    (path / name).unlink()
    assert not [p for p in path.rglob(".*")]


def test_what_another_job_published_meanwhile_stays(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(InputError, match="out exists already"):
        with publish(path) as partial:
            (partial / "ours").write_text("x")
            path.mkdir()
            (path / "train.json").write_text("y")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "train.json"]
    with publish(path, overwrite=True) as partial:
        (partial / "ours").write_text("x")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "ours"]


def answer(status, code="Some") -> Exception:
    """What boto3 raises on an answer."""
    found = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code}}
    return ClientError(found, "GetObject")


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (answer(500), True),
        (answer(503, "SlowDown"), True),
        (answer(429), True),
        (answer(400, "RequestTimeout"), True),
        (answer(400, "Throttling"), True),
        (answer(400, "InvalidArgument"), False),
        (answer(403), False),
        (answer(404), False),
        (ReadTimeoutError(endpoint_url="x"), True),
        (EndpointConnectionError(endpoint_url="x"), True),
        (NoCredentialsError(), False),
        (ConnectionResetError(104, "reset by peer"), True),
        (TimeoutError(), True),
        (BeamIOError("match failed", {"s3://b": answer(500)}), True),
        (BeamIOError("match failed", {"s3://b": answer(404)}), False),
        (OSError("not a Parquet file"), False),
        (InputError("a word of ours"), False),
        (PassingError("a word of ours"), True),
    ],
)
def test_faults_that_may_be_gone_at_the_next_try_are_told_apart(error, passing):
    assert isinstance(fault("said", error), PassingError if passing else InputError)


def test_a_connection_that_breaks_in_a_worker_is_no_bad_input(folder, monkeypatch):
    whole = Parquet.read

    def broken(self, path, part):
        if path.endswith("log.parquet"):
            raise ConnectionResetError(104, "Connection reset by peer")
        yield from whole(self, path, part)

    monkeypatch.setattr(Parquet, "read", broken)
    with pytest.raises(PassingError, match=r"log.parquet: .* reset by peer"):
        run(folder)


def test_jobs_of_one_process_id_do_not_share_what_is_half_done(tmp_path):
    """In containers each is process 1."""
    path = tmp_path / "out"
    with pytest.raises(InputError, match="out exists already"):
        with publish(path) as first:
            (first / "a").write_text("x")
            with publish(path) as second:
                (second / "b").write_text("y")
            assert [p.name for p in first.iterdir()] == ["a"]
    assert [p.name for p in path.iterdir()] == ["b"]
    assert first.match(PARTIAL)  # which nightly removes


def test_an_output_that_cannot_be_written_is_named(folder):
    config = parse_config(tiny.config_document(), "c")
    (folder / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write .*file/out"):
        preprocess(config, folder, folder / "file" / "out")


def one_message(said: str) -> str:
    assert "Traceback" not in said
    assert said.count("error") >= 1
    assert len(said.strip().splitlines()) <= 3
    return said


def write_config(folder, **changes):
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(tiny.config_document(**changes)))
    return path


def test_the_command_line_ends_with_one_message_and_status_2(folder, capsys):
    def failed(*arguments) -> str:
        assert in_this_process(*arguments) == 2
        return one_message(capsys.readouterr().err)

    path = write_config(folder)
    flags = ["--config", path, "--output", folder / "out"]
    item = [{"name": "itm", "kind": "categorical"}]
    message = failed("preprocess", *flags, "--set", f"features={item}")
    assert "Did you mean 'item'?" in message
    (folder / "log.parquet").write_bytes((folder / "log.parquet").read_bytes()[:-9])
    assert "log.parquet" in failed("preprocess", *flags)


def test_the_command_line_names_a_truncated_record_file(folder, config, examples):
    copy = shutil.copytree(examples, folder / "examples")
    path = sorted(copy.glob("train/*.tfrecord"))[0]
    path.write_bytes(path.read_bytes()[:-5])
    flags = ["--config", write_config(folder), "--examples", copy]
    done = steadyrank("train", *flags, "--output", folder / "train")
    assert done.returncode == 2, done.stderr
    assert str(path) in one_message(done.stderr)


def made_before(folder) -> Path:
    """A run that ended: its folders, empty but for what says of which config they are."""
    run, document = folder / "run", tiny.config_document()
    for stage in ("examples", "train", "export/1/assets.extra", "evaluation"):
        (run / stage).mkdir(parents=True)
    config = parse_config(document, "c")
    rows = {"read": 0, "written": 0, "duplicates": 0, "rejected": {}}
    manifest = {"fingerprint": "f", "rows": rows, "config": read_by_preprocessing(config)}
    write_json(run / "examples/manifest.json", manifest)
    (run / "train" / "config.yaml").write_text(yaml.safe_dump(document))
    training = {"steps": 1, "versions": {}}
    card = {"schema": {}, "training": training, "config": config.model_dump(mode="json")}
    write_json(run / "export/1/assets.extra/card.json", card)
    for marker in ("train/train.json", "export/1/saved_model.pb"):
        (run / marker).touch()
    return run


def run_again(folder, output, *flags):
    command = ["run", "--config", write_config(folder), "--output", output, *flags]
    return app([str(word) for word in command], standalone_mode=False)


def without_models(monkeypatch) -> list[Path]:
    """Let a run only note where it would export to, and pass."""
    exported = []

    def export(config, trained, output, **_):
        exported.append(output)
        return ExportResult(output / "1", 1)

    def evaluate(config, examples, model, output, **_):
        nothing = {"split": "test", "rows": 0, "tasks": {}}
        return EvaluateResult(output, "PASS", None, [], nothing)

    monkeypatch.setattr(stages, "export", export)
    monkeypatch.setattr(stages, "evaluate", evaluate)
    return exported


@pytest.mark.parametrize("busy", ["run", "run/train"])
def test_a_run_clears_nothing_that_another_process_makes(folder, busy):
    run = made_before(folder)
    (run / "train.partial").mkdir()
    with alone(folder / busy), pytest.raises(PassingError, match=f"{busy} is in use by"):
        run_again(folder, run, "--overwrite")
    assert (run / "train.partial").exists() and (run / "examples/manifest.json").exists()


def test_a_run_that_cannot_begin_leaves_the_one_before(folder):
    output = made_before(folder)
    with pytest.raises(InputError, match="no such file"):
        run_again(folder, output, "--overwrite", "--data", folder / "nowhere")
    assert sorted(path.name for path in output.iterdir()) == [
        "evaluation",
        "examples",
        "export",
        "train",
    ]


def test_a_run_goes_on_with_its_own_config_alone(folder):
    output = made_before(folder)
    with pytest.raises(InputError, match=r"train.epochs is 7 in the config, but"):
        run_again(folder, output, "--resume", "--set", "train.epochs=7")
    with pytest.raises(InputError, match=r"features.item.min_count is 9 in the config"):
        run_again(folder, output, "--resume", "--set", "features.item.min_count=9")
    with pytest.raises(InputError, match="choose one"):
        run_again(folder, output, "--resume", "--overwrite")


@pytest.mark.parametrize(
    ("key", "flags"),
    [
        ("data.split.test", ["--set", "data.split.test=2024-03-07"]),
        ("data.input", ["--input", "log.csv"]),
    ],
)
def test_a_run_goes_on_with_its_own_examples_alone(folder, key, flags):
    """Also where training has not begun."""
    output = made_before(folder)
    shutil.rmtree(output / "train")
    with pytest.raises(InputError, match=f"{key} is .* in the config, but .*examples was"):
        run_again(folder, output, "--resume", *flags)


@pytest.mark.parametrize(
    ("flags", "again"),
    [
        ([], False),
        (["--set", "export.embedding_dtype=int8"], True),
        (["--set", "serving.shared=[user]"], True),
        (["--set", "gates.size.max_mb=5"], False),
    ],
)
def test_a_run_goes_on_with_an_export_like_the_configs(folder, flags, again, monkeypatch):
    output, exported = made_before(folder), without_models(monkeypatch)
    run_again(folder, output, "--resume", *flags)
    assert exported == [output / "export"] * again


def test_a_run_goes_on_where_its_export_was_killed(folder, monkeypatch):
    output, exported = made_before(folder), without_models(monkeypatch)
    (output / "export/1").rename(output / "export/.1.partial-7")
    run_again(folder, output, "--resume")
    assert exported == [output / "export"]


@pytest.mark.parametrize(
    "command",
    [
        ["nightly", "--config", "c.yaml", "--day", "2024-03-05", "--store", "s3://b/s"],
        ["sweep", "--config", "c.yaml", "--examples", "s3://b/e", "--output", "o"],
        ["compare", "s3://b/run", "--output", "page.html"],
    ],
)
def test_what_needs_local_folders_says_so(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"local folders only. Received: s3://b/"):
        app(command, standalone_mode=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", [".", "..", "/", "log", "log/..", "log.parquet"])
@pytest.mark.parametrize("flag", [[], ["--overwrite"]])
def test_an_output_takes_the_place_of_nothing_that_is_needed(
    folder, output, flag, monkeypatch
):
    (folder / "log").mkdir()
    (folder / "log.parquet").rename(folder / "log" / "log.parquet")
    (folder / "log" / "manifest.json").write_text("{}")  # as if a stage had written it
    write_config(folder, data__input=["log/log.parquet"])
    monkeypatch.chdir(folder)
    command = ["preprocess", "--config", "c.yaml", "--output", output, *flag]
    if output == "log.parquet":
        command = ["train", "--config", "c.yaml", "--examples", output, "--output", output]
    with pytest.raises(
        InputError, match="--output (must be a folder of its|would take the)"
    ):
        app(command, standalone_mode=False)
    assert (folder / "log" / "log.parquet").exists()


def test_an_output_in_a_bucket_is_kept_apart_too():
    keep_apart(Url("s3://b/log"), Url("s3://b/logs/*.parquet"), Url("s3://b/l"), None)
    with pytest.raises(InputError, match=r"an input, s3://b/log/\*.parquet"):
        keep_apart(Url("s3://b/log/"), Url("s3://b/log/*.parquet"))


def test_a_run_removes_nothing_that_it_did_not_write(folder):
    output = made_before(folder)
    (output / "train" / "train.json").unlink()
    with pytest.raises(InputError, match="run/train is not what a stage wrote"):
        run_again(folder, output, "--overwrite")
    (output / "train" / "train.json").touch()
    log = str(output / "train.partial" / "*.parquet")
    with pytest.raises(InputError, match="take the place of an input"):
        run_again(folder, output, "--overwrite", "--input", log)


READING = {
    "preprocess": ["--config", "c.yaml", "--output", "out"],
    "run": ["--config", "c.yaml", "--output", "out"],
    "nightly": ["--config", "c.yaml", "--day", "2024-03-05", "--store", "store"],
}


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize(
    ("stray", "said"),
    [
        (["--sets", "train.epochs=3"], "No such option: --sets .*--set"),
        (["--runner=DirectRunner"], "No such option: --runner"),
        (["stray", "--", "--streaming"], r"unexpected extra argument.* \(stray\)"),
    ],
)
def test_a_misspelt_option_is_refused(name, stray, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [name, *READING[name], *stray], standalone_mode=False)
    assert re.search(said, done.exception.format_message())


@pytest.mark.parametrize("name", READING)
def test_what_follows_two_dashes_goes_to_beam(name, folder, monkeypatch):
    split = {"validation": 0.3, "test": "2024-03-05"}
    taken, path = [], write_config(folder, data__split=split)

    def take(config, folder, output, beam_flags, **more):
        taken.extend(beam_flags)
        raise InputError("that will do")

    monkeypatch.setattr("steadyrank.pipeline.preprocess.stage.preprocess", take)
    monkeypatch.setattr("steadyrank.pipeline.nightly.preprocess", take)
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError, match="that will do"):
        app([name, *READING[name], "--", "--runner=X", "--y", "z"], standalone_mode=False)
    assert taken == ["--runner=X", "--y", "z"]
