"""Iceberg tables: the rows of a snapshot, and none that lie beside them."""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.raw_log.find import find
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from tests.helpers import tiny

sql = pytest.importorskip(
    "pyiceberg.catalog.sql", reason="pip install 'steadyrank[iceberg]'"
)
NEEDS = {"user": "features.user", "called": "features.called", "price": "features.price"}


def written(folder: Path, *, catalog: str = "c"):
    where = {"uri": f"sqlite:///{folder}/{catalog}.db", "warehouse": f"file://{folder}"}
    made = sql.SqlCatalog(catalog, **where)
    made.create_namespace("db")
    return made


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Written in several commits: rows are deleted, a column is renamed, one is added."""
    from pyiceberg.types import DoubleType

    folder = tmp_path_factory.mktemp("warehouse")
    rows = pa.table({"user": range(10), "name": [f"n{n}" for n in range(10)]})
    made = written(folder).create_table("db.log", schema=rows.schema)
    made.append(rows)
    made.append(rows.slice(0, 4))
    made.delete("user = 3")
    with made.update_schema() as update:
        update.rename_column("name", "called")
        update.add_column("price", DoubleType())
    made.append(pa.table({"user": [50], "called": ["x"], "price": [1.5]}))
    return folder / "db" / "log"


def rows_of(*patterns: str, needs=NEEDS) -> list[tuple]:
    log = open_log([*map(str, patterns)], Form(), needs)
    batches = [batch for piece in log.pieces for batch in piece.batches()]
    lines = [line for batch in batches for line in batch.lines.tolist()]
    assert len(lines) == len({*lines}) <= log.rows
    found = [b.table.select([*needs]).to_pydict() for b in batches]
    return sorted(row for each in found for row in zip(*each.values(), strict=True))


KEPT = [(n, f"n{n}", None) for n in (0, 0, 1, 1, 2, 2, 4, 5, 6, 7, 8, 9)]


def test_rows_are_those_of_the_snapshot(table):
    assert rows_of(table) == [*KEPT, (50, "x", 1.5)]


@pytest.mark.parametrize("within", ["metadata/*.metadata.json", "**", "*/*"])
def test_a_pattern_means_the_newest_metadata_of_each_table(table, within):
    assert rows_of(table / within) == rows_of(table)
    (path,) = find([f"{table}/{within}"]).files
    assert path == max(map(str, table.glob("metadata/*.metadata.json")))


def test_an_older_snapshot_is_read_where_it_is_named(table):
    first = sorted(table.glob("metadata/*.metadata.json"))[1]
    needs = {"user": "features.user", "name": "features.name"}
    assert rows_of(first, needs=needs) == [(n, f"n{n}") for n in range(10)]
    with pytest.raises(InputError, match="db/log/metadata/00000.*the file is empty"):
        rows_of(sorted(table.glob("metadata/*.metadata.json"))[0], needs=needs)


@pytest.mark.parametrize("name", ["v9", "v10", "v10.gz"])
def test_versions_are_numbers(tmp_path, name):
    """As Hadoop's catalog names them."""
    folder = tmp_path / "t" / "metadata"
    folder.mkdir(parents=True)
    for each in ("v9", name):
        (folder / f"{each}.metadata.json").touch()
    (tmp_path / "t" / "old.parquet").touch()
    (tmp_path / "other.parquet").touch()
    found = find([str(tmp_path)])
    assert [Path(p).name for p in found.files] == ["other.parquet", f"{name}.metadata.json"]
    assert found.passed_over[str(tmp_path / "t")].startswith("files of an Iceberg table")


def test_examples_are_those_of_the_same_rows_in_parquet(tmp_path):
    rows = pa.Table.from_pylist(tiny.make_rows(seed=3))
    tiny.write_log(tmp_path / "in")  # with its side table
    pq.write_table(rows, tmp_path / "in" / "log.parquet")
    made = written(tmp_path / "in").create_table("db.log", schema=rows.schema)
    made.append(rows.slice(0, 120))
    made.append(rows.slice(120))
    found = {}
    for given in ("log.parquet", "db/log"):
        config = parse_config(tiny.config_document(data__input=[given]), "c")
        output = tmp_path / given.replace("/", "-")
        preprocess(config, tmp_path / "in", output)
        paths = sorted(output.rglob("*.tfrecord"))
        found[given] = [(p.relative_to(output), p.read_bytes()) for p in paths]
    assert found["log.parquet"] == found["db/log"] != []


def test_without_pyiceberg_it_is_refused_and_never_read_as_files(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiceberg.table", None)
    with pytest.raises(InputError, match=r"is an Iceberg table.*steadyrank\[iceberg\]"):
        rows_of(table)


@pytest.mark.parametrize("damage", ["metadata", "manifest", "data"])
def test_damage_is_named(tmp_path, damage):
    rows = pa.table({"user": [1, 2], "called": ["a", "b"], "price": [1.0, 2.0]})
    made = written(tmp_path).create_table("db.log", schema=rows.schema)
    made.append(rows)
    endings = {"metadata": "00001*.json", "manifest": "snap*.avro", "data": "*.parquet"}
    for path in (tmp_path / "db" / "log").rglob(endings[damage]):
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match="metadata.json: "):
        rows_of(tmp_path / "db" / "log")


def test_what_pyiceberg_does_not_know_is_said(table, monkeypatch):
    def unknown(*_):
        raise NotImplementedError("a delete vector")

    monkeypatch.setattr("pyiceberg.table.StaticTable.from_metadata", unknown)
    with pytest.raises(InputError, match="cannot read this table: a delete vector. Write"):
        rows_of(table)
