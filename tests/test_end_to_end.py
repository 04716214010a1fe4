"""The whole way through the real entry point: log to verdict, and its exit status."""

import json

import pytest
import yaml

from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.synthetic import synthesize
from tests.helpers.command_line import in_this_process, steadyrank

ROWS = 6000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pytestconfig):
    """A log, and the demo's config with a small model and gates that anything passes."""
    path = tmp_path_factory.mktemp("end")
    synthesize(ROWS, 1, path / "log")
    load_config(pytestconfig.rootpath / "configs" / "demo.yaml")  # else fail here
    text = (pytestconfig.rootpath / "configs" / "demo.yaml").read_text()
    document = yaml.load(text.replace(" on:", " 'on':"), yaml.SafeLoader)
    # compiles fast; what the demo's own trunk does, the tests of its parts say
    document["model"] = {"trunk": "shared_bottom", "bottom_units": [8], "tower_units": [4]}
    document["model"] |= {"embedding_dim": 4}
    document["train"] |= {"epochs": 2, "batch_size": 128, "patience": None}  # to learn
    document["gates"] = {
        "divergence": {"max_micro": 5},
        "auc": {"is_click": {"min": 0.1}},
        "calibration": {"is_click": {"min": 0.01, "max": 100}},
        "skew": {"max_difference": 1.0e-5},
    }
    (path / "c.yaml").write_text(yaml.safe_dump(document))
    return path


def test_a_log_becomes_a_verdict(folder, capsys):
    flags = ["--config", folder / "c.yaml", "--data", folder / "log"]
    run = folder / "run"
    done = steadyrank("run", *flags, "--output", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
    assert "Traceback" not in done.stderr
    manifest = json.loads((run / "examples" / "manifest.json").read_text())
    metrics = json.loads((run / "evaluation" / "metrics.json").read_text())
    verdict = json.loads((run / "evaluation" / "verdict.json").read_text())
    rows = manifest["rows"]
    rejected = sum(rows["rejected"].values())
    assert ROWS == rows["read"] == rows["written"] + rows["duplicates"] + rejected
    assert rows["duplicates"] == ROWS // 1000
    splits = {split: found["rows"] for split, found in manifest["splits"].items()}
    assert sum(splits.values()) == rows["written"]
    assert metrics["rows"] == metrics["tasks"]["is_click"]["rows"] == splits["test"]
    assert metrics["tasks"]["is_click"]["reachable_auc"] > 0.6
    assert verdict["verdict"] == "PASS"
    assert (run / "export" / "1" / "saved_model.pb").exists()
    assert (run / "evaluation" / "report.html").exists()

    # The stages that are done are kept; only the verdict is made again.
    unreachable = ["--set", "gates.auc.is_click.min=0.9999"]
    assert in_this_process("run", *flags, "--output", run, "--resume", *unreachable) == 1
    assert "REFUSE" in capsys.readouterr().out
    verdict = json.loads((run / "evaluation" / "verdict.json").read_text())
    failed = [gate for gate in verdict["gates"] if not gate["passed"]]
    assert [(gate["gate"], gate["task"]) for gate in failed] == [("auc", "is_click")]
    assert [path.name for path in (run / "export").iterdir()] == ["1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--config", "absent.yaml", "--output", "x"],
        ["train", "--config", "c.yaml", "--output", "x"],
        ["inspect", "."],
    ],
    ids=lambda arguments: arguments[0],
)
def test_bad_usage_ends_with_status_2(folder, arguments, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert in_this_process(*arguments) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and "error" in said
