"""Imports go down only: pipeline to models to components, and nothing back up."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "components": {"models", "pipeline", "benchmarks", "tests"},
    "models": {"pipeline", "benchmarks", "tests"},
    "pipeline": {"benchmarks", "tests"},
}
FILES = [path for floor in FORBIDDEN for path in sorted((ROOT / floor).rglob("*.py"))]
TENSORFLOW = {"tensorflow", "tf_keras", "keras", "tensorflow_recommenders"}


def imported(source: str) -> set[str]:
    """Top-level names of every absolute import, wherever in the file it stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def relative(source: str) -> list[int]:
    """Lines of relative imports, which could climb to another floor unseen."""
    nodes = ast.walk(ast.parse(source))
    return [n.lineno for n in nodes if isinstance(n, ast.ImportFrom) and n.level > 0]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_floor_imports_nothing_from_above(path):
    source = path.read_text(encoding="utf-8")
    above = FORBIDDEN[path.relative_to(ROOT).parts[0]]
    assert not imported(source) & above
    assert not relative(source)


def test_every_floor_has_files():
    floors = {path.relative_to(ROOT).parts[0] for path in FILES}
    assert floors == set(FORBIDDEN)


@pytest.mark.parametrize("path", ["models/features.py", "components/environment.py"])
def test_what_must_load_fast_imports_no_tensorflow(path):
    assert not imported((ROOT / path).read_text(encoding="utf-8")) & TENSORFLOW


def test_the_test_sees_what_it_forbids():
    source = "def f():\n    from pipeline.cli import main\n    import models.ranker as r\n"
    assert imported(source) == {"pipeline", "models"}
    assert relative("from ..pipeline import cli\n") == [1]
