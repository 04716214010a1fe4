"""The house's figures, of a small repository whose figures can be counted by hand."""

import subprocess

import pytest

from benchmarks import house

# run -> train -> files, run -> files; gates <-> report is a circle above files
TREE = {
    "components/layers.py": "import pipeline.run\n" * 9,
    "models/ranker.py": "",
    "models/notes.txt": "import pipeline.run\n" * 99,
    "pipeline/__init__.py": "",
    "pipeline/run.py": "def f():\n  from pipeline import files, train\n  import numpy\n",
    "pipeline/train/__init__.py": "",
    "pipeline/train/stage.py": "from pipeline.train import log\nfrom ..files import lock\n",
    "pipeline/train/log.py": "import steadyrank.pipeline.files\n",
    "pipeline/files/__init__.py": "",
    "pipeline/files/lock.py": "import re\nfrom pipeline.config_of_others import x\n",
    "pipeline/gates.py": "import pipeline.report\n",
    "pipeline/report.py": "from steadyrank.pipeline import gates\nfrom . import files\n",
}


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(house, "ROOT", tmp_path)
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "All of it"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    (tmp_path / "pipeline" / "later.py").write_text("", encoding="utf-8")


def test_a_repository_counted_by_hand(repository):
    assert house.measure("HEAD") == {
        "files_directly_in_pipeline": 4,
        "names": 5,
        "imports": 6,
        "layers": 3,
        "circles": 1,
        "python_files": 11,
        "python_lines": 20,
        "longest_file_lines": 9,
        "longest_file": "components/layers.py",
    }


def test_what_a_folder_offers_to_those_below_it_makes_no_circle():
    files = {
        "pipeline/kinds/protocol.py": "",
        "pipeline/kinds/ranking.py": "from pipeline.kinds.protocol import Kind\n"
        "import pipeline.train.run\n",
        "pipeline/train/run.py": "from steadyrank.pipeline.kinds import protocol\n",
    }
    imports = house.graph(files)
    assert imports["kinds"] == {"kinds.protocol", "train"} and not house.circles(imports)
    assert imports["train"] == {"kinds.protocol"} and house.layers(imports) == 3


def test_who_imports_whom(repository):
    imports = house.graph(house.sources("HEAD"))
    assert imports == {
        "files": set(),
        "gates": {"report"},
        "report": {"files", "gates"},
        "run": {"files", "train"},
        "train": {"files"},
    }
    assert house.circles(imports) == [("gates", "report")]


@pytest.mark.parametrize(
    "imports, layers",
    [
        ({}, 0),
        ({"a": set()}, 1),
        ({"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": set()}, 4),
    ],
)
def test_layers_are_the_longest_chain(imports, layers):
    assert house.layers(imports) == layers
