"""What users install: sdist and wheel, in an environment of its own, by foreign packages.

``make test-install`` runs this, and nothing else does (``norecursedirs`` in pyproject.toml
keeps it out of ``make test``): it downloads TensorFlow and all else, without constraints.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("components", "models", "pipeline")
LEFT_BEHIND = (".git", ".venv*", "runs", "build", "dist", "*.egg-info", ".*_cache")
LEFT_BEHIND += ("__pycache__", ".hypothesis")
ROWS = 4000
CONFIG = ROOT / "configs" / "demo.yaml"
SWEEP = {
    "method": "random",
    "trials": 2,
    "objective": {"metric": "auc"},
    "space": [{"key": "train.dense.learning_rate", "low": 0.1, "high": 0.3}],
}
BUILD_SDIST = (
    "from setuptools import build_meta as b; import sys; b.build_sdist(sys.argv[1])"
)


def run(*command, folder: Path, statuses=(0,)) -> str:
    """What a command printed, run in a folder without what this process was given."""
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "PIP_CONSTRAINT", "TF_USE_LEGACY_KERAS")
    outer = {name: value for name, value in os.environ.items() if name not in ours}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=outer, capture_output=True, text=True)
    said = f"{' '.join(words)}\nstatus {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode in statuses, said[-6000:]
    return done.stdout


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """The checkout without what was built in it."""
    folder = tmp_path_factory.mktemp("tree") / "steadyrank"
    ignore = shutil.ignore_patterns(*LEFT_BEHIND)
    return shutil.copytree(ROOT, folder, symlinks=True, ignore=ignore)


@pytest.fixture(scope="session")
def sdist(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-c", BUILD_SDIST, folder, folder=tree)
    (file,) = folder.iterdir()
    return file


def build_wheel(source: Path, folder: Path) -> Path:
    command = ("-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, source)
    run(sys.executable, *command, folder=folder)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def wheel(tree, tmp_path_factory):
    return build_wheel(tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def binaries(wheel, tmp_path_factory):
    """The programs of a fresh environment: the wheel, and what it asks for, the newest."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    run(folder / "bin" / "python", "-m", "pip", "install", wheel, folder=folder)
    return folder / "bin"


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A user's folder with packages called as ours are, each of which fails to import."""
    folder = tmp_path_factory.mktemp("home")
    for name in FLOORS:
        (folder / name).mkdir()
        text = f"raise RuntimeError('the foreign package {name} was imported')\n"
        (folder / name / "__init__.py").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def demo(binaries, home):
    """The demo's main job; so few rows may not pass its gates, which is status 1."""
    command = ("synthesize", "--rows", ROWS, "--output", "log")
    run(binaries / "steadyrank", *command, folder=home)
    command = ("run", "--config", CONFIG, "--data", "log", "--output", "run")
    run(binaries / "steadyrank", *command, folder=home, statuses=(0, 1))
    return home / "run"


def rows_of(examples: Path) -> dict:
    return json.loads((examples / "manifest.json").read_text(encoding="utf-8"))["rows"]


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel, less what says when and by what it was built."""
    with zipfile.ZipFile(wheel) as file:
        links = [i.filename for i in file.infolist() if i.external_attr >> 28 == 0o12]
        assert not links
        found = {name: file.read(name) for name in file.namelist()}
    return {name: what for name, what in found.items() if "dist-info" not in name}


def sources(tree: Path) -> dict[str, bytes]:
    """Every file that is to be installed, by its name there."""
    found = {}
    for path in [*(tree / "src" / "steadyrank").iterdir(), *(tree / n for n in FLOORS)]:
        if path.is_symlink():
            continue
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file():
                root = tree if path.name in FLOORS else tree / "src" / "steadyrank"
                name = Path("steadyrank") / file.relative_to(root)
                found[str(name)] = file.read_bytes()
    return found


def test_the_sdist_holds_real_files(sdist, tree):
    with tarfile.open(sdist) as file:
        members = {m.name.partition("/")[2]: m for m in file.getmembers()}
        assert {m.type for m in members.values()} <= {tarfile.REGTYPE, tarfile.DIRTYPE}
        for name, source in sources(tree).items():
            assert file.extractfile(members[f"src/{name}"]).read() == source, name
    assert {"setup.py", "README.md", "LICENSE", "constraints.txt"} <= set(members)
    assert "configs/demo.yaml" in members
    assert not [name for name in members if name.startswith("tests")]


def test_the_wheel_holds_every_file_under_one_name(wheel, tree):
    assert contents(wheel) == sources(tree)


def test_the_sdist_makes_the_same_wheel(sdist, wheel, tmp_path):
    assert contents(build_wheel(sdist, tmp_path)) == contents(wheel)


def test_what_is_installed_agrees(binaries, home):
    run(binaries / "python", "-m", "pip", "check", folder=home)


@pytest.mark.parametrize("name", FLOORS)
def test_a_foreign_package_fails_where_it_is_imported(name, binaries, home):
    """Or the tests below would prove nothing."""
    run(binaries / "python", "-c", f"import {name}", folder=home, statuses=(1,))


def test_the_command_line_starts(binaries, home):
    for words in ((binaries / "python", "-m", "steadyrank"), (binaries / "steadyrank",)):
        said = run(*words, "--help", folder=home)
        assert "preprocess" in said and "sweep" in said


def test_the_demo_goes_from_log_to_verdict(demo):
    assert rows_of(demo / "examples")["read"] == ROWS
    for name in ("metrics.json", "verdict.json", "report.html"):
        assert (demo / "evaluation" / name).stat().st_size
    assert list((demo / "train" / "tensorboard").rglob("events*"))


def test_trials_of_a_sweep_run(demo, binaries, home):
    (home / "sweep.yaml").write_text(yaml.safe_dump({"sweep": SWEEP}), encoding="utf-8")
    command = ("sweep", "--config", CONFIG, "--sweep", "sweep.yaml", "--output", "sweep")
    command += ("--examples", demo / "examples", "--set", "train.epochs=1")
    run(binaries / "steadyrank", *command, folder=home)
    text = (home / "sweep" / "results.json").read_text(encoding="utf-8")
    trials = json.loads(text)["trials"]
    assert [trial["status"] for trial in trials] == ["completed"] * 2


def test_beam_works_in_several_processes(demo, binaries, home):
    command = ("preprocess", "--config", CONFIG, "--data", "log", "--output", "parallel")
    flags = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    run(binaries / "steadyrank", *command, "--", *flags, folder=home)
    assert rows_of(home / "parallel") == rows_of(demo / "examples")
