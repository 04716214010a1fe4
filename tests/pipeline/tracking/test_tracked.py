"""A training and its verdict as one run of MLflow, whatever becomes of the server."""

import json
import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from steadyrank.components.metrics.divergence import DivergenceDetector
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.evaluate.tracked import tell_verdict
from steadyrank.pipeline.examples.compatibility import what_makes
from steadyrank.pipeline.files.errors import DivergenceError, InputError, ToldToEndError
from steadyrank.pipeline.kinds import kind_of, train
from steadyrank.pipeline.kinds.protocol import Phase
from steadyrank.pipeline.preflight import check
from steadyrank.pipeline.store.begun import settings_of
from steadyrank.pipeline.tracking import sender as sending
from steadyrank.pipeline.tracking import tracked as module
from steadyrank.pipeline.tracking.tracked import FILE, Tracked, run_name
from steadyrank.pipeline.train import stage
from steadyrank.pipeline.train.log import read_lines
from steadyrank.pipeline.train.reporter import Reporter
from steadyrank.pipeline.train.stage import _tracked, write_inputs
from tests.helpers import tiny
from tests.helpers.tracked_runs import KeptRun, curve, installed, keep_runs
from tests.helpers.training import Interrupted, interrupt, smaller_config

URI = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch):
    monkeypatch.setattr(sending, "GATHER_SECONDS", 0.01)


@pytest.fixture
def runs(monkeypatch):
    return keep_runs(monkeypatch)


def tracked_config(**changes):
    config = smaller_config(**{"epochs": 2, **changes})
    tracking = config.tracking.model_copy(update={"mlflow": URI, "experiment": "e"})
    return config.model_copy(update={"tracking": tracking})


def measured(folder) -> dict[int, float]:
    """Step -> mean AUC on validation, out of the log."""
    found = {}
    for line in read_lines(folder / "log.jsonl"):
        if "validation" in line:
            each = [r["auc"] for r in line["validation"].values() if r.get("auc")]
            found[line["step"]] = sum(each) / len(each)
    return found


def test_a_training_that_was_cut_off_is_one_run_with_each_step_once(
    examples, tmp_path, runs, monkeypatch
):
    monkeypatch.setattr(module, "NOTE_SECONDS", 0.0)
    output, config = tmp_path / "night" / "train", tracked_config()
    output.parent.mkdir()
    kept = {}

    def cut_off(step, text):
        if step > 16 and runs:  # past a checkpoint
            kept.update(json.loads((output.with_name("train.partial") / FILE).read_text()))
            return True

    with pytest.raises(Interrupted):
        train(config, examples, output, progress=interrupt(cut_off))
    (number,) = runs
    assert runs[number]["status"] == "FAILED" and kept["run"] == number
    before = max(point.step for point in runs[number]["points"])
    summary = train(config, examples, output, resume=True)
    assert [*runs] == [number] and runs[number]["status"] == "FINISHED"
    run = runs[number]
    assert (run["name"], run["experiment"]) == ("night", "e")
    assert run["params"]["train.epochs"] == "2" and "features.user.kind" in run["params"]
    assert not any("tracking" in name for name in run["params"])
    drawn = curve(run, "loss")
    assert [step for step, _ in drawn] == sorted({step for step, _ in drawn})
    assert drawn[-1][0] == summary["steps"] > before
    validation = measured(output)
    assert dict(curve(run, "validation/mean_auc")) == pytest.approx(validation)
    assert len(curve(run, "validation/mean_auc")) == len(validation) == 2
    assert curve(run, "best") == [(summary["steps"], pytest.approx(summary["best"]))]
    names = {point.name.partition("/")[0] for point in run["points"]}
    assert {"losses", "learning_rate", "validation_auc", "examples_per_second"} <= names
    assert not names & {"weight_norm", "update_norm", "clipping"}
    assert (
        run["tags"]["steadyrank.ended"] == f"all that was asked for: {drawn[-1][0]} steps"
    )
    assert run["tags"]["steadyrank.folder"] == str(output)
    assert summary["tracked"] == {"server": URI, "run": number}


class Unreachable(KeptRun):
    def open(self):
        raise OSError("nobody there")


LOST = f"warning: MLflow at {URI}: nobody there. The rest of this run goes untracked."
LINE = {"loss": 1.0, "examples": 4, "epoch": 0}


def test_a_server_that_fails_costs_a_training_one_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "Run", lambda *given: Unreachable({}, *given))
    tracked, said = begun(tmp_path, {}), []
    reporter = Reporter(
        SimpleNamespace(work=tmp_path, workers=None),
        Phase(tmp_path),
        steps=9,
        offset=0,
        progress=lambda *told: said.append(told),
        tracked=tracked,
    )
    _await(lambda: tracked._sender.failure)
    for step in (3, 5):
        reporter.look([{**LINE, "step": step}])
    assert [told for told in said if told[1] == 0] == [(3, 0, LOST)]
    with tracked:
        reporter.keep()
    assert tracked.warning() == "" and not (tmp_path / FILE).exists()


def test_what_fails_at_the_end_of_a_training_is_said_then(examples, tmp_path, monkeypatch):
    installed(monkeypatch, True)
    monkeypatch.setattr(module, "Run", lambda *given: Unreachable({}, *given))
    ended = {"steps": 7, "best": None, "rollbacks": 0, "monitor": "mean_auc", "epochs": 1}
    ended["divergence"] = DivergenceDetector().summary()
    monkeypatch.setattr(stage, "_train_phases", lambda *_, **told: dict(ended))
    said = []
    how = {"progress": lambda *told: said.append(told)}
    assert train(tracked_config(), examples, tmp_path / "t", **how) == ended
    assert said == [(7, 0, LOST)]


def test_tracking_makes_nothing_of_a_model(examples, tmp_path):
    """What was cut off goes on with any server, or none; a night and a sweep do, too."""
    kind, (one, other) = kind_of(smaller_config()), (smaller_config(), tracked_config())
    held = kind.open_examples(examples)
    write_inputs(one, kind.agree(one, held.schema), held, tmp_path / "w")
    other = other.model_copy(update={"train": one.train})
    write_inputs(other, kind.agree(one, held.schema), held, tmp_path / "w")
    with pytest.raises(InputError, match="train.epochs"):
        write_inputs(tracked_config(), held.schema, held, tmp_path / "w")
    assert settings_of(one) == settings_of(other) and what_makes(one) == what_makes(other)


def begun(work, runs, **tracking) -> Tracked:
    tracking = {"mlflow": URI, **tracking}
    config = parse_config(tiny.config_document(tracking=tracking), "c")
    return Tracked.of_training(config, work, work.with_name("t"), {"examples": "f"})


def test_another_server_has_a_run_of_its_own(tmp_path, runs):
    with begun(tmp_path, runs):
        pass
    with begun(tmp_path, runs):
        pass
    assert len(runs) == 1
    with begun(tmp_path, runs, mlflow="http://other"):
        pass
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("error", "status", "ended"),
    [
        (DivergenceError("it diverged"), "FAILED", "it diverged"),
        (ToldToEndError("told to end"), "KILLED", "told to end"),
        (KeyboardInterrupt(), "KILLED", "KeyboardInterrupt"),
    ],
)
def test_a_run_ends_as_its_training_does(tmp_path, runs, error, status, ended):
    with pytest.raises(type(error)), begun(tmp_path, runs):
        raise error
    assert runs["run-0"]["status"] == status
    assert runs["run-0"]["tags"]["steadyrank.ended"] == ended


def test_steps_after_a_rollback_are_told_again(tmp_path, runs):
    with begun(tmp_path, runs) as tracked:
        tracked.scalars(5, {"loss": 1.0})
    with begun(tmp_path, runs) as tracked:
        tracked.scalars(5, {"loss": 2.0})
        _await(lambda: runs["run-0"]["status"] == "RUNNING")
        tracked.rolled_back()
        tracked.scalars(4, {"loss": 3.0})
    assert (4, 3.0) in curve(runs["run-0"], "loss")


def _await(condition):
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.001)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/runs/monday/train", "monday"),
        ("/models/third", "third"),
        ("/store/nights/.2024-03-05.partial-0123456789abcdef/train", "2024-03-05"),
        ("/sweep/trials/0003/train", "0003"),
        ("/train", "train"),
    ],
)
def test_a_run_is_named_by_what_it_is_of(place, name):
    assert run_name(Path(place)) == name


VERDICT = {"verdict": "HOLD", "forced": None}
VERDICT["gates"] = [
    {"verdict": "PASS", "reason": "good"},
    {"verdict": "HOLD", "reason": "too few rows"},
]
METRICS = {"split": "test", "tasks": {"click": {"auc": 0.7, "rows": 4, "gauc": None}}}


def test_the_verdict_goes_to_the_run_of_the_training(tmp_path, runs):
    with begun(tmp_path, runs) as tracked:
        pass
    config = parse_config(tiny.config_document(tracking={"mlflow": URI}), "c")
    training = {"steps": 40, **tracked.told()}
    assert tell_verdict(config, training, METRICS, VERDICT) == ""
    (run,) = runs.values()
    assert curve(run, "test_auc/click") == [(40, 0.7)]
    assert {point.name for point in run["points"]} == {"test_auc/click"}
    assert run["tags"]["steadyrank.verdict"] == "HOLD"
    assert run["tags"]["steadyrank.verdict.reasons"] == "too few rows"
    assert run["status"] == "FINISHED"
    runs.clear()
    lost = tell_verdict(config, training, METRICS, VERDICT)
    assert lost.startswith(f"warning: MLflow at {URI}: no run") and not runs


@pytest.mark.parametrize("training", [{}, {"tracked": {"server": "http://o", "run": "r"}}])
def test_a_model_that_was_tracked_elsewhere_is_told_of_nowhere(runs, training):
    config = parse_config(tiny.config_document(tracking={"mlflow": URI}), "c")
    assert tell_verdict(config, {"steps": 4, **training}, METRICS, VERDICT) == ""
    assert not runs


def test_without_the_package_nothing_begins(examples, log_folder, tmp_path, monkeypatch):
    installed(monkeypatch, False)
    config = parse_config(tiny.config_document(tracking={"mlflow": URI}), "c")
    for begin in (
        lambda: train(config, examples, tmp_path / "t"),
        lambda: list(check(config, log_folder)),
    ):
        with pytest.raises(InputError, match=r"pip install 'steadyrank\[mlflow\]'"):
            begin()
    assert not list(tmp_path.iterdir())
    installed(monkeypatch, True)
    assert f"tracking: {URI}, experiment steadyrank" in list(check(config, log_folder))


def test_only_the_chief_of_several_workers_tells(tmp_path, runs):
    config = tracked_config()
    setting = SimpleNamespace(config=config, workers=SimpleNamespace(is_chief=False))
    with _tracked(setting, tmp_path) as tracked:
        tracked.scalars(1, {"loss": math.nan})
        tracked.tags({"a": "b"})
        tracked.note()
    assert not runs and tracked.told() == {} and tracked.warning() == ""
