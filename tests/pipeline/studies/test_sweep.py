"""Sweeps: the space, trials that fail in every way, resume, workers, and a real one."""

import json
import math
import os
import shutil
import threading
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import yaml

from steadyrank.components.metrics.bootstrap import quantile
from steadyrank.pipeline import cli
from steadyrank.pipeline.config import load_config, parse_config, read_document
from steadyrank.pipeline.config.sections import Split
from steadyrank.pipeline.config.sweep import Objective, Sweep
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import DivergenceError, InputError, PassingError
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.publish import write_json
from steadyrank.pipeline.kinds import train
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.studies.sweep import chief, read_sweep, sweep, trial
from steadyrank.pipeline.studies.sweep.oracles import make_oracle
from steadyrank.pipeline.studies.sweep.score import ScoreTrials
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.studies.sweep.trial import (
    Outcome,
    objective_value,
    validated,
    weights_of,
)
from steadyrank.pipeline.studies.sweep.tuner import SweepTuner
from steadyrank.pipeline.train.log import read_lines
from tests.helpers import tiny

# KerasTuner 1.4.8 asks threads for their names in a way of old
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]
RATE = {"key": "train.dense.learning_rate", "low": 0.1, "high": 10.0, "scale": "log"}
DIM = {"key": "model.embedding_dim", "values": [2, 4, 8]}
UNITS = {"key": "model.expert_units", "values": [[8], [16, 8], [4]]}
CLIP = {"key": "train.dense.clip", "values": ["clippy", "norm", "none"]}
THRESHOLD = {
    "key": "train.dense.threshold",
    "low": 0.01,
    "high": 1.0,
    "scale": "log",
    "when": {"key": "train.dense.clip", "values": ["norm"]},
}


def space_of(path: Path, sweep_path: Path | None, overrides=()) -> Space:
    """Of a config's file, and a sweep's."""
    return read_sweep(read_document(path, overrides), sweep_path, path.parent, str(path))


def make_space(*parameters, **settings) -> Space:
    section = {"space": list(parameters or (RATE, DIM)), "trials": 6, **settings}
    return Space(tiny.config_document(), Sweep.model_validate(section))


class Fake:
    """A trial function: counts its calls, and fails as it is told."""

    def __init__(self, **fails):
        self.calls, self.fails = [], fails

    def __call__(self, folder, values, epochs, source, beat):
        beat()
        self.calls.append((folder.name[-1], dict(values), epochs))
        fail = self.fails.get(f"trial_{folder.name[-1]}")
        if isinstance(fail, BaseException):
            raise fail
        if fail:
            return Outcome(fail, message="<script>")
        return told(score_of(values))


LUCK = np.random.default_rng(1).normal(size=200) / 50


def told(value, own=0.0, groups=50, rows="rows") -> Outcome:
    """A trial whose objective scatters with those of all others, and a bit by itself."""
    drawn = value + LUCK + own * np.random.default_rng(int(1e6 * value)).normal(size=200)
    return Outcome("completed", value, "", {}, 0.1, drawn.tolist(), rows, groups)


def score_of(values) -> float:
    """Best at a rate of 1."""
    return 0.8 - 0.1 * abs(math.log10(values.get("train.dense.learning_rate", 1.0)))


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


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ({"key": "train.epoch", "values": [1]}, "train.epoch: unknown key. Did you mean"),
        ({"key": "train.epoch", "values": [1]}, "'epochs'"),
        ({"key": "features.usr.dim", "values": [4]}, "no 'usr'. Did you mean 'user'"),
        ({"key": "train.epochs", "values": [1, "many"]}, 'train.epochs = "many"'),
        ({"key": "train.epochs", "low": 0, "high": 3}, "train.epochs = 0"),
        ({"key": "train.epochs", "low": 1.5, "high": 2.0}, "train.epochs = 1.5"),
        ({"key": "train.epochs", "low": 3, "high": 3}, "the range is empty"),
        ({"key": "train.epochs", "low": 3}, "give values, or low and high"),
        ({"key": "train.epochs", "values": []}, "must have 1 or more entries"),
        ({"key": "train.epochs", "values": [1, 1]}, "values must differ"),
        ({"key": "train.epochs", "values": [1], "low": 1}, "give values, or"),
        ({**RATE, "low": 0.0}, "low above 0"),
        ({**RATE, "scael": "log"}, "scael: unknown key. Did you mean 'scale'"),
        ({**RATE, "when": {"key": "x", "values": [1]}}, "must name a parameter"),
        ({**CLIP, "values": ["norm"]}, "needs threshold"),
        ({"key": "features.age.buckets", "values": [4, 8]}, "features.age.buckets: prep"),
        ({"key": "tasks.click.negative_rate", "low": 0.1, "high": 1.0}, "rate: prep"),
        ({"key": "data.max_rejected", "values": [0.1, 0.2]}, "data.max_rejected: prep"),
    ],
)
def test_a_wrong_space_is_refused_with_its_key(written, parameter, said):
    with pytest.raises(InputError) as refused:
        space_of(*written(parameter))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": "hyperband"}, "max_epochs belongs to"),
        ({"max_epochs": 3}, "max_epochs belongs to"),
        ({"objective": {"metric": "rmse"}}, ""),
        ({"objective": {"tasks": {"watch": 1}}}, "auc is of binary tasks: click, like"),
        ({"objective": {"metric": "mae", "tasks": {"clik": 1}}}, "regression tasks: watch"),
        ({"score": "click ** {b}"}, "names in braces"),
    ],
)
def test_a_sweep_fits_its_config(written, settings, said):
    files = written(RATE, **settings)
    if not said:
        assert space_of(*files).sweep.objective.direction == "min"
        return
    with pytest.raises(InputError, match=said):
        space_of(*files)


def test_hyperband_wants_rates_that_do_not_end_with_a_rung(written):
    files = written(RATE, method="hyperband", max_epochs=4)
    with pytest.raises(InputError, match="Set train.decay to none"):
        space_of(*files, ["train.decay=linear"])


def test_values_reach_the_config_and_come_back():
    space = make_space(UNITS, CLIP, THRESHOLD)
    values = {
        "model.expert_units": [16, 8],
        "train.dense.clip": "norm",
        "train.dense.threshold": 0.25,
    }
    assert space.decode(space.encode(values)) == values
    config = space.checked(values)
    assert config.model.expert_units == [16, 8]
    assert config.train.dense.threshold == 0.25
    # the condition does not hold: what was drawn is left out
    assert space.decode(space.encode(values | {"train.dense.clip": "none"})) == {
        "model.expert_units": [16, 8],
        "train.dense.clip": "none",
    }


@pytest.mark.parametrize("choices", [[10, 1], [10.0, 1.0], ["1e1", "1e0"]])
def test_the_configs_own_value_is_a_choice_however_it_is_written(choices, tmp_path):
    """A choice goes by its JSON text, of which 1, 1.0 and "1e0" have three."""
    key, other = "train.embedding.r", "train.embedding.zeta"
    when = {"key": key, "values": [10]}
    if isinstance(choices[0], str):
        when = {"key": key, "values": ["1e1"]}
    depends = {"key": other, "low": 1e-6, "high": 1e-4, "when": when}
    space = make_space({"key": key, "values": choices}, depends, trials=9, seed=2)
    own = space.own()
    assert own == {key: choices[1]}
    oracle = make_oracle(space.sweep, space.hyperparameters(), space.encode(own))
    oracle._set_project_dir(str(tmp_path), "trials")
    drawn = [oracle.create_trial(f"{n}").hyperparameters.values for n in range(9)]
    assert space.decode(drawn[0]) == own
    assert any(other in space.decode(values) for values in drawn)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_bayesian_sweep_knows_its_first_trial(tmp_path):
    choices = {"key": "train.embedding.r", "values": [10, 1]}
    space = make_space(choices, RATE, method="bayesian", trials=4)
    found = sweep(space, None, tmp_path / "out", run=Fake())
    assert len(found["trials"]) == 4 and found["own_value"] is not None


def test_every_draw_is_a_config_and_conditions_hold(tmp_path):
    space, fake = make_space(UNITS, CLIP, THRESHOLD, trials=25), Fake()
    sweep(space, None, tmp_path / "out", run=fake)
    for _, values, _ in fake.calls:
        assert ("train.dense.threshold" in values) == (values["train.dense.clip"] == "norm")
        space.checked(values)
    assert {v["train.dense.clip"] for _, v, _ in fake.calls} == set(CLIP["values"])


def test_the_objective_is_a_weighted_mean_over_tasks():
    metrics = {
        "click": {"kind": "binary", "auc": 0.7, "log_loss": 0.2},
        "like": {"kind": "binary", "auc": 0.9, "log_loss": None},
        "watch": {"kind": "regression", "rmse": 3.0},
    }
    mean = Objective.model_validate({"tasks": {"click": 3, "like": 1}})
    assert objective_value(metrics, mean) == pytest.approx(0.75)
    assert objective_value(metrics, Objective()) == pytest.approx(0.8)
    assert objective_value(metrics, Objective(metric="rmse")) == 3.0
    assert math.isnan(objective_value(metrics, Objective(metric="log_loss")))
    with pytest.raises(InputError, match="none here"):
        weights_of(Objective(metric="mae"), {"click": "binary"})


def test_a_trial_is_measured_at_the_epoch_that_was_kept(tmp_path):
    areas = [0.6, 0.8, 0.7]
    lines = [
        {"step": i, "epoch": i, "validation": {"click": {"kind": "binary", "auc": area}}}
        for i, area in enumerate(areas)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    monitored = parse_config(tiny.config_document(train__monitor="click"), "c")
    assert validated(tmp_path, monitored)["click"]["auc"] == 0.8


def test_the_best_finds_what_stands_beside_the_sweeps_config(tmp_path):
    """Files that are held out, too, though ``run`` looks elsewhere by then."""
    tiny.write_log(tmp_path, tiny.make_rows(60))
    shutil.copy(tmp_path / "log.parquet", tmp_path / "held.parquet")
    split = {"validation": 0.5, "test": 0.5, "files": ["held.parquet"]}
    changes = {"data__split": split, "data__input": ["*l*.parquet"], "data__time": None}
    path, section = tmp_path / "c.yaml", {"space": [DIM]}
    document = tiny.config_document(**changes, sweep=section)
    path.write_text(yaml.safe_dump(document))
    best = space_of(path, None).checked({"model.embedding_dim": 8})
    assert make_plan(best, tmp_path / "elsewhere").held_out == {f"{tmp_path}/held.parquet"}


def test_the_best_is_written_as_a_config_that_run_takes(tmp_path):
    fake = Fake(trial_2="diverged", trial_3="refused")
    found = sweep(make_space(), None, tmp_path / "out", run=fake)
    assert found["counts"] == {"completed": 4, "diverged": 1, "refused": 1}
    first = fake.calls[0][1]  # the config's own settings
    assert first == {"train.dense.learning_rate": 0.2, "model.embedding_dim": 4}
    assert found["own"] == "0" and found["own_value"] == pytest.approx(score_of(first))
    best = max((score_of(v), v) for n, v, _ in fake.calls if n not in "23")
    assert found["best_value"] == pytest.approx(best[0])
    config = load_config(tmp_path / "out" / "best.yaml")
    assert config.train.dense.learning_rate == best[1]["train.dense.learning_rate"]
    expected = make_space().checked(best[1])
    assert config == expected and config.sweep is None


def noisy(own, rows=None, groups=50):
    """A trial function of trials that scatter each by itself, too."""

    def run(folder, values, epochs, source, beat):
        return told(score_of(values), own, groups, rows or folder.name)

    return run


@pytest.mark.parametrize(
    ("run", "crowned"),
    [
        (noisy(0.001, "rows"), True),
        (noisy(0.3, "rows"), False),  # not told
        (noisy(0.001), False),  # each drawn from other rows
        (noisy(0.001, "rows", groups=5), False),
        (lambda *_, **__: Outcome("completed", score_of(_[1])), False),  # nothing was drawn
    ],
)
def test_no_trial_is_crowned_that_is_not_told_from_the_first(tmp_path, run, crowned):
    found = sweep(make_space(), None, tmp_path / "out", run=run)
    first, *others = found["trials"]
    assert found["first"] == found["own"] == first["trial"] and "difference" not in first
    assert found["highest"] == max(others, key=lambda row: row["value"])["trial"]
    assert found["told"] is crowned
    assert found["best"] == (found["highest"] if crowned else "0")
    text = (tmp_path / "out" / "best.yaml").read_text()
    assert found["verdict"] in text and found["verdict"].startswith(
        f"trial {found['highest']} is told"
        if crowned
        else "No trial is told from the first"
    )
    best = next(row for row in found["trials"] if row["trial"] == found["best"])
    config = load_config(tmp_path / "out" / "best.yaml")
    assert config == make_space().checked(best["values"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert ("best</td>" in page) is crowned and ("best.yaml keeps" in page) is not crowned


def test_intervals_of_trials_are_paired_and_hold_all_together(tmp_path):
    found = sweep(make_space(), None, tmp_path / "out", run=noisy(0.01, "rows"))
    first, *others = found["trials"]
    far = quantile(1 - 0.025 / 5, 50)  # of five trials, by Bonferroni
    drawn = {
        row["trial"]: np.array(
            json.loads(
                (tmp_path / "out" / "trials" / f"trial_{row['trial']}" / "outcome.json")
                .read_text()
            )["drawn"]
        )
        for row in found["trials"]
    }  # fmt: skip
    for row in others:
        error = np.std(drawn[row["trial"]] - drawn["0"], ddof=1)
        gap = row["value"] - first["value"]
        assert row["difference"] == pytest.approx(gap)
        assert row["over_first"] == pytest.approx([gap - far * error, gap + far * error])
        low, high = row["interval"]
        own = quantile(0.975, 50) * np.std(drawn[row["trial"]], ddof=1)
        assert (high - low) / 2 == pytest.approx(own)
        assert "drawn" not in row


def reversed_score(folder, values, *_, **__):
    return told(1 - score_of(values))


def test_where_less_is_better_a_lower_trial_is_told(tmp_path):
    space = make_space(objective={"metric": "rmse"})
    found = sweep(space, None, tmp_path / "out", run=reversed_score)
    assert found["told"] and found["best"] == found["highest"]
    assert found["best_value"] < found["first_value"]


def test_the_report_shows_every_trial_and_escapes(tmp_path):
    space = make_space(UNITS, RATE)
    sweep(space, None, tmp_path / "out", run=Fake(trial_1="diverged"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;script&gt;" in page and "<td><script>" not in page
    figures = page.split('<script type="application/json">')[1:]
    figures = [json.loads(f.partition("</script>")[0]) for f in figures]
    axes = figures[0]["layout"]["xaxis"]["ticktext"]
    assert [name.replace("<br>", "") for name in axes] == [
        UNITS["key"],
        RATE["key"],
        "objective",
    ]
    lines = figures[0]["data"]
    assert len(lines) == 5 and all(len(line["y"]) == 3 for line in lines)
    assert max(line["y"][2] for line in lines) == lines[-1]["y"][2] == 1.0  # the best
    assert "[16, 8]" in {mark["text"] for mark in figures[0]["layout"]["annotations"]}
    assert sum(len(t["x"]) for t in figures[2]["data"]) == 5


def test_a_crash_is_tried_again_once_and_a_divergence_is_not(tmp_path):
    fake = Fake(trial_1="crashed", trial_2="diverged")
    found = sweep(make_space(), None, tmp_path / "out", run=fake)
    counts = {n: [c[0] for c in fake.calls].count(n) for n in "012345"}
    assert counts == {"0": 1, "1": 2, "2": 1, "3": 1, "4": 1, "5": 1}
    assert found["counts"]["crashed"] == 1


def test_a_trial_that_has_to_wait_ends_the_sweep_and_is_no_crash(tmp_path):
    whole = sweep(make_space(), None, tmp_path / "whole", run=Fake())
    fake = Fake(trial_2=PassingError("trial 2: it is in use by process 7"))
    with pytest.raises(PassingError, match="in use by process 7"):
        sweep(make_space(), None, tmp_path / "out", run=fake)
    found = sweep(make_space(), None, tmp_path / "out", run=Fake(), resume=True)
    assert found["counts"] == whole["counts"] == {"completed": 6}
    assert found["best_value"] == whole["best_value"]


def test_where_all_diverge_the_command_says_so(tmp_path):
    fake = Fake(**{f"trial_{n}": "diverged" for n in range(6)})
    with pytest.raises(DivergenceError, match="6 diverged"):
        sweep(make_space(), None, tmp_path / "out", run=fake)
    assert (tmp_path / "out" / "report.html").exists()
    assert not (tmp_path / "out" / "best.yaml").exists()


@pytest.mark.parametrize("fault", [InputError("train.epochs: no"), TypeError("a fault")])
def test_a_config_error_or_a_fault_of_ours_stops_the_sweep(tmp_path, fault):
    fake = Fake(trial_2=fault)
    with pytest.raises(InputError, match=str(fault)):
        sweep(make_space(), None, tmp_path / "out", run=fake)
    assert len(fake.calls) == 3


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path):
    whole = Fake()
    expected = sweep(make_space(), None, tmp_path / "whole", run=whole)
    interrupted = Fake(trial_3=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        sweep(make_space(), None, tmp_path / "out", run=interrupted)
    with pytest.raises(InputError, match="--resume"):
        sweep(make_space(), None, tmp_path / "out", run=whole)
    with pytest.raises(InputError, match="another config or sweep"):
        sweep(make_space(DIM), None, tmp_path / "out", run=whole, resume=True)
    rest = Fake()
    found = sweep(make_space(), None, tmp_path / "out", run=rest, resume=True)
    assert [name for name, *_ in rest.calls] == ["3", "4", "5"]
    assert found["trials"][3]["values"] == interrupted.calls[3][1]
    keys = ("trial", "value", "values")
    assert [[t[k] for k in keys] for t in found["trials"]] == [
        [t[k] for k in keys] for t in expected["trials"]
    ]
    with pytest.raises(InputError, match="no sweep to go on with"):
        sweep(make_space(), None, tmp_path / "other", run=rest, resume=True)


def test_one_sweep_at_a_time(tmp_path):
    sweep(make_space(), None, tmp_path / "out", run=Fake())
    before = (tmp_path / "out" / "results.json").read_bytes()
    with alone(tmp_path / "out"):
        for how in ({"overwrite": True}, {"resume": True}):
            with pytest.raises(PassingError, match="/out is in use by process .* wait"):
                sweep(make_space(), None, tmp_path / "out", run=Fake(), **how)
    assert (tmp_path / "out" / "results.json").read_bytes() == before
    assert not (tmp_path / "out" / "fatal.json").exists()
    sweep(make_space(), None, tmp_path / "out", run=Fake(), overwrite=True)


def test_hyperband_goes_on_with_the_best_and_drops_what_diverged(tmp_path):
    fake = Fake(trial_1="diverged", trial_2="diverged")
    space = make_space(method="hyperband", max_epochs=4, factor=2)
    found = sweep(space, None, tmp_path / "out", run=fake)
    by_name = {row["trial"]: row for row in found["trials"]}
    rungs = [row for row in found["trials"] if row["from"]]
    assert rungs and max(row["epochs"] for row in rungs) == 4
    for row in rungs:
        before = by_name[row["from"]]
        assert row["values"] == before["values"] and row["epochs"] > before["epochs"]
    config = load_config(tmp_path / "out" / "best.yaml")
    assert config.train.epochs == by_name[found["best"]]["epochs"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bayesian_optimization_learns_from_trials_that_failed(tmp_path):
    fake = Fake(trial_1="diverged")
    space = make_space(RATE, method="bayesian", trials=4)
    found = sweep(space, None, tmp_path / "out", run=fake)
    assert found["counts"] == {"completed": 3, "diverged": 1}
    oracle = make_oracle(space.sweep, space.hyperparameters(), None)
    oracle._set_project_dir(str(tmp_path / "out"), "trials")
    oracle.reload()
    with oracle._failed_as_worst():
        x, y = oracle._vectorize_trials()
    scores = [row["value"] for row in found["trials"] if row["value"]]
    worst = min(scores) - (max(scores) - min(scores))
    assert x.shape == (4, 1)
    assert y.max() == pytest.approx(-worst)  # it minimises
    assert [t.status for t in oracle.trials.values()].count("FAILED") == 1


def resident_mb() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_stays_flat_over_fifty_trials(tmp_path):
    seen = []

    def run(folder, values, epochs, source, beat):
        seen.append(resident_mb())
        return Outcome("completed", score_of(values))

    sweep(make_space(RATE, trials=50), None, tmp_path / "out", run=run)
    assert len(seen) == 50
    assert seen[-1] - seen[9] < 20


def with_workers(space, output, runs, monkeypatch, lease=1.0, died=None):
    """A chief here, and a worker in a thread for each of the functions."""
    monkeypatch.setattr(chief, "LEAVE_SECONDS", 3.0)
    monkeypatch.setenv(chief.ADDRESS, "127.0.0.1")
    monkeypatch.setenv(chief.PORT, str(chief.free_port()))
    monkeypatch.setenv(chief.TUNER_ID, "worker")
    first = space.encode(space.own())
    oracle = make_oracle(space.sweep, space.hyperparameters(), first)
    oracle._set_project_dir(str(output), "trials")

    def work(number, run):
        tuner = SweepTuner(
            make_oracle(space.sweep, space.hyperparameters(), first), space, run, output
        )
        tuner.tuner_id = f"worker-{number}"
        try:
            tuner.search()
        except SystemExit:
            died.append(tuner.tuner_id)

    threads = [
        threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(runs)
    ]
    for thread in threads:
        thread.start()
    chief.serve(oracle, output, lease=lease)
    for thread in threads:
        thread.join(5)
    return oracle


def slow(fake):
    def run(*arguments, beat):
        time.sleep(0.05)
        return fake(*arguments, beat)

    return run


def test_a_chief_and_two_workers_share_the_trials(tmp_path, monkeypatch):
    fakes = [Fake(), Fake(trial_3="diverged")]
    oracle = with_workers(make_space(), tmp_path, [slow(f) for f in fakes], monkeypatch)
    names = sorted(name for fake in fakes for name, *_ in fake.calls)
    assert names == list("012345")
    assert all(fake.calls for fake in fakes)
    assert len(oracle.trials) == len(oracle.end_order) == 6
    assert not oracle.ongoing_trials


def test_the_trial_of_a_dead_worker_is_run_by_another(tmp_path, monkeypatch):
    died, fake = [], Fake()

    def dies(folder, values, epochs, source, beat):
        died.append(folder.name[-1])
        raise SystemExit(9)

    oracle = with_workers(
        make_space(), tmp_path, [dies, slow(fake)], monkeypatch, 0.6, died
    )
    lost, _ = died
    assert lost in [name for name, *_ in fake.calls]
    assert sorted(name for name, *_ in fake.calls) == list("012345")
    assert {trial.status for trial in oracle.trials.values()} == {"COMPLETED"}


def test_a_trial_that_kills_every_worker_fails_in_the_end(tmp_path):
    space = make_space()
    oracle = make_oracle(space.sweep, space.hyperparameters(), None)
    oracle._set_project_dir(str(tmp_path), "trials")
    for _ in range(2):
        assert oracle.create_trial("a").trial_id == "0"
        assert oracle.give_up("a") == "0"
    assert oracle.create_trial("a").trial_id == "1"
    assert oracle.trials["0"].status == "FAILED"
    assert oracle.give_up("b") is None  # it had none
    late = oracle.trials["0"]
    late.status = "COMPLETED"
    oracle.end_trial(late)  # a late report of a worker that was given up
    assert oracle.end_order.count("0") == 1


def test_a_dead_process_is_replaced_and_leaves_no_training_behind(tmp_path):
    script = "sleep 60 & echo $! > child; exit 9"
    worker = chief.Worker(
        "w", ["sh", "-c", f"cd {tmp_path}; {script}"], {}, tmp_path / "log"
    )

    class Oracle:
        gone = []

        def give_up(self, name):
            self.gone.append(name)

    worker.process.wait(10)
    child = int((tmp_path / "child").read_text())
    chief._revive(worker, Oracle())
    assert Oracle.gone == ["w"] and worker.starts == 2
    for _ in range(100):
        if not os.path.exists(f"/proc/{child}") or zombie(child):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the child of the dead worker lives")
    for _ in range(chief.RESTARTS):
        worker.process.wait(10)
        chief._revive(worker, Oracle())
    worker.process.wait(10)
    with pytest.raises(InputError, match="all workers died"):
        chief._stop_if_all_died([worker])
    worker.end()


def zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_the_message_of_a_fatal_trial_reaches_the_chief(tmp_path, monkeypatch):
    fake = Fake(trial_0=InputError("train.epochs: no"), trial_1=InputError("again"))
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    with pytest.raises(InputError, match="train.epochs: no|again"):
        with_workers(make_space(), tmp_path, [fake], monkeypatch)


def test_half_of_the_variables_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(chief.ADDRESS, "127.0.0.1")
    with pytest.raises(InputError, match="KERASTUNER_ORACLE_PORT and KERASTUNER_TUNER_ID"):
        sweep(make_space(), None, tmp_path, run=Fake())


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
    with pytest.raises(InputError, match="pass --train"):
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


SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_sweeps_fit_the_shipped_configs(path):
    config = path.parents[1] / "kuairand.yaml"
    space = space_of(config, path, ["train.decay=none", "train.base_batch_size=1024"])
    space.hyperparameters()
    assert space.sweep.space
