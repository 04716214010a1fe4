"""The table of mutations fits the code, and its runner tells who notices."""

import dataclasses
import shutil

import pytest

from benchmarks import mutations
from benchmarks.mutations import ENDLESS, FAILED, ROOT, SURVIVED, Mutation

ALL = mutations.read_mutations()
AREA = Mutation("area.py", "sides add up", "a * b", "a + b", ("test_area.py",))


def test_every_old_text_stands_in_its_file_once_and_changes_a_line():
    for mutation in ALL:
        changed = mutation.text(ROOT)  # which raises where the code has moved
        compile(changed, mutation.file, "exec")
        lines = zip(mutation.old.split("\n"), mutation.new.split("\n"), strict=True)
        assert sum(old != new for old, new in lines) == 1, mutation.what
        assert mutation.tests, mutation.what
    named = [(mutation.file, mutation.what) for mutation in ALL]
    assert len({*named}) == len(named) >= 60


def test_every_test_that_should_notice_is_there():
    for test in {test for mutation in ALL for test in mutation.tests}:
        file, _, name = test.partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not name or f"\ndef {name}(" in text, test


@pytest.fixture
def tree(tmp_path):
    """A tree of one function and its test, to which a sum is as good as a product."""
    (tmp_path / "tests").mkdir()
    profile = "from hypothesis import settings\nsettings.register_profile('any example')\n"
    (tmp_path / "tests" / "conftest.py").write_text(profile)
    (tmp_path / "area.py").write_text("def area(a, b):\n    return a * b\n")
    test = "from area import area\n\n\ndef test_area():\n    assert area(2, 2) == 4\n"
    (tmp_path / "tests" / "test_area.py").write_text(test)
    return tmp_path


@pytest.fixture
def copied(monkeypatch):
    """Without git: all files are tracked."""

    def copy(root, to):
        shutil.copytree(root, to)

    monkeypatch.setattr(mutations, "copy_tracked", copy)


def test_what_is_noticed_and_what_survives(tree, copied):
    half = dataclasses.replace(AREA, what="a half is lost", new="a * b / 2")
    found = mutations.try_all([AREA, half], tree, jobs=2)
    assert [run["result"] for run in found] == [SURVIVED, FAILED]
    assert found[1]["by"] == "tests/test_area.py::test_area"
    assert "a * b\n" in (tree / "area.py").read_text()
    assert mutations.summary(found) == {
        "mutations": 2,
        "noticed": 1,
        "score": 0.5,
        "survivors": ["area.py: sides add up"],
    }


def test_tests_that_fail_by_themselves_notice_nothing(tree, copied):
    (tree / "area.py").write_text("def area(a, b):\n    return 0 * a * b\n")
    with pytest.raises(SystemExit, match="Without a mutation, all tests must pass"):
        mutations.try_all([AREA], tree, jobs=1)


def test_code_that_has_moved_is_an_error(tree, copied):
    gone = dataclasses.replace(AREA, old="a ** b")
    with pytest.raises(ValueError, match="area.py: 'a \\*\\* b' must stand there once"):
        mutations.try_all([gone], tree, jobs=1)


def test_tests_that_do_not_end_are_ended(tree):
    assert mutations.run_tests(tree, ["test_area.py"], limit=0.01)[0] == ENDLESS


def test_a_copy_holds_what_is_tracked_as_it_stands(tmp_path):
    mutations.copy_tracked(ROOT, tmp_path)
    assert (tmp_path / "src/steadyrank/components").is_symlink()
    for name in ("setup.py", "models/ranker.py", "tests/benchmarks/test_mutations.py"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert not (tmp_path / ".git").exists()
