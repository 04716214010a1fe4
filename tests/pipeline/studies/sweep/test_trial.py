"""A trial is the stages that users run, in processes of their own."""

import json
import shutil
import time
from datetime import date

import numpy as np
import pytest
import yaml

from steadyrank.pipeline import cli
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.config.log import Split
from steadyrank.pipeline.config.sweep import Objective, Sweep
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.publish import write_json
from steadyrank.pipeline.kinds import train
from steadyrank.pipeline.studies.sweep import sweep, trial
from steadyrank.pipeline.studies.sweep.score import ScoreTrials
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.train.log import read_lines
from tests.helpers import tiny
from tests.helpers.sweeps import make_space


@pytest.fixture
def written(tmp_path):
    """A config's file, and a function that writes a sweep's."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tiny.config_document()))

    def write(*parameters, **settings):
        other = tmp_path / "sweep.yaml"
        content = {"sweep": {"space": list(parameters), **settings}}
        other.write_text(yaml.safe_dump(content))
        return path, other

    return write


def run_cli(*arguments) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main([str(argument) for argument in arguments])
    return left.value.code


@pytest.fixture(scope="module")
def swept(examples, tmp_path_factory):
    """A sweep of one training in a process of its own, from the command line."""
    document = tiny.config_document()
    document["model"] = {"trunk": "lr"}  # compiles fast
    key = "train.dense.learning_rate"
    document["sweep"] = {"trials": 1, "space": [{"key": key, "values": [0.2, 0.1]}]}
    folder = tmp_path_factory.mktemp("swept")
    config, output = folder / "config.yaml", folder / "out"
    config.write_text(yaml.safe_dump(document))
    arguments = ("--config", config, "--examples", examples, "--output", output)
    assert run_cli("sweep", *arguments) == 0
    return output


def test_a_real_sweep(swept):
    found = json.loads((swept / "results.json").read_text())
    assert found["counts"] == {"completed": 1}
    areas = found["trials"][0]["metrics"]
    mean = (areas["click"]["auc"] + areas["like"]["auc"]) / 2
    assert found["best_value"] == found["own_value"] == pytest.approx(mean)
    assert areas["click"]["gauc"] is not None
    assert found["told"] is False and found["best"] == "0"
    trained = swept / "trials" / "trial_0" / "train"
    summary = json.loads((trained / "train.json").read_text())
    click = summary["validation"]["click"]
    assert click["auc"] == pytest.approx(areas["click"]["auc"])
    assert click["intervals"]["auc"][0] < click["auc"] < click["intervals"]["auc"][1]
    objective = Objective(tasks={"click": 1})
    drawn = trial.drawn_objective(trained, objective)
    error = np.std(drawn["drawn"], ddof=1)
    assert error == pytest.approx(click["errors"]["auc"])
    assert drawn["groups"] == click["groups"] >= 10
    # of the rows with a like there are too few for the mean of both to be known
    assert summary["validation"]["like"]["groups"] < 10
    assert summary["best_interval"] is found["trials"][0]["interval"] is None
    best = load_config(swept / "best.yaml")
    assert best.train.dense.learning_rate == 0.2
    assert best.train.on_divergence == "rollback"  # a trial's own way was to stop


@pytest.mark.usefixtures("as_users_run")
def test_a_rung_goes_on_to_the_weights_of_one_long_training(swept, examples, tmp_path):
    config = load_config(swept / "trials" / "trial_0" / "config.yaml")
    split = Split(validation=date(2024, 3, 5), test=date(2024, 3, 6))  # as YAML reads them
    data = config.data.model_copy(update={"split": split})
    train_longer = config.train.model_copy(update=TWO)
    longer = config.model_copy(update={"train": train_longer, "data": data})
    output = tmp_path / "train"
    shutil.copytree(swept / "trials" / "trial_0" / "train", output)
    with pytest.raises(InputError, match="train.epochs is above 1"):
        train(config, examples, output, resume=True)
    decaying = longer.train.model_copy(update={"decay": "linear"})
    with pytest.raises(InputError, match="train.decay is 'linear' in the config"):
        train(longer.model_copy(update={"train": decaying}), examples, output, resume=True)
    assert train(longer, examples, output, resume=True)["epochs"] == 2
    train(longer, examples, tmp_path / "whole")
    logs = [list(read_lines(tmp_path / n / "log.jsonl")) for n in ("train", "whole")]
    for log in logs:
        for line in log:
            line.pop("seconds", None)
    assert logs[0] == logs[1] and logs[0][-1]["epoch"] == 1


TWO = {"epochs": 2}


@pytest.fixture
def stage(monkeypatch, tmp_path):
    """A trial whose process ends as it is told, having written a model or not."""
    calls = []

    def run(status, said="", micro=0, margin=None, goes_on=False, **constraint):
        def run_stage(arguments, log, beat):
            calls.append([str(argument) for argument in arguments])
            output = arguments[arguments.index("--output") + 1]
            output.mkdir(parents=True, exist_ok=True)
            if arguments[0] == "stability":
                content = {"fingerprint": "f", "margin": margin}
                write_json(output / "stability.json", content)
            elif status == 0:
                lines = {"step": 1, "epoch": 0, "validation": VALIDATION}
                (output / "log.jsonl").write_text(json.dumps(lines) + "\n")
                divergence = {"diverged": False, "micro": [{}] * micro}
                divergence |= {"diverged_at": None, "dead_tasks": []}
                summary = {"epochs": 1, "steps": 1, "monitor": "auc", "best": 0.7}
                write_json(output / "train.json", {**summary, "divergence": divergence})
            return (0, "") if arguments[0] == "stability" else (status, said)

        monkeypatch.setattr(trial, "run_stage", run_stage)
        space = make_space(constraint=constraint)
        document = space.apply(space.own())
        config = space.config.model_copy(update={"sweep": space.sweep})
        if goes_on:
            trial.write_config(tmp_path / "t" / "train.partial" / "config.yaml", document)
        return trial.run_trial(tmp_path / "t", document, config, tmp_path), calls

    return run


VALIDATION = {
    "click": {"kind": "binary", "auc": 0.7},
    "like": {"kind": "binary", "auc": 0.8},
    "watch": {"kind": "regression", "rmse": 1.0},
}


def test_exit_statuses_become_outcomes(stage, tmp_path):
    done, calls = stage(0)
    assert (done.status, done.value) == ("completed", pytest.approx(0.75))
    written = yaml.safe_load((tmp_path / "t" / "config.yaml").read_text())
    assert written["train"]["on_divergence"] == "stop"  # early, not after rollbacks
    assert stage(3, "at step 9")[0].status == "diverged"
    crashed, _ = stage(-9)
    assert crashed.status == "crashed" and "status -9" in crashed.message
    with pytest.raises(InputError, match="unknown key"):
        stage(2, "train.epoch: unknown key")
    assert "--overwrite" in calls[-1]
    with pytest.raises(PassingError, match="t: it is in use by process 7.*--resume"):
        stage(75, "it is in use by process 7.")
    _, calls = stage(0, goes_on=True)
    assert "--resume" in calls[-1] and "--overwrite" not in calls[-1]


def test_a_trial_must_keep_the_constraint(stage):
    assert stage(0, micro=1)[0].status == "completed"
    jumped, calls = stage(0, micro=1, max_micro=0)
    assert jumped.status == "refused" and "jumped 1 times" in jumped.message
    assert [call[0] for call in calls] == ["train", "train"]
    near, calls = stage(0, margin=2.0, min_margin=4)
    assert near.status == "refused" and "margin 2 is below" in near.message
    assert calls[-1][0] == "stability" and near.value == pytest.approx(0.75)
    assert stage(0, margin=8.0, min_margin=4)[0].status == "completed"
    assert stage(0, margin=None, min_margin=4)[0].status == "completed"


def test_a_stage_runs_in_a_process_of_its_own_and_ends_with_the_sweep(tmp_path):
    status, said = trial.run_stage(["--no-such"], tmp_path / "log", lambda: None)
    assert status == 2 and "No such option" in said

    def interrupt():
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        trial.run_stage(["--help"], tmp_path / "log", interrupt)
    assert time.monotonic() - started < 20


def test_a_score_is_ranked_on_the_predictions_of_one_model(swept, examples, tmp_path):
    trained = swept / "trials" / "trial_0" / "train"
    document = tiny.config_document(score="click")
    document["model"] = {"trunk": "lr"}
    section = {
        "score": "click ** {a} * like ** {b}",
        "trials": 5,
        "objective": {"metric": "gauc", "tasks": {"click": 3, "like": 1}},
        "space": [{"key": "a", "values": [1, 0]}, {"key": "b", "low": 0.0, "high": 2.0}],
    }
    space = Space(document, Sweep.model_validate(section))
    with pytest.raises(InputError, match="Pass --train"):
        sweep(space, examples, tmp_path / "out")
    found = sweep(space, examples, tmp_path / "out", train_path=trained)
    assert found["counts"] == {"completed": 5} and found["best_value"] > 0.3
    config = load_config(tmp_path / "out" / "best.yaml")
    own = found["first"] is None and found["first_value"] == found["own_value"]
    assert own and "the config's own score" in found["verdict"]
    assert config.score.startswith("click ** ") is found["told"] and "{" not in config.score
    gaps = [row["value"] - found["first_value"] for row in found["trials"]]
    assert [row["difference"] for row in found["trials"]] == pytest.approx(gaps)
    trials = ScoreTrials(space, ExampleSet.open(examples), trained)
    scored = trials.scored
    score = 2 * scored.outputs["click"].astype(float) + scored.outputs["like"]
    for task, area in trials.areas("2 * click + like").items():
        inside = scored.masks[task] > 0
        columns = scored.labels[task][inside], score[inside], scored.groups[inside]
        assert area == pytest.approx(naive_gauc(*columns))
    drawn = trials.drawn("2 * click + like")
    middle = np.nanmean(np.array(drawn["drawn"], float))
    value = trials.mean(trials.areas("2 * click + like"))
    assert middle == pytest.approx(value, abs=0.05) and drawn["groups"] > 0
    mean = trials.mean({"click": 0.7, "like": 0.5})
    assert mean == pytest.approx((3 * 0.7 + 0.5) / 4)


def naive_gauc(labels, scores, groups) -> float:
    """Pairs counted by hand, users weighted by their rows; users of one class left out."""
    total = rows = 0.0
    for group in set(groups.tolist()):
        ours = groups == group
        good, bad = scores[ours & (labels > 0.5)], scores[ours & (labels < 0.5)]
        if len(good) and len(bad):
            won = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
            total += ours.sum() * won / (len(good) * len(bad))
            rows += ours.sum()
    return total / rows
