"""A sweep runs its trials: crowned, crashed, diverged, interrupted, at one time alone."""

import json
import math
import os
import shutil

import numpy as np
import pytest
import yaml

from steadyrank.components.metrics.bootstrap import quantile
from steadyrank.pipeline.config import load_config, parse_config
from steadyrank.pipeline.config.sweep import Objective
from steadyrank.pipeline.files.errors import DivergenceError, InputError, PassingError
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.studies.sweep import sweep
from steadyrank.pipeline.studies.sweep.trial import (
    Outcome,
    objective_value,
    validated,
    weights_of,
)
from tests.helpers import tiny
from tests.helpers.sweeps import (
    DIM,
    RATE,
    UNITS,
    Fake,
    make_space,
    score_of,
    space_of,
    told,
)


# KerasTuner 1.4.8 asks threads for their names in a way of old
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
