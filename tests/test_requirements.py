"""What is imported is declared in setup.py, within its bounds, and pinned."""

import ast
import functools
import importlib.metadata
import re
import runpy
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("components", "models", "pipeline")
# What others import for us: Keras, summaries and their pkg_resources behind TensorFlow, the
# zones behind zoneinfo.
BEHIND = {"tf-keras", "tensorboard", "setuptools", "tzdata"}


SETS = {"2.16": "constraints.txt", "2.21": "constraints-tf221.txt"}  # by TensorFlow
INSTALLED = ".".join(importlib.metadata.version("tensorflow").split(".")[:2])


def requirements(root: Path = ROOT) -> dict[str, list[Requirement]]:
    """Of a ``setup.py``: "" for the package itself, and by extra."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **arguments: given.update(arguments))
        runpy.run_path(str(root / "setup.py"))
    every = {"": given["install_requires"], **given["extras_require"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in every.items()}


@pytest.fixture
def declared(monkeypatch) -> dict[str, list[Requirement]]:
    """Those of the set that the tests run with."""
    monkeypatch.setenv("STEADYRANK_TENSORFLOW", INSTALLED)
    return requirements()


def names(requirements: Iterable[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def pins(file: str) -> list[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def modules(source: str) -> set[str]:
    """What a file imports, wherever in it, by name or by ``import_module("...")``."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    return {name.split(".")[0] for name in found}


def imported(*folders: str) -> dict[str, set[str]]:
    """What is imported below folders and is not Python's -> the files that do."""
    found = defaultdict(set)
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for name in modules(path.read_text(encoding="utf-8")):
                if name not in sys.stdlib_module_names:
                    found[name].add(str(path.relative_to(ROOT)))
    return found


@functools.cache
def provided() -> dict[str, set[str]]:
    """Importable name -> the distributions that put it there (3.10's own list has gaps)."""
    found = defaultdict(set)
    for distribution in importlib.metadata.distributions():
        record = distribution.read_text("RECORD") or ""
        for top in {re.split("[/,]", line, maxsplit=1)[0] for line in record.splitlines()}:
            found[top.removesuffix(".py")].add(
                canonicalize_name(distribution.metadata["Name"])
            )
    return found


def distributions(name: str) -> set[str]:
    return provided().get(name, set())


@pytest.mark.parametrize("file", SETS.values())
def test_every_constraint_is_exact(file):
    for line in pins(file):
        assert re.fullmatch(r'[\w.-]+==[\w.]+(; python_version (<|>=) "3\.11")?', line)


@pytest.mark.parametrize("version, file", SETS.items())
def test_every_direct_dependency_is_pinned_within_its_bounds(version, file, monkeypatch):
    monkeypatch.setenv("STEADYRANK_TENSORFLOW", version)
    pinned, declared = defaultdict(list), requirements()
    for line in pins(file):
        pin = Requirement(line)
        pinned[canonicalize_name(pin.name)].append(str(pin.specifier)[2:])
    assert len(declared[""]) >= 14
    for requirement in declared[""]:
        versions = pinned[canonicalize_name(requirement.name)]
        assert versions and all(map(requirement.specifier.contains, versions)), requirement


# What TensorFlow, or protobuf behind it, asks for in another version, or in one alone.
OF_ONE = {"tensorflow-io", "tensorflow-io-gcs-filesystem", "pandas"}
OTHERWISE = {"tensorflow", "tf-keras", "tensorboard", "tensorflow-serving-api"}
OTHERWISE |= {"tensorflow-metadata", "numpy", "h5py", "ml-dtypes", "protobuf"}
OTHERWISE |= {"proto-plus", "googleapis-common-protos", "opentelemetry-proto"}


def test_the_two_sets_are_one_but_for_what_tensorflow_asks():
    both = []
    for file in SETS.values():
        found = defaultdict(set)
        for pin in map(Requirement, pins(file)):
            found[canonicalize_name(pin.name)].add((pin.specifier, pin.marker))
        both.append(found)
    default, newest = both
    assert default.keys() - newest.keys() == OF_ONE and not newest.keys() - default.keys()
    assert {name for name in newest if newest[name] != default[name]} == OTHERWISE


def test_what_binds_to_tensorflow_is_bound_above(monkeypatch):
    """tensorflow-io is built for 2.16; a later TensorFlow has other symbols."""
    monkeypatch.delenv("STEADYRANK_TENSORFLOW", raising=False)
    bound = {r.name: r.specifier for r in requirements()[""]}
    for name in ("tensorflow", "tf-keras", "tensorboard", "tensorflow-serving-api"):
        assert "2.16.2" in bound[name] and "2.17" not in bound[name], name
    assert "0.38" not in bound["tensorflow-io"] and "81" not in bound["setuptools"]


def test_another_tensorflow_is_chosen_by_name_and_takes_no_tensorflow_io(monkeypatch):
    monkeypatch.setenv("STEADYRANK_TENSORFLOW", "2.21")
    bound = {r.name: r.specifier for r in requirements()[""]}
    for name in ("tensorflow", "tf-keras", "tensorboard", "tensorflow-serving-api"):
        assert "2.21.0" in bound[name] and "2.20.9" not in bound[name], name
        assert "2.22" not in bound[name], name
    assert "tensorflow-io" not in bound
    monkeypatch.setenv("STEADYRANK_TENSORFLOW", "2.17")
    with pytest.raises(ValueError, match="must be 2.16 or 2.21. Received: '2.17'"):
        requirements()


@pytest.mark.parametrize("version", SETS)
def test_an_sdist_keeps_the_tensorflow_that_it_was_made_for(version, tmp_path, monkeypatch):
    for name in ("setup.py", "src/steadyrank/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setenv("STEADYRANK_TENSORFLOW", version)
    wanted = requirements()
    lines = [f"Requires-Dist: {r}\n" for r in reversed(wanted[""])]
    (tmp_path / "PKG-INFO").write_text("Name: steadyrank\n" + "".join(lines))
    monkeypatch.delenv("STEADYRANK_TENSORFLOW")
    assert requirements(tmp_path) == wanted


# Imported where it is asked for, or said to be missing -> the only file that does.
BY_EXTRA = {
    "iceberg": {"pipeline/raw_log/formats/iceberg.py"},
    "mlflow": {"pipeline/tracking/server.py"},
}
# what an extra brings that the tests do without: nothing here says what it provides
ABSENT = {"mlflow": "mlflow"}


def test_what_is_imported_is_declared(declared):
    ours = names(declared[""])
    undeclared = {
        name: files
        for name, files in imported(*FLOORS).items()
        if name != "steadyrank" and not distributions(name) & ours
    }
    for extra, files in BY_EXTRA.items():
        of_extra = (n for n in undeclared if distributions(n) & names(declared[extra]))
        name = next(of_extra, ABSENT.get(extra))
        assert undeclared.pop(name) == files
    if "tensorflow-io" not in ours:  # asked for, and done without
        assert undeclared.pop("tensorflow_io") == {"pipeline/files/object_store.py"}
    assert not undeclared


def test_what_is_declared_is_imported(declared):
    found = set().union(*(distributions(name) for name in imported(*FLOORS)))
    assert names(declared[""]) == found & names(declared[""]) | BEHIND & names(declared[""])


def of_other_environments() -> set[str]:
    """What benchmarks run beside this project, in environments of theirs."""
    found = set()
    for path in (ROOT / "benchmarks").glob("*-requirements.txt"):
        lines = path.read_text(encoding="utf-8").splitlines()
        found |= names(Requirement(line) for line in lines if re.match(r"\w", line))
    return found


def test_what_tests_and_benchmarks_import_is_declared(declared):
    known = names(declared[""]) | names(declared["test"])
    others = of_other_environments()
    undeclared = {
        name: files
        for name, files in imported("tests", "benchmarks", "docker").items()
        if name not in ("steadyrank", "tests", "benchmarks", "tools")
        and files != {"docker/airflow/nightly.py"}  # which is read by what it imports
        and not distributions(name) & known
        and canonicalize_name(name) not in others
    }
    assert len(others) >= 3 and not undeclared


def test_an_import_is_seen_wherever_it_stands():
    source = "import os.path as p\ndef f():\n    from numpy.linalg import norm\n"
    source += "    from . import here\n    importlib.import_module('tensorflow_io')\n"
    assert modules(source) == {"os", "numpy", "tensorflow_io"}
