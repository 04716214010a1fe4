"""Generated files of known content: folders, columns and what is a split of them."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log import find
from steadyrank.pipeline.raw_log.absent import said_of
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from tests.helpers.settled import settle
from tests.helpers.tiny import config_document


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reading")


def test_what_patterns_match_is_read_or_named(tmp_path):
    for name in (
        "log/a.csv",
        "log/_SUCCESS",
        "log/.a.csv.crc",
        "log/_temporary/0/b.csv",
        "log/dt=1/c.csv",
        "x[1].csv",
        "d[2]/y.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("k\n1\n")
    every = {str(p) for p in (tmp_path / "log").rglob("*") if p.is_file()}
    for pattern, read_ in (
        ("log/*", {"log/a.csv"}),
        ("log", {"log/a.csv", "log/dt=1/c.csv"}),
        ("log/**", {"log/a.csv", "log/dt=1/c.csv"}),
        ("log/*/*.csv", {"log/dt=1/c.csv"}),
    ):
        found = find.find([str(tmp_path / pattern)])
        assert {*found.files} == {str(tmp_path / name) for name in read_}
        if pattern in ("log/*", "log", "log/**"):
            assert {*found.files, *found.passed_over} == every
    for name in ("x[1].csv", "d[2]/*.csv", "d[[]2]/*.csv", "log/.a.csv.crc"):
        assert len(find.find([str(tmp_path / name)]).files) == 1
        assert find.is_meant(
            find.find([str(tmp_path / name)]).files[0], str(tmp_path / name)
        )
    with pytest.raises(InputError, match="no such file. Passed over: .*_SUCCESS .hidden"):
        find.find([str(tmp_path / "log" / "_S*")])
    (tmp_path / "log" / "_delta_log").mkdir()
    (tmp_path / "log" / "_delta_log" / "0.json").write_text("{}")
    with pytest.raises(InputError, match="is a table of Delta"):
        find.find([str(tmp_path / "log")])


def test_folders_and_files_that_lack_a_column(tmp_path):
    for day, table in (
        ("2026-01-01", {"a": [1], "b": ["x"]}),
        ("__HIVE_DEFAULT_PARTITION__", {"a": [2.0]}),
        ("a%20b", {"a": [3], "b": ["y"], "dt": ["own"]}),
    ):
        folder = tmp_path / f"dt={day}"
        folder.mkdir()
        pq.write_table(pa.table(table), folder / "p.parquet")
    needs = {name: f"features.{name}" for name in ("a", "b", "dt")}
    log = open_log([str(tmp_path)], Form(), needs)
    rows = [r for p in log.pieces for b in p.batches() for r in b.table.to_pylist()]
    found = {row["a"]: (row["b"], row["dt"]) for row in rows}
    assert found == {1: ("x", "2026-01-01"), 2: (None, None), 3: ("y", "own")}
    assert [len(paths) for paths in log.absent.values()] == [1]
    with pytest.raises(InputError, match="no column 'b', which data.time needs"):
        open_log([str(tmp_path)], Form(), needs | {"b": "data.time"})


def test_a_file_of_another_delimiter_than_the_others_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("at,user,click\n1,u,1\n")
    (tmp_path / "b.csv").write_text("at\tuser\tclick\n1\tu\t1\n")
    needs = {"user": "features.user", "click": "tasks.click"}
    for delimiter, wrong, mark in ((",", "b", r"'\\t'"), ("\t", "a", "','")):
        match = f"{wrong}.csv: its values seem to be parted by {mark}: .*data.delimiter"
        with pytest.raises(InputError, match=match):
            open_log([f"{tmp_path}/*.csv"], Form(delimiter=delimiter), needs)
    assert open_log([f"{tmp_path}/a.csv"], Form(), needs | {"at": "data.time"}).rows == 1


def test_all_columns_that_csv_and_typed_files_differ_in_are_named_with_a_remedy(tmp_path):
    (tmp_path / "a.csv").write_text("user,item,click,name\n7,8,1,x\n")
    table = pa.table({"user": [7], "item": [8], "click": [1.0], "name": ["x"]})
    pq.write_table(table, tmp_path / "b.parquet")
    needs = dict.fromkeys(table.column_names, "features")
    csv, typed = (str(tmp_path / name) for name in ("a.csv", "b.parquet"))
    for files in ([csv, typed], [typed, csv]):
        with pytest.raises(InputError, match="^" + files[1]) as raised:
            open_log(files, Form(), needs)
        said = str(raised.value)
        for name in ("user", "item", "click"):
            assert f"column {name!r} is " in said
        assert "column 'name'" not in said
        assert f"In CSV every column is text: write {csv}, " in said
        assert said.endswith(f"these columns of {typed} as texts: user, item, click.")
    texts = pa.table({n: pc.cast(table[n], pa.string()) for n in table.column_names})
    pq.write_table(texts, typed)
    assert open_log([csv, typed], Form(), needs).rows == 2


def test_a_file_that_calls_a_column_otherwise_is_said_with_its_name(tmp_path):
    for day, name in enumerate(("category", "category", "categorie", "categorie")):
        text = f"user,catalogue,{name}\n1,2,3\n"
        (tmp_path / f"{day}.csv").write_text(text)
    needs = {"user": "features.user", "category": "features.category"}
    log = open_log([f"{tmp_path}/*.csv"], Form(), needs)
    (said,) = said_of(log.absent, log.renamed)
    first = tmp_path / "2.csv"
    assert said == (
        f"warning: column category is missing in {first} and 1 more: null there "
        "(it has 'categorie': a new name?)"
    )
    for path in tmp_path.glob("[23].csv"):  # which all files have is no new name
        path.write_text("user,catalogue\n1,2\n")
    log = open_log([f"{tmp_path}/*.csv"], Form(), needs)
    assert [*log.absent] == ["category"] and not log.renamed


def split_log(folder, **data):
    """A log of 240 rows of 12 users, whose parts are named; and what is read of it."""
    words = ["train", "TRAIN ", "training", "val", "test", "eval"]
    rows = [
        {"user": n % 12, "item": n, "part": words[n % 6], "click": 1} for n in range(240)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "parts.parquet")
    document = {
        "data": {"input": ["parts.parquet"], "group": "user", **data},
        "features": [{"name": "item", "kind": "categorical"}],
        "tasks": [{"name": "click"}],
        "model": {"trunk": "lr"},
    }
    return settle(parse_config(document, "c"), folder)


def test_a_column_says_where_a_row_belongs(folder):
    found = split_log(folder, split={"column": "part"})
    assert found.values("split") == {"train": 120, "validation": 80, "test": 40}
    found = split_log(folder, split={"column": "item"})
    assert found.rejected == {"item: neither train, validation nor test": 240}


def test_all_rows_of_a_group_are_in_one_split(folder):
    found = split_log(folder, split={"validation": 0.3, "test": 0.3, "by": "group"})
    pairs = set(
        zip(found.rows["group"].to_pylist(), found.rows["split"].to_pylist(), strict=True)
    )
    assert len(pairs) == 12
    assert {split for _, split in pairs} == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"column": "part", "test": 0.1}, "column says it all"),
        ({"validation": "2024-01-01"}, "needs validation and test"),
        (
            {"validation": "2024-01-01", "test": "2024-01-02", "by": "group"},
            "by: group needs",
        ),
    ],
)
def test_splits_that_say_too_much_or_too_little_are_refused(split, said):
    with pytest.raises(InputError, match=said):
        parse_config(config_document(data__split=split), "c")
