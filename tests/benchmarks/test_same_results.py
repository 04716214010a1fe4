"""What counts as the same: runs that differ in one bit, in a clock, in a file."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import same_results
from benchmarks.same_results import Job, compare, equal, main, others

TIMES = {"size_mb": 1.8, "git_revision": "a"}
# stands for a tree's command line: writes the run that was prepared for it
PROGRAM = """
import os, shutil, sys
os.makedirs("log", exist_ok=True)
if sys.argv[1] == "run":
    shutil.copytree(os.environ["PREPARED"] + "/{side}", "run")
    sys.exit(1)
"""


def write_run(folder, weight=1.0, seconds=1.5, loss=0.5):
    for name in ("examples/train", "examples/vocab", "train/best", "evaluation"):
        (folder / name).mkdir(parents=True)
    (folder / "examples" / "train" / "a.tfrecord").write_bytes(b"record")
    (folder / "examples" / "vocab" / "user.txt").write_text("u1\nu2\n")
    values = {"weight": tf.Variable([weight, np.nan]), "steps": tf.Variable(3)}
    tf.train.Checkpoint(**values).write(str(folder / "train" / "best" / "weights"))
    steps = [{"step": 1, "loss": loss, "seconds": seconds}, {"step": 2, "loss": np.nan}]
    lines = "".join(json.dumps(step) + "\n" for step in steps)
    (folder / "train" / "log.jsonl").write_text(lines)
    metrics = {"tasks": {"click": {"auc": 0.7}}, "model": TIMES | {"seconds": seconds}}
    (folder / "evaluation" / "metrics.json").write_text(json.dumps(metrics))
    (folder / "evaluation" / "verdict.json").write_text('{"verdict": "REFUSE"}')
    return folder


@pytest.fixture
def runs(tmp_path):
    return write_run(tmp_path / "before"), write_run(tmp_path / "after", seconds=2.25)


def unequal(runs) -> set[str]:
    return {kind for kind, what in compare(*runs).items() if not what["equal"]}


def test_runs_that_differ_in_clocks_are_equal(runs):
    assert not unequal(runs)
    assert compare(*runs)["weights"]["files"] == 1 and not others(*runs)


@pytest.mark.parametrize(
    "kind, name, text",
    [
        ("record_files", "examples/train/a.tfrecord", "recore"),
        ("record_files", "examples/validation/b.tfrecord", "record"),
        ("vocabularies", "examples/vocab/user.txt", "u2\nu1\n"),
        ("log", "train/log.jsonl", '{"step": 1, "loss": 0.5}\n'),
        ("metrics", "evaluation/metrics.json", '{"tasks": {"click": {"auc": 0.71}}}'),
        ("verdict", "evaluation/verdict.json", '{"verdict": "PASS"}'),
    ],
)
def test_one_file_that_differs_is_found(kind, name, text, runs):
    (runs[1] / name).parent.mkdir(exist_ok=True)
    (runs[1] / name).write_text(text)
    assert unequal(runs) == {kind}
    assert name in compare(*runs)[kind]["different"][0] and not others(*runs)


def test_a_weight_that_differs_in_its_last_bit_is_found(tmp_path):
    first = write_run(tmp_path / "first")
    second = write_run(
        tmp_path / "second", weight=np.nextafter(np.float32(1), np.float32(2))
    )
    (said,) = compare(first, second)["weights"]["different"]
    assert unequal((first, second)) == {"weights"} and "weights.index: weight/" in said


@pytest.mark.parametrize("value", [tf.Variable(3, dtype=tf.int64), tf.Variable([3])])
def test_a_tensor_of_another_type_or_shape_is_found(value, tmp_path):
    files = []
    for name, steps in (("a", tf.Variable(3)), ("b", value)):
        tf.train.Checkpoint(steps=steps).write(str(tmp_path / name))
        files.append(tmp_path / f"{name}.index")
    assert same_results.same_tensors(*files) == ["steps/.ATTRIBUTES/VARIABLE_VALUE"]


def test_a_tensor_of_one_alone_is_found(tmp_path):
    tf.train.Checkpoint(a=tf.Variable(1)).write(str(tmp_path / "a"))
    tf.train.Checkpoint(b=tf.Variable(1)).write(str(tmp_path / "b"))
    found = same_results.same_tensors(tmp_path / "a.index", tmp_path / "b.index")
    assert {name.split("/")[0] for name in found} >= {"a", "b"}


def test_nothing_compared_is_not_equal(runs):
    shutil.rmtree(runs[0] / "train"), shutil.rmtree(runs[1] / "train")
    assert unequal(runs) == {"weights", "log"}


def test_other_files_are_named(runs):
    (runs[0] / "report.html").write_text("a")
    (runs[1] / "report.html").write_text("b")
    assert others(*runs) == ["report.html"] and not unequal(runs)


def write_program(package, side):
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(PROGRAM.format(side=side))


@pytest.fixture
def trees(tmp_path, monkeypatch):
    """A revision with ``pipeline`` at the top, a tree with ``src/steadyrank`` now."""
    root = tmp_path / "root"
    write_program(root / "pipeline", "before")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Before"]):
        subprocess.run([*git, *command], cwd=root, check=True)
    write_program(root / "src" / "steadyrank", "after")
    monkeypatch.setenv("PREPARED", str(tmp_path))
    monkeypatch.setattr(same_results, "ROOT", root)
    monkeypatch.setattr(same_results, "JOBS", {"demo": Job("c.yaml")})
    return tmp_path


def test_each_tree_runs_its_own_code(trees, runs, capsys):
    with pytest.raises(SystemExit) as left:
        main(["--before", "HEAD"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert left.value.code == 0 and said["equal"] and said["demo"]["weights_equal"]
    assert said["demo"]["sides"]["before"]["status"] == 1
    assert "before_equals_itself" not in said["demo"]


def test_what_differs_is_run_again_with_the_earlier_tree(trees, runs, capsys):
    (runs[1] / "evaluation" / "metrics.json").write_text("{}")
    with pytest.raises(SystemExit) as left:
        main(["--before", "HEAD", "--quick"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert left.value.code == 1 and not said["equal"] and not equal(said["demo"])
    assert said["demo"]["before_equals_itself"] == dict.fromkeys(same_results.KINDS, True)


def test_two_revisions_are_compared_without_this_tree(trees, runs, capsys):
    (runs[1] / "evaluation" / "metrics.json").write_text("{}")
    with pytest.raises(SystemExit) as left:
        main(["--before", "HEAD", "--after", "HEAD"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert left.value.code == 0 and said["after"] == "HEAD" and said["equal"]


def test_a_run_that_fails_says_what_it_said(trees):
    with pytest.raises(SystemExit, match="(?s)status 1:.*No such file.*/after"):
        same_results.make(trees / "root", Job("c.yaml"), trees / "run", False)


def test_data_that_is_not_at_hand_is_left_out(trees, monkeypatch, capsys):
    monkeypatch.setattr(same_results, "JOBS", {"real": Job("c.yaml", "nowhere")})
    with pytest.raises(SystemExit, match="Nothing was compared"):
        main(["--before", "HEAD"])
    assert "real is left out" in capsys.readouterr().out
