"""What must agree across files of the repository, before anybody installs it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from setuptools import find_packages
from typer.testing import CliRunner

import steadyrank
from steadyrank.pipeline.cli.application import app
from steadyrank.pipeline.files.versions import git_revision

ROOT = Path(__file__).resolve().parent.parent


def setup_query(*fields: str) -> list[str]:
    """What ``setup.py`` answers, asked in a process of its own as pip and Beam do."""
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", *fields]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_make_help_names_every_target():
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    said = subprocess.run([make, "help"], cwd=ROOT, capture_output=True, text=True).stdout
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.M)
    assert {f"make {name}" for name in phony.split()} <= {
        found.strip() for found in re.findall(r"make [a-z-]+", said)
    }


def test_setup_and_package_state_one_version():
    assert setup_query("--name", "--version") == ["steadyrank", steadyrank.__version__]


def test_the_command_line_says_the_version():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"steadyrank {steadyrank.__version__}\n")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout, but its files")
def test_an_export_names_the_commit_that_it_is_made_with():
    command = ["git", "describe", "--always", "--abbrev=40"]
    head = subprocess.check_output(command, cwd=ROOT, text=True).strip()
    assert git_revision() in (head, f"{head}-dirty")


def test_every_package_is_installed():
    """Every folder of ours under the one name, and the user's folders where they are."""
    found = {"steadyrank"}
    for floor in ("components", "models", "pipeline"):
        link = ROOT / "src" / "steadyrank" / floor
        assert link.is_symlink() and link.resolve() == ROOT / floor
        for file in (ROOT / floor).rglob("*.py"):
            found.add(".".join(["steadyrank", *file.parent.relative_to(ROOT).parts]))
    assert set(find_packages(str(ROOT / "src"))) == found


def test_the_tests_lie_as_the_tree_does():
    """By folder; what they share is in ``tests/helpers``, not in one another."""
    tests = ROOT / "tests"
    files = [f for f in tests.rglob("*.py") if "__pycache__" not in f.parts]
    assert len(files) > 150
    for folder in {file.parent.relative_to(tests) for file in files}:
        beside = folder.parts[:1] in {(), ("helpers",), ("benchmarks",)}
        beside |= folder.parts[:1] in {("data",), ("install",)}
        assert beside or (ROOT / folder).is_dir(), folder
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    assert not [f for f, text in texts.items() if text.count("\n") > 400]
    shared = re.compile(r"^ *(?:from|import) tests\b(?!\.helpers)", re.M)
    assert not [f for f, text in texts.items() if shared.search(text)]


def test_the_site_lists_every_page():
    """``nav`` in mkdocs.yml names each page of docs/, and no other."""
    listed, parts = (
        [],
        yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"],
    )
    while parts:
        part = parts.pop()
        listed += [part] if isinstance(part, str) else []
        parts += next(iter(part.values())) if isinstance(part, dict) else []
    assert sorted(listed) == sorted(
        path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")
    )
