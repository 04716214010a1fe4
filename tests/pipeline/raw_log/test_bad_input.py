"""Bad input: a clear error that names the thing, and nothing left behind."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess import encode
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.rows import LOW, type_rows
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from tests.helpers import naive, tiny
from tests.helpers.log_on_disk import ROWS, parse, refused, run
from tests.helpers.settled import settle


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


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
    assert "max_values needs a list. Give a separator" in refused(folder, features=features)


def test_lists_with_a_separator_are_refused(folder):
    """Examples would hold a list's values as they are, requests the parts of a text."""
    with_column("tags", pa.array([["a|3", "c"]] * 240))(folder)
    message = refused(folder)
    assert "features.tags: column 'tags'" in message
    assert "list<" in message
    assert "Remove the separator" in message


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


def test_a_file_that_two_patterns_mean_is_read_once(folder):
    log = open_log([str(folder / n) for n in ("l*.parquet", "log.parquet")], Form(), {})
    assert log.files == (str(folder / "log.parquet"),)


def test_a_column_called_as_one_of_ours_is_refused(tmp_path):
    pq.write_table(pa.table({"__source": [1]}), tmp_path / "x.parquet")
    with pytest.raises(InputError, match="features.a: column '__source'.*Rename it"):
        open_log([str(tmp_path / "x.parquet")], Form(), {"__source": "features.a"})


def test_an_unknown_format_is_refused(folder):
    (folder / "log.xlsx").write_bytes(b"x")
    assert "unknown format" in refused(folder, data__input=["log.xlsx"])


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
