"""Published whole through every kill: exchange, healing, scratch folders, syncing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from steadyrank.pipeline.files import durable, publish, scratch
from steadyrank.pipeline.files.publish import heal, replace

HOLDING = """
import sys, time
from pathlib import Path
from steadyrank.pipeline.files.scratch import scratch
with scratch(Path(sys.argv[1]), "x-") as folder:
    (folder / "a").write_text("1")
    print(folder, flush=True)
    time.sleep(60)
"""


def folder_of(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "a").write_text(text)
    return path


def test_two_names_change_places_at_once(tmp_path):
    one, two = folder_of(tmp_path / "one", "1"), folder_of(tmp_path / "two", "2")
    if not durable.exchange(one, two):
        pytest.skip("this file system cannot exchange two names")
    assert ((one / "a").read_text(), (two / "a").read_text()) == ("2", "1")
    with pytest.raises(OSError):
        durable.exchange(one, tmp_path / "absent")


@pytest.mark.parametrize("can_exchange", [True, False])
def test_what_is_replaced_is_there_until_the_new_is(tmp_path, monkeypatch, can_exchange):
    path, partial = folder_of(tmp_path / "out", "old"), folder_of(tmp_path / "p", "new")
    if not can_exchange:
        monkeypatch.setattr(publish, "exchange", lambda one, two: False)
    replace(partial, path)
    assert (path / "a").read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["out"]


def test_killed_between_two_renames_the_old_stands_again(tmp_path, monkeypatch):
    """Where two names cannot change places, which network file systems cannot."""
    path, partial = folder_of(tmp_path / "out", "old"), folder_of(tmp_path / "p", "new")
    monkeypatch.setattr(publish, "exchange", lambda one, two: False)
    rename = Path.rename

    def killed(self, to):
        if self == partial:
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        replace(partial, path)
    monkeypatch.setattr(Path, "rename", rename)
    assert not path.exists()
    heal(path)
    assert (path / "a").read_text() == "old"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["out", "p"]


def test_all_is_on_the_disk_before_it_is_named(tmp_path, monkeypatch):
    path, partial = tmp_path / "out", folder_of(tmp_path / "p", "new")
    folder_of(partial / "below", "b")
    done, rename, fsync = [], Path.rename, os.fsync

    def record_sync(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def record_rename(self, to):
        done.append("named")
        return rename(self, to)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "rename", record_rename)
    replace(partial, path)
    named = done.index("named")
    wanted = {partial, partial / "a", partial / "below", partial / "below/a"}
    assert set(done[:named]) == set(map(str, wanted))
    assert done[named + 1 :] == [str(tmp_path)]


def test_a_json_file_is_on_the_disk_before_it_is_named(tmp_path, monkeypatch):
    done, fsync = [], os.fsync

    def record(descriptor):
        done.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    publish.write_json(tmp_path / "a.json", {})
    assert done == ["a.json.partial", tmp_path.name]


def test_folders_that_are_made_on_the_way_are_on_the_disk(tmp_path, monkeypatch):
    done, fsync = [], os.fsync

    def record(descriptor):
        done.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    durable.make_folders(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert set(done) == {str(tmp_path), str(tmp_path / "a")}
    durable.make_folders(tmp_path / "a" / "b")
    assert len(done) == 2


def test_what_is_no_scratch_folder_is_not_swept(tmp_path):
    mine = {
        "x-",
        "x-results",
        "x-9bk671pi",
        "x-" + "g" * 16,
        "x-" + "0" * 17,
        "y-" + "0" * 16,
    }
    for name in [*mine, "x-" + "0" * 16]:
        folder_of(tmp_path / name, "1")
    scratch.sweep(tmp_path, "x-")
    assert {path.name for path in tmp_path.iterdir()} == mine


def test_a_folder_that_another_sweeps_as_it_is_made_is_made_again(tmp_path, monkeypatch):
    """Of processes that start at once: each finds what the other has not locked yet."""
    real, swept = scratch.os.open, []

    def opened(path, *flags):
        if not swept and Path(path).name.startswith("x-"):
            swept.append(Path(path))
            swept[0].rmdir()
        return real(path, *flags)

    monkeypatch.setattr(scratch.os, "open", opened)
    with scratch.scratch(tmp_path, "x-") as own:
        assert swept and own != swept[0] and own.is_dir()


def test_scratch_of_the_dead_is_swept_and_of_the_living_is_not(tmp_path):
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        held = Path(process.stdout.readline().strip())
        with scratch.scratch(tmp_path, "x-") as own:
            assert held.is_dir() and own.is_dir()
        assert held.is_dir() and not own.exists()
        process.kill()
    left = folder_of(tmp_path / "other-1", "stays")
    for _ in range(50):  # the kernel lets go of its lock a moment later
        scratch.sweep(tmp_path, "x-")
        if not held.exists():
            break
        time.sleep(0.1)
    assert [found.name for found in tmp_path.iterdir()] == [left.name]
