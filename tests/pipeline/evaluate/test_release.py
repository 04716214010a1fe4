"""Releases: only what passed, whole, under the next number; and back again."""

import errno
import hashlib
import json
import shutil
import socket

import pytest

from steadyrank.pipeline.evaluate import release as stage
from steadyrank.pipeline.evaluate.release import release, roll_back
from steadyrank.pipeline.files import checksum, lock
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.files.publish import hash_folder

TRAINING = {"steps": 1, "versions": {}}
CARD = {"schema": {}, "config": {"features": []}, "training": TRAINING}
CARD |= {"git_revision": "0123abc"}
TASKS = {"click": {"kind": "binary", "rows": 10, "auc": 0.7, "roc": {}}}


@pytest.fixture
def model(tmp_path):
    """A folder that looks like a version of an export."""
    path = tmp_path / "export" / "3"
    for name in ("saved_model.pb", "variables/variables.index", "assets.extra/card.json"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"content of {name}")
    (path / "assets.extra/card.json").write_text(json.dumps(CARD))
    return path


@pytest.fixture
def evaluated(tmp_path, model):
    """A function that writes an evaluation of the model."""

    def write(verdict="PASS", forced=None, name="evaluation", split="test"):
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        content = hash_folder(model, "assets.extra")
        metrics = {"model": str(model), "content": content, "fingerprint": "f"}
        metrics["split"] = split
        gate = {"gate": "auc", "task": "a", "rule": "min 0.7", "verdict": "PASS"}
        gate |= {"passed": verdict == "PASS", "reason": "0.5 is below 0.7"}
        document = {"verdict": verdict, "gates": [gate], "forced": forced}
        (path / "metrics.json").write_text(json.dumps({**metrics, "tasks": TASKS}))
        (path / "verdict.json").write_text(json.dumps(document))
        return path

    return write


def blessed(to):
    return json.loads((to / "blessed.json").read_text())


def test_what_passed_is_copied_under_the_next_number(model, evaluated, tmp_path):
    to = tmp_path / "served"
    entry = release(model.parent, evaluated(), to)
    assert entry["version"] == blessed(to)["current"] == 1
    assert hash_folder(to / "1", "assets.extra") == hash_folder(model, "assets.extra")
    extra = {path.name for path in (to / "1" / "assets.extra").iterdir()}
    assert extra == {"card.json", "metrics.json", "verdict.json"}
    assert blessed(to)["metrics"] == {"click": {"rows": 10, "auc": 0.7}}
    assert blessed(to)["fingerprint"] == "f"
    by, machine = blessed(to)["by"].split("@")
    assert by and machine == socket.gethostname()
    config = json.dumps(CARD["config"], sort_keys=True).encode()
    assert blessed(to)["config"] == hashlib.sha256(config).hexdigest()
    assert blessed(to)["git_revision"] == "0123abc"
    (to / "7").mkdir()  # put there by other hands
    assert release(model, evaluated(), to)["version"] == 8
    assert [item["version"] for item in blessed(to)["releases"]] == [1, 8]
    assert (to / "withdrawn" / "7").is_dir() and not (to / "7").exists()


@pytest.mark.parametrize("verdict", ["HOLD", "REFUSE", "pass", None])
def test_what_did_not_pass_is_refused_unless_forced(model, evaluated, tmp_path, verdict):
    to = tmp_path / "served"
    with pytest.raises(InputError, match="must be PASS.*0.5 is below 0.7.*--force"):
        release(model, evaluated(verdict), to)
    assert not to.exists()
    forced = {"reason": "known drop", "time": "now"}
    assert release(model, evaluated(verdict, forced), to)["forced"] == forced
    assert blessed(to)["verdict"] == verdict


@pytest.mark.parametrize("split", ["train", "validation"])
def test_rows_that_training_saw_release_nothing(model, evaluated, tmp_path, split):
    to = tmp_path / "served"
    with pytest.raises(InputError, match=f"of the test split. Received: split='{split}'"):
        release(model, evaluated(split=split), to)
    assert not to.exists()
    forced = {"reason": "a test of the release", "time": "now"}
    assert release(model, evaluated(forced=forced, split=split), to)["version"] == 1


@pytest.mark.parametrize("into", ["export", "export/3"])
def test_an_export_is_no_release_folder(model, evaluated, tmp_path, into):
    evaluation, before = evaluated(), sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="export/3 is an export that no release put there"):
        release(model, evaluation, tmp_path / into)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("file", ["saved_model.pb", "variables/variables.index"])
def test_an_evaluation_of_another_export_is_refused(model, evaluated, tmp_path, file):
    evaluation = evaluated()
    (model / file).write_text("other weights")
    with pytest.raises(InputError, match="is of another export.*Evaluate the export"):
        release(model, evaluation, tmp_path / "served")
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["lock"]


def test_the_card_may_change_after_the_evaluation(model, evaluated, tmp_path):
    evaluation = evaluated()
    (model / "assets.extra" / "card.json").write_text(json.dumps({**CARD, "more": 1}))
    assert release(model, evaluation, tmp_path / "served")["version"] == 1


def test_what_is_not_there_is_named(model, evaluated, tmp_path):
    with pytest.raises(InputError, match="is not an evaluation.*metrics.json"):
        release(model, tmp_path, tmp_path / "served")
    with pytest.raises(InputError, match="neither an export nor"):
        release(tmp_path / "none", evaluated(), tmp_path / "served")
    evaluation = evaluated()
    document = json.loads((evaluation / "metrics.json").read_text())
    del document["content"]  # written by an older version
    (evaluation / "metrics.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="is of another export"):
        release(model, evaluation, tmp_path / "served")


def test_a_copy_that_fails_leaves_nothing(model, evaluated, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    to = tmp_path / "served"
    release(model, evaluated(), to)
    monkeypatch.setattr(stage.shutil, "copy", fail)
    with pytest.raises(OSError, match="disk full"):
        release(model, evaluated(), to)
    assert sorted(path.name for path in to.iterdir()) == ["1", "blessed.json", "lock"]
    assert blessed(to)["current"] == 1


def test_a_rollback_serves_the_version_before(model, evaluated, tmp_path):
    to = tmp_path / "served"
    for _ in range(3):
        release(model, evaluated(), to)
    assert roll_back(to)["version"] == blessed(to)["current"] == 2
    found = {path.name for path in to.iterdir()}
    assert found == {"1", "2", "withdrawn", "blessed.json", "lock"}
    assert (to / "withdrawn" / "3" / "saved_model.pb").exists()
    assert release(model, evaluated(), to)["version"] == 4  # 3 is not used again
    assert roll_back(to)["version"] == 2
    assert roll_back(to)["version"] == 1
    with pytest.raises(InputError, match="no version to go back to"):
        roll_back(to)
    with pytest.raises(InputError, match="no version to go back to"):
        roll_back(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_one_release_at_a_time(model, evaluated, tmp_path):
    to = tmp_path / "served"
    release(model, evaluated(), to)
    release(model, evaluated(), to)
    with locked(to / "lock"):
        for change in (lambda: release(model, evaluated(), to), lambda: roll_back(to)):
            with pytest.raises(PassingError, match="served is in use by process"):
                change()
    assert [entry["version"] for entry in blessed(to)["releases"]] == [1, 2]


def test_a_file_system_without_locks_is_named_where_one_is_needed(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", fail)
    with lock.locked(tmp_path / "lock", needed=False):
        assert (tmp_path / "lock").exists()
    with pytest.raises(InputError, match="cannot lock .*lock: No locks available"):
        with lock.locked(tmp_path / "lock"):
            pass


def test_an_interrupted_rollback_is_ended_by_another(
    model, evaluated, tmp_path, monkeypatch
):
    to = tmp_path / "served"
    for _ in range(3):
        release(model, evaluated(), to)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "_withdraw", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            roll_back(to)
    assert blessed(to)["current"] == 2 and (to / "3").exists()
    assert roll_back(to)["version"] == blessed(to)["current"] == 2
    shutil.rmtree(to / "1")
    with pytest.raises(InputError, match="1 is missing"):
        roll_back(to)
    assert (to / "2").exists()


@pytest.fixture
def half_released(model, evaluated, tmp_path, monkeypatch):
    """Version 1, and a version 2 whose release was killed before it was named."""
    to = tmp_path / "served"
    release(model, evaluated(), to)
    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            release(model, evaluated(), to)
    assert (to / "2").exists() and blessed(to)["current"] == 1
    return to


def test_a_rollback_withdraws_what_was_never_announced(half_released):
    back = roll_back(half_released)
    assert back["version"] == 1 and back["withdrawn"] == [2]
    assert [p.name for p in half_released.iterdir() if p.name.isdigit()] == ["1"]
    assert blessed(half_released)["current"] == 1
    with pytest.raises(InputError, match="no version to go back to"):
        roll_back(half_released)


def test_a_release_withdraws_what_was_never_announced(model, evaluated, half_released):
    entry = release(model, evaluated(), half_released)
    assert entry["version"] == 3 and entry["withdrawn"] == [2]
    assert (half_released / "withdrawn" / "2" / "saved_model.pb").exists()
    assert "withdrawn" not in blessed(half_released)
    assert roll_back(half_released)["version"] == 1
    assert [p.name for p in half_released.iterdir() if p.name.isdigit()] == ["1"]


def test_a_rollback_leaves_nothing_above_it(model, evaluated, half_released, monkeypatch):
    """The release after the killed one was killed, too: before it could withdraw."""
    with monkeypatch.context() as patch:
        patch.setattr(stage, "_withdraw", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            release(model, evaluated(), half_released)
    assert blessed(half_released)["current"] == 3 and (half_released / "2").exists()
    assert roll_back(half_released)["withdrawn"] == [2, 3]
    assert [p.name for p in half_released.iterdir() if p.name.isdigit()] == ["1"]


def test_a_hash_sees_names_contents_and_places(tmp_path, monkeypatch):
    monkeypatch.setattr(checksum, "READ_AT_ONCE", 3)
    for folder in "abc":
        (tmp_path / folder / "in").mkdir(parents=True)
        (tmp_path / folder / "in" / "file").write_text("content")
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")
    (tmp_path / "b" / "in" / "file").write_text("contenT")
    (tmp_path / "c" / "in" / "file").rename(tmp_path / "c" / "file")
    assert len({hash_folder(tmp_path / folder) for folder in "abc"}) == 3
    assert hash_folder(tmp_path / "a", "in") == hash_folder(tmp_path / "b", "in")
