"""Figures of watch times by hand, and that choices differ in one task alone."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.objectives_figures import (
    calibration_by,
    watched,
    watched_by_seed,
    xauc,
)
from benchmarks.objectives_kuairand import (
    TASKS,
    WATCH,
    everything,
    named,
    variant,
)
from steadyrank.pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[2]


def test_xauc_is_the_share_of_pairs_in_order():
    random = np.random.default_rng(3)
    time = random.integers(0, 6, 80).astype(float)
    foretold = random.integers(0, 9, 80).astype(float)
    won = pairs = 0.0
    for i in range(80):
        for j in range(80):
            if time[i] > time[j]:
                pairs += 1
                won += (foretold[i] > foretold[j]) + (foretold[i] == foretold[j]) / 2
    assert xauc(foretold, time) == pytest.approx(won / pairs)


def test_tenths_that_hold_no_time_are_left_out():
    time = np.concatenate([np.zeros(10), np.full(90, 2.0)])
    foretold = np.concatenate([np.full(10, 0.1), np.linspace(1, 4, 90)])
    ratios, noise = calibration_by(foretold, foretold, time)
    assert len(ratios) == 9
    assert ratios[0] == pytest.approx(foretold[10:20].mean() / 2)
    assert noise[0] < 0.2 < ratios[-1] - 1


def test_the_worst_tenth_and_whether_all_hold_with_the_level_and_without():
    duration = np.ones(100)
    time = np.full(100, 10.0) + np.arange(100) % 2
    runs = [watched(np.linspace(0.999, 1.001, 100) * f * time, time, duration) for f in
            (1.0, 1.2, 1.3)]  # fmt: skip
    found = watched_by_seed(runs)
    assert found["hold"] == [1, 3]
    assert found["worst"][0] == pytest.approx(3.5 / 3, abs=2e-3)
    assert found["worst_shape"][0] == pytest.approx(1.0, abs=2e-3)
    runs[0]["deciles"] = runs[0]["deciles"][1:]  # the lowest held too little
    assert len(watched_by_seed(runs)["deciles"]) == 10
    assert watched_by_seed(runs)["deciles"][0] == pytest.approx(1.25, abs=2e-3)


def test_choices_differ_in_one_task():
    config = load_config(ROOT / "configs" / "kuairand.yaml")
    whole = everything(config)
    assert {t.name for t in whole.tasks} - {t.name for t in config.tasks} == {
        *TASKS.values()
    }
    for task in WATCH.values():
        found = variant(config, 7, task)
        assert found.tasks[:-1] == config.tasks and found.tasks[-1].name == named(task)
        assert found.train.seed == 7 and found.features == config.features
    ranked = variant(config, 7, ranking="jrc", ranking_weight=0.3)
    assert ranked.tasks[1:] == config.tasks[1:]
    assert (ranked.tasks[0].ranking, ranked.tasks[0].ranking_weight) == ("jrc", 0.3)
