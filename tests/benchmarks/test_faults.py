"""The simulator of crashes notices what is not whole, and finds nothing where all is."""

import contextlib
import os
import tempfile
from unittest import mock

import pytest

from benchmarks.faults.__main__ import Bench, table
from benchmarks.faults.cases import LOCAL, Case, on_the_store
from benchmarks.faults.power import CUTS, EMPTY, HALF, NOTHING
from steadyrank.pipeline.files import publish
from steadyrank.pipeline.files.durable import sync
from steadyrank.pipeline.files.object_store import write_bytes_if
from steadyrank.pipeline.files.urls import Url


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    before = tempfile.tempdir
    found = Bench(tmp_path_factory.mktemp("bench").resolve())
    with found.store.served(), mock.patch("os.fsync"):
        yield found
    tempfile.tempdir = before


def _read(root):
    return (root / "a").read_text() if (root / "a").exists() else None


def _before(root):
    (root / "a").write_text("before")


def _case(act, **changes):
    told = {"stage": "x", "name": "y", "prepare": _before, "act": act, "state": _read}
    return Case(**{**told, **changes})


def test_a_file_that_is_written_in_place_is_noticed(bench):
    _, tried = bench.all_of(_case(lambda root: (root / "a").write_text("afterwards")))
    lost = {one.fault for one in tried if one.lost}
    assert "torn write" in lost and not any(one.leftovers for one in tried)


def test_what_no_next_command_sweeps_is_noticed(bench):
    def act(root):
        name = root / f"a-{os.urandom(4).hex()}"
        name.write_text("afterwards")
        name.replace(root / "a")

    _, tried = bench.all_of(_case(act))
    assert not any(one.lost for one in tried if one.fault not in CUTS)
    assert {one.fault for one in tried if one.leftovers} >= {"dies", "torn write"}


def test_a_fault_that_is_passed_over_in_silence_is_noticed(bench):
    def act(root):
        with contextlib.suppress(OSError):
            (root / "b").write_text("afterwards")
            (root / "b").replace(root / "a")

    _, tried = bench.all_of(_case(act))
    assert {"ENOSPC", "EIO"} <= {one.fault for one in tried if "success" in one.lost}


def test_a_fault_that_ends_in_a_traceback_is_noticed(bench, capsys):
    def act(root):
        try:
            (root / "b").write_text("afterwards")
        except OSError:
            raise KeyError("b") from None
        (root / "b").replace(root / "a")

    _, tried = bench.all_of(_case(act))
    assert {one.status for one in tried if one.wrong_status} == {70}
    assert "KeyError" in capsys.readouterr().err


def test_an_answer_that_was_lost_and_is_taken_for_no_is_noticed(bench):
    url = Url("s3://bucket/place/claims/1")

    def act(root):
        if not write_bytes_if(url, os.urandom(4), "*"):
            raise FileExistsError(17, "claimed", "x")

    def again(root):
        """By another, who finds it taken."""

    there = _case(act, state=lambda root: len(bench.store.objects), recover=again)
    _, tried = bench.all_of(there)
    assert [one.survived for one in tried if one.fault == "lost"] == [True]


@pytest.mark.parametrize("number", [0, 1, 5])
def test_nothing_is_lost_of_ours(bench, number):
    count, tried = bench.all_of(LOCAL[number], 9)
    assert count >= 5 and len(tried) > 2 * count
    assert not [one for one in tried if not one.survived]
    assert sum(row["tried"] for row in table(tried)) == len(tried)


@pytest.mark.parametrize("case", LOCAL, ids=lambda case: f"{case.stage}: {case.name}")
def test_what_was_told_done_outlasts_a_power_cut(bench, case):
    found = bench.undisturbed(case)
    after_all = len(found[0][0])
    tried = [bench.cut(case, found, after_all, how) for how in CUTS]
    assert {one.status for one in tried} == {0}
    assert not [one for one in tried if not one.survived]


def test_nothing_is_lost_on_a_store(bench):
    for case in (on_the_store(bench.store)[number] for number in (3, 5)):
        _, tried = bench.all_of(case)
        assert not [one for one in tried if not one.survived], case.name


def _renamed(root, syncs):
    """As ``write_text`` does, with these of its two syncs."""
    (root / "b").write_text("afterwards")
    if "file" in syncs:
        sync(root / "b")
    (root / "b").replace(root / "a")
    if "folder" in syncs:
        sync(root)


@pytest.mark.parametrize(
    ("syncs", "noticed"),
    [
        ({"file", "folder"}, set()),
        ({"folder"}, {EMPTY, HALF, NOTHING}),
        ({"file"}, {NOTHING}),
    ],
)
def test_what_was_not_synced_is_lost_with_the_power(bench, syncs, noticed):
    _, tried = bench.all_of(_case(lambda root: _renamed(root, syncs)))
    cuts = [one for one in tried if one.fault in CUTS]
    assert len(cuts) >= 12
    assert {one.fault for one in cuts if not one.survived} == noticed


def test_a_folder_that_is_named_before_it_is_synced_is_lost(bench, monkeypatch):
    monkeypatch.setattr(publish, "sync_tree", lambda folder: None)
    found = bench.undisturbed(LOCAL[1])
    last = len(found[0][0])
    tried = [bench.cut(LOCAL[1], found, last, how) for how in CUTS]
    assert {EMPTY, HALF} <= {one.fault for one in tried if one.lost}
