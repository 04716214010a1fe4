"""How the house is built: names of the first level in pipeline, and imports between them.

    python -m benchmarks.house [--before REVISION] [--revision REVISION]

From git and ``ast`` alone, so for any revision.  A name is a module ``pipeline/x.py`` or a
folder ``pipeline/x/`` with modules; an import counts wherever in a file it stands, once for
each pair of names; one by text (``import_module``) does not.  Layers are the longest chain
of imports, a circle counting as one; what a folder offers to those below it
(``kinds/protocol.py``) is a layer of its own, as in ``tests/test_floors.py``.  The last
line is JSON.
"""

import argparse
import ast
import io
import json
import subprocess
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import PurePosixPath

from benchmarks.parts import ROOT

FLOORS = ("components", "models", "pipeline")
BEFORE = "071e6e7"
OFFERED = {"kinds.protocol"}  # of a folder, but below those that the folder imports
LABELS = {
    "files_directly_in_pipeline": "files directly in pipeline/",
    "names": "modules and folders of its first level",
    "imports": "imports between them",
    "layers": "layers",
    "circles": "circles",
    "python_files": "python files of the three floors",
    "python_lines": "lines of them",
    "longest_file_lines": "longest file, lines",
}


def sources(revision: str) -> dict[str, str]:
    """Path -> text of the Python files of the three floors, at a revision."""
    command = ["git", "archive", "--format=tar", revision, *FLOORS]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tree:
        return {
            member.name: tree.extractfile(member).read().decode()
            for member in tree
            if member.isfile() and member.name.endswith(".py")
        }


def place_of(parts: Sequence[str]) -> str | None:
    """The name of the first level in pipeline that a dotted name is of, or leads to."""
    if parts[0] != "pipeline" or len(parts) < 2 or parts[1] == "__init__":
        return None
    inside = ".".join(parts[1:3])
    return inside if inside in OFFERED else parts[1]


def imported(path: str, source: str) -> set[str]:
    """Names of the first level in pipeline that a file imports, relatively or not."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            if node.level:
                module = [*PurePosixPath(path).parts[: -node.level], *module]
            found |= {".".join([*module, alias.name]) for alias in node.names}
    names = (name.removeprefix("steadyrank.").split(".") for name in found)
    return {place for name in names if (place := place_of(name))}


def graph(files: dict[str, str]) -> dict[str, set[str]]:
    """Name of the first level -> the others that it imports."""
    found = defaultdict(set)
    for path, source in files.items():
        if name := place_of(PurePosixPath(path).with_suffix("").parts):
            found[name] |= imported(path, source)
    return {name: below & found.keys() - {name} for name, below in found.items()}


def circles(imports: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Groups of names each of which imports, in the end, every other of its group."""
    reached = {name: set(below) for name, below in imports.items()}
    for middle in imports:
        for name in imports:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    groups = {
        tuple(other for other in sorted(reached[name]) if name in reached[other])
        for name in imports
    }
    return sorted(group for group in groups if group)


def layers(imports: dict[str, set[str]]) -> int:
    """Names on the longest chain of imports, a circle being one name."""
    of = {name: name for name in imports}
    of |= {name: group[0] for group in circles(imports) for name in group}
    below = defaultdict(set)
    for name, found in imports.items():
        below[of[name]] |= {of[other] for other in found} - {of[name]}

    @cache
    def height(name: str) -> int:
        return 1 + max(map(height, below[name]), default=0)

    return max(map(height, list(below)), default=0)


def measure(revision: str) -> dict:
    """What ``LABELS`` names, of a revision."""
    files = sources(revision)
    imports, lines = graph(files), {p: s.count("\n") for p, s in files.items()}
    longest = max(lines, key=lines.get)
    pairs = {(name, other) for name, below in imports.items() for other in below}
    return {
        "files_directly_in_pipeline": sum(
            p.rpartition("/")[0] == "pipeline" for p in files
        ),
        "names": len(imports.keys() - OFFERED),
        "imports": sum(a.split(".")[0] != b.split(".")[0] for a, b in pairs),
        "layers": layers(imports),
        "circles": len(circles(imports)),
        "python_files": len(files),
        "python_lines": sum(lines.values()),
        "longest_file_lines": lines[longest],
        "longest_file": longest,
    }


def main() -> None:
    """Measure both and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--revision", default="HEAD")
    options = parser.parse_args()
    before, after = measure(options.before), measure(options.revision)
    print(f"{'':40} {options.before:>10} {options.revision:>10}")
    for key, label in LABELS.items():
        print(f"{label:40} {before[key]:>10,} {after[key]:>10,}")
    print(json.dumps({"before": before, "after": after}))


if __name__ == "__main__":
    main()
