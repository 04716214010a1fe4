"""The type checker finds what is planted; ``make types`` runs it, with ``MYPY`` set."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MYPY = os.environ.get("MYPY")
PLANTED = {  # file -> a line, and what is said of it
    "components/losses.py": ('WRONG: int = "text"', "[assignment]"),
    "models/score.py": ("EVALUATED = parse_score(1, 2, 3)", "[call-arg]"),
    "pipeline/gates/judge.py": ("import steadyrank.pipeline.nowhere", "[import-not-found]"),
    "pipeline/gates/rules.py": (
        "from steadyrank.pipeline.files.errors import NoSuchError",
        "[attr-defined]",
    ),
    "pipeline/report/elements.py": ("UNKNOWN = not_there", "[name-defined]"),
}
needed = pytest.mark.skipif(not MYPY, reason="make types sets MYPY")


def checked(folder: Path) -> list[str]:
    """What the checker says of a tree with our settings, a line an error."""
    command = [MYPY, "--python-executable", sys.executable, "--no-error-summary"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout.splitlines()


@needed
def test_what_is_planted_is_found_and_nothing_else(tmp_path):
    for name in ("components", "models", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "src", tmp_path / "src", symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, (line, _) in PLANTED.items():
        path = tmp_path / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    said = [line for line in checked(tmp_path) if ": error: " in line]
    assert {line.split(":")[0].removeprefix("src/steadyrank/") for line in said} == {
        *PLANTED
    }
    for name, (_, code) in PLANTED.items():
        assert any(name in line and code in line for line in said), (name, said)
