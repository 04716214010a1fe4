"""Side tables that cannot be joined are refused, and what joins found is said."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.api.describe import describe
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log, read_all
from tests.helpers import tiny
from tests.helpers.command_line import in_this_process
from tests.helpers.log_on_disk import ROWS, parse, refused, run, write_config


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


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
    assert "warning: feature tags has" in said and said.count("warning:") == 4
    assert "warning: task watch has no label in any row" in said
    nobodys = sum(row["user"] is None for row in ROWS)
    assert f"warning: {nobodys} rows without a user (data.group)" in said
    (shown,) = describe(folder / "out").values()
    (row,) = [r for r in shown if "not found" in r[0]]
    assert row[1] == lonely
