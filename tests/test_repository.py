"""What must agree across files of the repository, before anybody installs it."""

import re
import subprocess
import sys
from pathlib import Path

import yaml
from setuptools import find_packages
from typer.testing import CliRunner

import steadyrank
from steadyrank.pipeline.cli.application import app

ROOT = Path(__file__).resolve().parent.parent


def requirement_names(lines) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", line).group() for line in lines)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def setup_query(*fields: str) -> list[str]:
    """What ``setup.py`` answers, asked in a process of its own as pip and Beam do."""
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", *fields]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_setup_and_package_state_one_version():
    assert setup_query("--name", "--version") == ["steadyrank", steadyrank.__version__]


def test_the_command_line_says_the_version():
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"steadyrank {steadyrank.__version__}\n")


def test_every_package_is_installed():
    """Every folder of ours under the one name, and the user's folders where they are."""
    found = {"steadyrank"}
    for floor in ("components", "models", "pipeline"):
        link = ROOT / "src" / "steadyrank" / floor
        assert link.is_symlink() and link.resolve() == ROOT / floor
        for file in (ROOT / floor).rglob("*.py"):
            found.add(".".join(["steadyrank", *file.parent.relative_to(ROOT).parts]))
    assert set(find_packages(str(ROOT / "src"))) == found


def test_every_constraint_is_exact():
    for line in pins():
        assert re.fullmatch(r'[\w.-]+==[\w.]+(; python_version (<|>=) "3\.11")?', line)


def test_every_direct_dependency_is_pinned():
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    listed = re.search(r"install_requires=\[(.*?)\n    \]", source, re.DOTALL).group(1)
    needed = requirement_names(re.findall(r'^\s+"([^"]+)"', listed, re.MULTILINE))
    assert len(needed) >= 14
    assert needed <= requirement_names(pins())


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
