"""Gate weights: means by hand, what counts as collapse, and that training logs them."""

import json

import numpy as np
import pytest
import tensorflow as tf

from steadyrank.models.build import build_model
from steadyrank.pipeline.metrics.collapsed_experts import collapsed
from steadyrank.pipeline.metrics.expert_use import ExpertUse
from steadyrank.pipeline.report import write_report
from tests.helpers.ranker import BOTTOM, FEATURES, PLE, TASKS, batch_of
from tests.helpers.report_page import HOSTILE, page_of, recorded


def test_means_are_over_all_rows_whatever_the_batches():
    model = build_model(FEATURES, TASKS, "click", PLE, seed=3)
    batches = [batch_of(rows, seed) for seed, rows in enumerate([7, 1, 20])]
    use = ExpertUse(model).measure(batches)
    assert len(use) == 2 * 3 + 1  # two levels of three tasks, and one shared gate
    for level in (0, 1):
        cgc = model.trunk.levels[level]
        for task in ("click", "like", "watch"):
            assert list(use[f"level_{level}/{task}"]) == [f"{task} 0", "shared 0"]
    x = np.concatenate([model.inputs_layer(features).numpy() for features, *_ in batches])
    cgc = model.trunk.levels[0]
    logits = x @ cgc._gates["task_like"].kernel.numpy()
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = list(use["level_0/like"].values())
    np.testing.assert_allclose(found, weights.mean(axis=0), rtol=1e-4)
    assert sum(use["level_0/(shared)"].values()) == pytest.approx(1)


def test_a_trunk_without_gates_has_no_experts():
    model = build_model(FEATURES, TASKS, "click", BOTTOM, seed=3)
    assert ExpertUse(model).measure([batch_of(5)]) == {}
    assert collapsed({}) == []


def test_what_collapses_is_named():
    use = {
        "level_0/click": {"click 0": 0.4, "shared 0": 0.595, "shared 1": 0.005},
        "level_0/like": {"like 0": 0.995, "shared 0": 0.005, "shared 1": 0.0},
        "level_1/click": {"click 0": 1.0},
        "level_1/like": {"like 0": 0.5, "shared 1": 0.5},
    }
    assert collapsed(use) == [
        "gate level_0/like gives 99.5% to expert 'like 0' alone",
        "no gate of level_0 gives expert 'shared 1' more than 0.5%",
    ]


def test_training_logs_them_after_every_epoch(trained):
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    found = [line for line in lines if "validation" in line]
    assert found and all(set(line["experts"]) == GATES for line in found)
    for weights in found[-1]["experts"].values():
        assert sum(weights.values()) == pytest.approx(1)
    steps = [line for line in lines if "task_weights" in line]
    assert steps[-1]["task_weights"] == pytest.approx({"click": 1, "like": 1, "watch": 0.1})


GATES = {f"level_0/{task}" for task in ("click", "like", "watch")}


def test_the_report_shows_and_warns(tmp_path):
    log = recorded()["log"]
    use = {"level_0/click": {"click 0": 0.25, "shared 0": 0.75}}
    dead = {"level_0/click": {"click 0": 0.004, "shared 0": 0.996}}
    lines = [{"epoch": i, "step": 9, "experts": each} for i, each in enumerate([use, dead])]
    page = page_of(tmp_path / "report.html", log=log + lines)
    assert "level_0/click click 0 0.2500 0.0040" in page.seen
    assert "Warning: no gate of level_0 gives expert 'click 0' more than 0.4%." in page.seen
    assert "Expert use" in page.seen
    assert "Expert use" not in page_of(tmp_path / "plain.html", log=log).seen
    hostile = {f"level_0/{HOSTILE}": {HOSTILE: 1.0, "shared 0": 0.0}}
    path = tmp_path / "hostile.html"
    write_report(path, **{**recorded(), "log": [*log, {"epoch": 0, "experts": hostile}]})
    assert HOSTILE not in path.read_text(encoding="utf-8")


def test_what_the_graph_gives_is_what_the_model_gives():
    model = build_model(FEATURES, TASKS, "click", {**PLE, "levels": 1}, seed=3)
    features, _, _ = batch_of(9)
    labels, weights = model.gate_weights(features)["level_0/click"]
    found = ExpertUse(model).measure([(features,)])["level_0/click"]
    np.testing.assert_allclose(
        [found[label] for label in labels], tf.reduce_mean(weights, 0), rtol=1e-5
    )


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_said_not_raised(nothing):
    use = {"level_0/click": {"a": nothing, "b": 0.5}, "level_0/like": {"a": 0.5, "b": 0.5}}
    assert collapsed(use) == ["gate level_0/click gives weights that are no numbers"]
