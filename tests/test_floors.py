"""Imports go down only: from pipeline to models to components, and within pipeline."""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAME = "steadyrank"
# lowest first; a floor imports from itself and from those before it
FLOORS = ("components", "models", "pipeline")
PIPELINE = ("files", "config", "kinds.protocol", "raw_log", "examples", "contract")
PIPELINE += ("preprocess",)
PIPELINE += (
    "metrics",
    "gates",
    "report",
    "tracking",
    "train",
    "export",
    "evaluate",
    "score",
    "kinds",
)
PIPELINE += ("studies", "synthetic", "propose")
PIPELINE += ("preflight", "run", "store", "nightly", "api", "cli")
WHOLE = tuple(floor for floor in PIPELINE if "." not in floor)
OUTSIDE = {"benchmarks", "tests", *FLOORS}  # by these names, whatever stands there
TENSORFLOW = {"tensorflow", "tf_keras", "keras", "tensorflow_recommenders"}


def imported(source: str) -> set[str]:
    """Dotted names of every import, wherever in the file it stands: ``a.b.c``."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def faults(path: Path, source: str) -> list[str]:
    """What a file of ours imports and must not: from above, from outside, relatively."""
    here = path.relative_to(ROOT).with_suffix("").parts
    found = []
    for name in sorted(imported(source)):
        parts = name.split(".")
        if parts[0] in OUTSIDE or not parts[0]:
            found.append(f"{path}: {name} is outside, or relative")
        elif parts[0] == NAME and not _is_below(here, parts[1:]):
            found.append(f"{path}: {name} is above")
    return found


def _is_below(here: tuple[str, ...], there: list[str]) -> bool:
    """Whether a module may import another: of a floor at, or below, its own."""
    if there[0] not in FLOORS:  # the version
        return here[0] == "pipeline" and there == ["__version__"]
    if here[0] != there[0]:
        return FLOORS.index(there[0]) < FLOORS.index(here[0])
    if here[0] != "pipeline" or here[1] == "__init__":
        return True
    return _floor(there) <= _floor(here)


def _floor(place: Sequence[str]) -> int:
    """Of a module in pipeline; a part of a folder may have one of its own."""
    part = ".".join(place[1:3])
    return PIPELINE.index(part if part in PIPELINE else place[1])


def files() -> list[Path]:
    return [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def test_no_file_imports_from_above():
    found = [f for path in files() for f in faults(path, path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


def test_every_floor_has_files():
    """And no folder, nor file, of pipeline is on no floor."""
    assert {path.relative_to(ROOT).parts[0] for path in files()} == set(FLOORS)
    found = {path.relative_to(ROOT / "pipeline").with_suffix("").parts[0]
             for path in (ROOT / "pipeline").rglob("*.py")}  # fmt: skip
    assert found == {"__init__", *WHOLE}


def pictured(text: str) -> list[str]:
    """Paths of a drawn tree: a name a line, two more spaces for what is inside it."""
    above, found = [], []
    for line in text.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        above = [*above[: len(indent) // 2], name.rstrip("/")]
        found.append("/".join(above))
    return found


def drawn(document: str, first: str) -> str:
    """The block of a document that begins with a word."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return text.partition(f"```\n{first}")[2].partition("\n```")[0].join([first, ""])


def test_contributors_see_the_tree_as_it_is():
    """CONTRIBUTING.md names every folder, floors in their order, and no other."""
    seen = pictured(drawn("CONTRIBUTING.md", "components/"))
    folders = {str(path.parent.relative_to(ROOT)) for path in files()}
    assert {path for path in seen if not path.endswith(".py")} == folders
    assert tuple(path for path in seen if "/" not in path) == FLOORS
    parts = [path.split("/") for path in seen]
    inside = [p[1].removesuffix(".py") for p in parts if p[0] == "pipeline" and len(p) == 2]
    assert tuple(inside) == WHOLE


def test_readers_see_the_floors_of_the_pipeline():
    text = drawn("README.md", "components/")
    line = text.partition("pipeline/")[2].partition("benchmarks/")[0]
    assert tuple(re.findall(r"\w+", line)) == WHOLE


def test_a_drawn_tree_is_read_by_its_indents():
    assert pictured("a/    b c\n  d/  e\n    f.py g\n  h/\ni/") == [
        "a", "a/d", "a/d/f.py", "a/h", "i"]  # fmt: skip


@pytest.mark.parametrize("path", ["models/features.py", "components/environment.py"])
def test_what_must_load_fast_imports_no_tensorflow(path):
    names = imported((ROOT / path).read_text(encoding="utf-8"))
    assert not {name.split(".")[0] for name in names} & TENSORFLOW


def test_gates_import_neither_tensorflow_nor_datasets():
    for path in (ROOT / "pipeline" / "gates").glob("*.py"):
        for name in imported(path.read_text(encoding="utf-8")):
            assert name.split(".")[0] not in TENSORFLOW, path
            assert not name.startswith(f"{NAME}.pipeline.examples"), path


@pytest.mark.parametrize(
    "path, source",
    [
        ("components/a.py", "def f():\n    import steadyrank.models.ranker as r\n"),
        ("models/a.py", "from steadyrank.pipeline import cli\n"),
        ("pipeline/files/a.py", "from steadyrank.pipeline.config import Config\n"),
        ("pipeline/gates/a.py", "from steadyrank.pipeline import train\n"),
        ("pipeline/run.py", "from steadyrank.pipeline.api.runs import run\n"),
        ("pipeline/train/a.py", "import steadyrank.pipeline.kinds.next_item\n"),
        ("pipeline/train/a.py", "from ..cli import main\n"),
        ("pipeline/kinds/protocol.py", "import steadyrank.pipeline.kinds.ranking\n"),
        ("pipeline/kinds/protocol.py", "from steadyrank.pipeline.raw_log import open\n"),
        ("pipeline/train/a.py", "import pipeline.files\n"),
        ("models/a.py", "from steadyrank import __version__\n"),
    ],
)
def test_the_test_sees_what_it_forbids(path, source):
    assert len(faults(ROOT / path, source)) == 1


BY_PLACE = 4


def too_many(source: str) -> list[str]:
    """Functions that take more by their place than anybody can tell apart."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args)]
        names = [name for name in names if name not in ("self", "cls")]
        if len(names) > BY_PLACE:
            found.append(f"{node.lineno}: {getattr(node, 'name', 'lambda')}")
    return found


def test_at_most_four_arguments_go_by_their_place():
    found = [
        f"{path}:{said}"
        for path in files()
        for said in too_many(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)
    assert too_many("def f(self, a, b, c, d): ...\nasync def g(a, /, b, c, d, e): ...") == [
        "2: g"
    ]
