"""A table scored: equal to what is served, whole, in any format, resumed."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

import steadyrank
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.score import pieces, rows, stage, top
from tests.helpers import tiny

KEPT = ["user", "number"]
TASKS = ["click", "like", "watch"]
SPOILED = 7  # its price is no number


@pytest.fixture(scope="module")
def new():
    """Rows of another day, which have no labels, and each its number."""
    found = tiny.make_rows(500, seed=9)
    return [{k: v for k, v in row.items() if k not in TASKS} for row in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, log_folder, new):
    """Two files and the side table of the model's config."""
    folder = tmp_path_factory.mktemp("score")
    (folder / "users.parquet").write_bytes((log_folder / "users.parquet").read_bytes())
    pq.write_table(pa.Table.from_pylist(new[:300]), folder / "a.parquet", row_group_size=90)
    pq.write_table(pa.Table.from_pylist(new[300:]), folder / "b.parquet")
    return folder


def scored(folder, exported, name="out", **how):
    how = {"keep": KEPT, "data": folder, "input": folder / "?.parquet", **how}
    return steadyrank.score(model=exported, output=folder / name, **how)


def read(result) -> pa.Table:
    files = sorted(result.output.glob("part-*.parquet"))
    return pa.concat_tables(pq.read_table(file) for file in files)


@pytest.fixture(scope="module")
def served(folder, new, exported):
    """Output -> number of a row -> what plain TensorFlow answers a client."""
    countries = {
        row["user"]: row["country"]
        for row in pq.read_table(folder / "users.parquet").to_pylist()
    }
    call = tf.saved_model.load(str(exported)).signatures["serving_default"]
    _, inputs = call.structured_input_signature

    def column(name, missing):
        values = [row[name] for row in new]
        return [missing if value is None else value for value in values]

    sent = {
        "user": column("user", -(2**63)),
        "item": column("item", ""),
        "tags": column("tags", ""),
        "country": [countries.get(row["user"]) or "" for row in new],
        "price": column("price", np.nan),
        "age": column("age", np.nan),
    }
    outputs = call(**{n: tf.constant(v, inputs[n].dtype) for n, v in sent.items()})
    numbers = [row["number"] for row in new]
    return {
        name: dict(zip(numbers, values.numpy().tolist(), strict=True))
        for name, values in outputs.items()
    }


def test_every_row_as_it_is_served(folder, exported, new, served):
    result = scored(folder, exported)
    table = read(result)
    assert table.column_names == [*KEPT, *served, "model_version"] or set(
        table.column_names
    ) == {*KEPT, *served, "model_version"}
    assert (result.rows, result.scored, result.written) == (500, 500, 500)
    assert table["number"].to_pylist() == [row["number"] for row in new]  # in their order
    assert table["user"].to_pylist() == [row["user"] for row in new]
    assert set(table["model_version"].to_pylist()) == {exported.name}
    assert {*TASKS, "score"} <= {*served}
    for name, values in served.items():
        wanted = [values[number] for number in table["number"].to_pylist()]
        np.testing.assert_allclose(table[name], wanted, rtol=1e-6, atol=1e-6)
    assert not (result.output / "rejected").exists()
    left = {path.name for path in result.output.iterdir() if "part" not in path.name}
    assert left == {"scores.json"}


def test_a_prefix_is_of_whole_tables(folder, exported):
    with pytest.raises(InputError, match="--prefix names .* which --top cuts"):
        scored(folder, exported, "cut", prefix="t_", top=3, by="user")
    with pytest.raises(InputError, match="or the model's: --prefix teacher_"):
        scored(folder, exported, "same", keep="click=number")


def test_csv_and_rejected_rows(tmp_path, folder, exported, new, served):
    texts = [
        {k: "" if v is None else str(v) for k, v in row.items()} | {"note": "x"}
        for row in new
    ]
    texts[SPOILED]["price"] = "dear"
    pa.csv.write_csv(pa.Table.from_pylist(texts), tmp_path / "new.csv")
    result = scored(folder, exported, "of_csv", input=tmp_path / "new.csv", keep="n=number")
    assert (result.rows, result.scored) == (500, 499)
    assert result.rejected == {"feature price: not a number": 1}
    sample = result.samples["feature price: not a number"]
    assert (sample["value"], sample["line"]) == ("dear", SPOILED + 2)
    table = read(result)
    wanted = [served["score"][int(n)] for n in table["n"].to_pylist()]
    np.testing.assert_allclose(table["score"], wanted, rtol=1e-6, atol=1e-6)
    rejected = pq.read_table(result.output / "rejected")
    assert rejected["number"].to_pylist() == [str(new[SPOILED]["number"])]
    found = json.loads((result.output / "scores.json").read_text())
    assert found["rows"] == found["scored"] + sum(found["rejected"].values())


@pytest.mark.parametrize("at_once", [top.ROWS_AT_ONCE, 40], ids=["one", "spread"])
def test_the_best_of_each_user(folder, exported, new, served, at_once, monkeypatch):
    monkeypatch.setattr(top, "ROWS_AT_ONCE", at_once)
    result = scored(folder, exported, f"best{at_once}", top=3, by="user")
    assert (result.rows, result.scored) == (500, 500)
    wanted = {}
    for row in sorted(new, key=lambda row: -served["score"][row["number"]]):
        wanted.setdefault(row["user"], []).append(row["number"])
    found = {}
    for row in read(result).to_pylist():
        found.setdefault(row["user"], []).append(row["number"])
    assert found == {user: numbers[:3] for user, numbers in wanted.items()}
    assert result.written == sum(map(len, found.values())) < 500


def test_an_interrupted_scoring_goes_on(folder, exported, monkeypatch):
    whole = read(scored(folder, exported, "whole"))
    scores, seen = rows.score_batch, []

    def dies(batch, path, *more, **named):
        if path.endswith("b.parquet"):
            raise SystemError("killed")
        return scores(batch, path, *more, **named)

    monkeypatch.setattr(pieces, "score_batch", dies)
    with pytest.raises(Exception, match="killed"):
        scored(folder, exported, "again")
    assert not (folder / "again").exists()

    def counted(batch, path, *more, **named):
        seen.append(path)
        return scores(batch, path, *more, **named)

    monkeypatch.setattr(pieces, "score_batch", counted)
    with pytest.raises(steadyrank.InputError, match="begun with another kept"):
        scored(folder, exported, "again", resume=True, keep="user")
    result = scored(folder, exported, "again", resume=True)
    assert read(result).equals(whole)
    assert {path.rpartition("/")[2] for path in seen} == {"b.parquet"}


def test_a_scoring_that_died_before_its_end_goes_on(folder, exported, monkeypatch):
    """Killed once every piece was scored, with the best of each user made already."""
    how = {"top": 3, "by": "user"}
    whole = read(scored(folder, exported, "of_top", **how))

    def dies(*_):
        raise SystemError("killed")

    monkeypatch.setattr(stage, "replace", dies)
    with pytest.raises(SystemError):
        scored(folder, exported, "at_the_end", **how)
    monkeypatch.undo()
    (folder / "at_the_end.partial" / "rejected" / ".part-00000.parquet.ab").write_text("x")
    result = scored(folder, exported, "at_the_end", resume=True, **how)
    assert read(result).equals(whole) and result.written == len(whole)
    assert {path.suffix for path in result.output.iterdir()} == {".parquet", ".json"}
    assert not (folder / "at_the_end.partial").exists()


def test_what_died_with_its_output_in_place_is_cleared_by_the_next(
    folder, exported, monkeypatch
):
    clear = stage._clear_published

    def dies(work):
        if (work / stage.DONE).exists():
            raise SystemError("killed")

    monkeypatch.setattr(stage, "_clear_published", dies)
    with pytest.raises(SystemError):
        scored(folder, exported, "in_place")
    work = folder / "in_place.partial"
    assert (folder / "in_place" / "scores.json").exists() and work.exists()
    monkeypatch.undo()
    (work / stage.FINAL).mkdir()  # as long as there is something to put in place
    clear(work)
    assert (work / stage.PARTS).exists()
    (work / stage.FINAL).rmdir()
    with pytest.raises(steadyrank.InputError, match="exists already"):
        scored(folder, exported, "in_place")
    assert not work.exists()


def test_other_rows_or_damaged_notes_are_not_gone_on_with(
    tmp_path, folder, exported, monkeypatch
):
    new = tmp_path / "new.parquet"
    new.write_bytes((folder / "b.parquet").read_bytes())
    monkeypatch.setattr(stage, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scored(folder, exported, "changed", input=new)
    monkeypatch.undo()
    (note,) = (folder / "changed.partial" / "notes").iterdir()
    text = note.read_text()
    note.write_text("[]")
    with pytest.raises(steadyrank.InputError, match="corrupt|damaged"):
        scored(folder, exported, "changed", input=new, resume=True)
    note.write_text(text)
    new.write_bytes((folder / "a.parquet").read_bytes())
    with pytest.raises(steadyrank.InputError, match="begun with another .*files"):
        scored(folder, exported, "changed", input=new, resume=True)


def test_no_output_takes_the_place_of_what_is_read(tmp_path, folder, exported):
    log = tmp_path / "log"
    log.mkdir()
    for name in ("a.parquet", "users.parquet"):
        (log / name).write_bytes((folder / name).read_bytes())
    (log / "manifest.json").write_text("{}")  # as if a stage had written it
    for given in ({"input": log / "a.parquet"}, {"input": folder / "a.parquet"}):
        how = {"keep": KEPT, "data": log, "overwrite": True, **given}
        with pytest.raises(steadyrank.InputError, match="take the place of an input"):
            steadyrank.score(model=exported, output=log, **how)
    assert (log / "users.parquet").exists()


def test_a_changed_export_scores_nothing(tmp_path, folder, exported):
    copy = shutil.copytree(exported, tmp_path / "1")
    (copy / "fingerprint.pb").write_bytes(b"other")
    with pytest.raises(steadyrank.InputError, match="other files than"):
        scored(folder, copy, "of_changed")


def test_scores_that_are_not_finite_are_rejected(folder, exported, monkeypatch):
    from steadyrank.pipeline.export.table_scores import TableScorer

    own = TableScorer.score

    def spoiled(self, table):
        found = {name: values.copy() for name, values in own(self, table).items()}
        found["like"][0] = np.inf
        return found

    monkeypatch.setattr(TableScorer, "score", spoiled)
    result = scored(folder, exported, "spoiled")
    assert result.rejected == {rows.NOT_FINITE: result.rows - result.scored}
    assert result.scored < 500


@pytest.mark.parametrize(
    "how, says",
    [
        ({"keep": "usr"}, "no column 'usr'.*Did you mean 'user'"),
        ({"keep": "click=number"}, "--keep log_click=number"),
        ({"keep": "a=user,a=item"}, "names 'a' twice"),
        ({"top": 3}, "--top and --by go together"),
        ({"top": 0, "by": "user"}, "at least 1. Received: 0"),
        ({"input": "nothing.parquet"}, "^--input: .*nothing.parquet: no such file"),
        (
            {"data": "{folder}/out"},
            "side table users.parquet beside each row's user.*no such file.*--data DIR",
        ),
        ({"model": "."}, "neither an export nor a folder of exports"),
        ({"resume": True}, "no interrupted scoring"),
    ],
)
def test_what_cannot_be_is_refused(folder, exported, how, says):
    how = {"model": exported, "keep": KEPT, "data": folder, **how}
    how = {"input": folder / "?.parquet", **how}
    how["data"] = str(how["data"]).format(folder=folder)
    with pytest.raises(steadyrank.InputError, match=says):
        steadyrank.score(output=folder / "refused", **how)
    assert not (folder / "refused").exists()
