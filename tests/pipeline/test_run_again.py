"""A run goes on with what is its own, and clears nothing else."""

import shutil
from pathlib import Path

import pytest
import yaml

from steadyrank.pipeline import run as stages
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.compatibility import read_by_preprocessing
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.publish import write_json
from steadyrank.pipeline.kinds.results import EvaluateResult, ExportResult
from tests.helpers import tiny
from tests.helpers.log_on_disk import ROWS, write_config


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


def made_before(folder) -> Path:
    """A run that ended: its folders, empty but for what says of which config they are."""
    run, document = folder / "run", tiny.config_document()
    for stage in ("examples", "train", "export/1/assets.extra", "evaluation"):
        (run / stage).mkdir(parents=True)
    config = parse_config(document, "c")
    rows = {"read": 0, "written": 0, "duplicates": 0, "rejected": {}}
    manifest = {"fingerprint": "f", "rows": rows, "config": read_by_preprocessing(config)}
    write_json(run / "examples/manifest.json", manifest)
    (run / "train" / "config.yaml").write_text(yaml.safe_dump(document))
    training = {"steps": 1, "versions": {}}
    card = {"schema": {}, "training": training, "config": config.model_dump(mode="json")}
    write_json(run / "export/1/assets.extra/card.json", card)
    for marker in ("train/train.json", "export/1/saved_model.pb"):
        (run / marker).touch()
    return run


def run_again(folder, output, *flags):
    command = ["run", "--config", write_config(folder), "--output", output, *flags]
    return app([str(word) for word in command], standalone_mode=False)


def without_models(monkeypatch) -> list[Path]:
    """Let a run only note where it would export to, and pass."""
    exported = []

    def export(config, trained, output, **_):
        exported.append(output)
        return ExportResult(output / "1", 1)

    def evaluate(config, examples, model, output, **_):
        nothing = {"split": "test", "rows": 0, "tasks": {}}
        return EvaluateResult(output, "PASS", None, [], nothing)

    monkeypatch.setattr(stages, "export", export)
    monkeypatch.setattr(stages, "evaluate", evaluate)
    return exported


@pytest.mark.parametrize("busy", ["run", "run/train"])
def test_a_run_clears_nothing_that_another_process_makes(folder, busy):
    run = made_before(folder)
    (run / "train.partial").mkdir()
    with alone(folder / busy), pytest.raises(PassingError, match=f"{busy} is in use by"):
        run_again(folder, run, "--overwrite")
    assert (run / "train.partial").exists() and (run / "examples/manifest.json").exists()


def test_a_run_that_cannot_begin_leaves_the_one_before(folder):
    output = made_before(folder)
    with pytest.raises(InputError, match="no such file"):
        run_again(folder, output, "--overwrite", "--data", folder / "nowhere")
    assert sorted(path.name for path in output.iterdir()) == [
        "evaluation",
        "examples",
        "export",
        "train",
    ]


def test_a_run_goes_on_with_its_own_config_alone(folder):
    output = made_before(folder)
    with pytest.raises(InputError, match=r"train.epochs is 7 in the config, but"):
        run_again(folder, output, "--resume", "--set", "train.epochs=7")
    with pytest.raises(InputError, match=r"features.item.min_count is 9 in the config"):
        run_again(folder, output, "--resume", "--set", "features.item.min_count=9")
    with pytest.raises(InputError, match="choose one"):
        run_again(folder, output, "--resume", "--overwrite")


@pytest.mark.parametrize(
    ("key", "flags"),
    [
        ("data.split.test", ["--set", "data.split.test=2024-03-07"]),
        ("data.input", ["--input", "log.csv"]),
    ],
)
def test_a_run_goes_on_with_its_own_examples_alone(folder, key, flags):
    """Also where training has not begun."""
    output = made_before(folder)
    shutil.rmtree(output / "train")
    with pytest.raises(InputError, match=f"{key} is .* in the config, but .*examples was"):
        run_again(folder, output, "--resume", *flags)


@pytest.mark.parametrize(
    ("flags", "again"),
    [
        ([], False),
        (["--set", "export.embedding_dtype=int8"], True),
        (["--set", "serving.shared=[user]"], True),
        (["--set", "gates.size.max_mb=5"], False),
    ],
)
def test_a_run_goes_on_with_an_export_like_the_configs(folder, flags, again, monkeypatch):
    output, exported = made_before(folder), without_models(monkeypatch)
    run_again(folder, output, "--resume", *flags)
    assert exported == [output / "export"] * again


def test_a_run_goes_on_where_its_export_was_killed(folder, monkeypatch):
    output, exported = made_before(folder), without_models(monkeypatch)
    (output / "export/1").rename(output / "export/.1.partial-7")
    run_again(folder, output, "--resume")
    assert exported == [output / "export"]


def test_a_run_removes_nothing_that_it_did_not_write(folder):
    output = made_before(folder)
    (output / "train" / "train.json").unlink()
    with pytest.raises(InputError, match="run/train is not what a stage wrote"):
        run_again(folder, output, "--overwrite")
    (output / "train" / "train.json").touch()
    log = str(output / "train.partial" / "*.parquet")
    with pytest.raises(InputError, match="take the place of an input"):
        run_again(folder, output, "--overwrite", "--input", log)
