"""A store that fails now and then: read again, and the bytes are those that are there."""

import io
import json

import pytest

from steadyrank.pipeline.files import object_store, whole_folders
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.raw_log.find import find
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from tests.helpers import tiny
from tests.helpers.failing_store import FAULTS, failing_bucket

pytest.importorskip("moto.server", reason="pip install 'steadyrank[test]'")
CONTENT = bytes(range(256)) * 700


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with failing_bucket("of-failing-store") as failing:
        folder = tmp_path_factory.mktemp("log")
        tiny.write_log(folder, tiny.make_rows(120))
        tiny.write_csv(tiny.make_rows(120), folder / "log.csv")
        for path in folder.iterdir():
            object_store.write_bytes(
                Url("s3://of-failing-store/log") / path.name, path.read_bytes()
            )
        object_store.write_bytes(Url("s3://of-failing-store/x"), CONTENT)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.sleep", lambda seconds: None)
            yield failing


@pytest.fixture(autouse=True)
def healthy(store):
    yield
    store.heal()


ALWAYS = range(10**6)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("turns", [(0,), (1,), (0, 1)])
def test_an_object_is_read_whole(store, fault, turns):
    store.fail(fault, turns)
    assert object_store.read_bytes(Url("s3://of-failing-store/x")) == CONTENT
    store.fail(fault, turns)
    assert object_store.read_tagged(Url("s3://of-failing-store/x"))[0] == CONTENT
    store.fail(fault, turns)
    assert set(object_store.sizes(Url("s3://of-failing-store/log"))) == {
        "log.csv",
        "log.parquet",
        "users.parquet",
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_what_never_comes_is_no_damage(store, fault):
    count = store.fail(fault, ALWAYS)
    with pytest.raises(PassingError, match="s3://of-failing-store/x"):
        object_store.read_bytes(Url("s3://of-failing-store/x"))
    assert next(count) < 40


def test_a_log_is_read_at_any_offset_as_from_a_disk(store):
    with object_store.open_object("s3://of-failing-store/x") as file:
        disk = io.BytesIO(CONTENT)
        for offset, size in ((0, 10), (5, 300), (100_000, 1 << 20), (179_190, 20), (3, 0)):
            assert file.seek(offset) == disk.seek(offset)
            assert file.read(size) == disk.read(size)
        assert file.seek(-5, io.SEEK_END) == disk.seek(-5, io.SEEK_END)
        assert file.read() == disk.read() and file.read(1) == b""


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(store):
    url = Url("s3://of-failing-store/y")
    object_store.write_bytes(url, b"a" * (9 << 20))
    with object_store.open_object(url) as file:
        assert file.read(5) == b"aaaaa"
        object_store.write_bytes(url, b"b" * (9 << 20))
        with pytest.raises(PassingError, match="s3://of-failing-store/y"):
            file.read()


@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
@pytest.mark.parametrize("fault", ["500", "reset", "half", "empty"])
def test_no_row_of_a_log_is_lost_and_no_file_is_blamed(store, name, fault):
    def rows():
        log = open_log(
            [f"s3://of-failing-store/log/{name}"], Form(), {"time_ms": "data.time"}
        )
        batches = [batch for piece in log.pieces for batch in piece.batches()]
        return [row for batch in batches for row in batch.table.to_pylist()]

    wanted = rows()
    assert len(wanted) == 120
    before = len(store.asked)
    assert rows() == wanted
    reads = sum(method == "GET" for method, _ in store.asked[before:])
    for turn in range(reads):
        store.fail(fault, (turn,))
        assert rows() == wanted, turn
    count = store.fail(fault, ALWAYS)
    with pytest.raises(PassingError, match="s3://of-failing-store"):
        rows()
    assert next(count) < 40


def test_patterns_are_matched_as_before(store):
    found = find(["s3://of-failing-store/log/*.parquet"]).files
    assert found == (
        "s3://of-failing-store/log/log.parquet",
        "s3://of-failing-store/log/users.parquet",
    )
    assert find(["s3://of-failing-store/log"]).files == (
        "s3://of-failing-store/log/log.csv",
        *found,
    )
    assert find(["s3://of-failing-store/log/log.csv"]).files == (
        "s3://of-failing-store/log/log.csv",
    )
    assert find(["s3://of-failing-store/l[o]g/l?g.csv"]).files == (
        "s3://of-failing-store/log/log.csv",
    )
    with pytest.raises(InputError, match="no such file"):
        find(["s3://of-failing-store/lo"])


def test_a_folder_whose_marker_lies_about_a_size_is_not_taken(store, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(b"12345")
    whole_folders.send(tmp_path / "in", Url("s3://of-failing-store/f"))
    marker = Url("s3://of-failing-store/f") / whole_folders.MARKER
    for damaged in (b"[]", b"{}", b'{"bytes": {"a": "5"}}', b'{"bytes', b"\xff"):
        object_store.write_bytes(marker, damaged)
        with pytest.raises(InputError, match="_COMPLETE.json is corrupt"):
            whole_folders.fetch(Url("s3://of-failing-store/f"), tmp_path / "out")
    object_store.write_bytes(marker, json.dumps({"bytes": {"a": 5}}).encode())
    object_store.write_bytes(Url("s3://of-failing-store/f/a"), b"123")
    with pytest.raises(InputError, match="must hold 5 bytes. Received: 3"):
        whole_folders.fetch(Url("s3://of-failing-store/f"), tmp_path / "out")


@pytest.mark.parametrize("fault", ["500", "503", "reset", "lost"])
def test_what_is_written_is_there_once_whatever_answers_were_lost(store, fault):
    url = Url(f"s3://of-failing-store/written-{fault}")
    for method, turns in (("PUT", (0,)), ("PUT", (0, 1))):
        store.fail(fault, turns, method)
        object_store.write_bytes(url, CONTENT)
        store.heal()
        assert object_store.read_bytes(url) == CONTENT
    claimed = Url(f"s3://of-failing-store/claimed-{fault}")
    store.fail(fault, (0,), "PUT")
    assert object_store.write_bytes_if(claimed, b"ours", object_store.ABSENT)
    assert not object_store.write_bytes_if(claimed, b"theirs", object_store.ABSENT)
