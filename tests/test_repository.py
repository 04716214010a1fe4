"""What must agree across files of the repository, before anybody installs it."""

import re
import subprocess
import sys
from pathlib import Path

import pipeline

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
    assert setup_query("--name", "--version") == ["steadyrank", pipeline.__version__]


def test_every_package_is_installed():
    """An editable install finds what is not listed; the image's does not."""
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    listed = re.search(r"packages=\[(.*?)\]", source, re.DOTALL).group(1)
    floors = ("components", "models", "pipeline")
    files = [file for floor in floors for file in (ROOT / floor).rglob("__init__.py")]
    found = [".".join(file.parent.relative_to(ROOT).parts) for file in files]
    assert sorted(re.findall(r'"([\w.]+)"', listed)) == sorted(found)


def test_every_constraint_is_exact():
    for line in pins():
        assert re.fullmatch(r'[\w.-]+==[\w.]+(; python_version (<|>=) "3\.11")?', line)


def test_every_direct_dependency_is_pinned():
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    listed = re.search(r"install_requires=\[(.*?)\n    \]", source, re.DOTALL).group(1)
    needed = requirement_names(re.findall(r'^\s+"([^"]+)"', listed, re.MULTILINE))
    assert len(needed) >= 14
    assert needed <= requirement_names(pins())
