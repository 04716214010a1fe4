"""Gates: every branch, by hand; nothing passes for want of something to judge."""

import copy

import pytest

from pipeline.gate import judge

NAN = float("nan")
METRICS = {
    "tasks": {
        "click": {"rows": 100, "auc": 0.75, "calibration": 1.1},
        "like": {"rows": 40, "auc": 0.65, "calibration": 0.9},
    },
    "skew": {"rows": 10, "max_difference": 1e-7},
    "divergence": {
        "steps": 50,
        "nonfinite_steps": 0,
        "micro": [],
        "diverged": False,
        "diverged_at": None,
        "rollbacks": 1,
    },
    "baseline": {"tasks": {"click": {"rows": 100, "auc": 0.74}}},
}
MICRO = {"step": 7, "loss": 3.0, "median": 0.7, "recovered_at": 9}


def metrics(**changes):
    """A copy in which ``tasks__click__auc=0.5`` is other; ``...=None`` removes."""
    found = copy.deepcopy(METRICS)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = found
        for part in parents:
            node = node[part]
        node[last] = value
    return found


def auc(**limits):
    return {"auc": {"click": limits}}


def band(low, high):
    return {"calibration": {"click": {"min": low, "max": high}}}


SKEW = {"skew": {"max_difference": 1e-6}}
STABLE = {"divergence": {"max_micro": 1, "max_rollbacks": 1}}
PASSES = [
    (metrics(), auc(min=0.7)),
    (metrics(), auc(min=0.75)),
    (metrics(), auc(min=0.7, min_gain=0.005)),
    (metrics(tasks__click__auc=0.5, baseline__tasks__click__auc=0.25), auc(min_gain=0.25)),
    (metrics(tasks__click__auc=0.7), auc(min_gain=-0.05)),
    (metrics(), band(0.9, 1.2)),
    (metrics(), band(1.1, 1.2)),
    (metrics(), band(0.9, 1.1)),
    (metrics(), SKEW),
    (metrics(skew__max_difference=1e-6), SKEW),
    (metrics(skew__max_difference=0.0), SKEW),
    (metrics(), STABLE),
    (metrics(divergence__micro=[MICRO]), STABLE),
    (metrics(), {**auc(min=0.7), **band(0.9, 1.2), **SKEW, **STABLE}),
]
REFUSED = [
    (metrics(), {}, "the config names no gate"),
    (
        metrics(),
        {"auc": {}, "calibration": {}, "skew": None, "divergence": None},
        "no gate",
    ),
    (metrics(), auc(min=0.7501), "0.7500 is below 0.7501"),
    (metrics(tasks__click__auc=NAN), auc(min=0.0), "not measured, or is not defined"),
    (metrics(tasks__click__auc=None), auc(min=0.0), "not measured, or is not defined"),
    (metrics(tasks__click__auc=float("inf")), auc(min=0.0), "not measured"),
    (metrics(tasks__click__rows=0), auc(min=0.0), "not measured"),
    (metrics(tasks={}), auc(min=0.0), "not measured"),
    (metrics(), auc(min_gain=0.02), "0.0100 is below 0.02"),
    (metrics(baseline=None), auc(min_gain=0.0), "no baseline was given"),
    (metrics(baseline=None), auc(min=0.1, min_gain=0.0), "no baseline was given"),
    (metrics(baseline__tasks={}), auc(min_gain=0.0), "not measured"),
    (metrics(baseline__tasks__click__auc=NAN), auc(min_gain=-1.0), "not measured"),
    (metrics(), band(1.2, 1.5), "1.1000, outside of 1.2 to 1.5"),
    (metrics(), band(0.5, 1.0), "1.1000, outside of 0.5 to 1"),
    (metrics(tasks__click__calibration=NAN), band(0.1, 9), "not measured"),
    (metrics(tasks__click__calibration=None), band(0.1, 9), "not measured"),
    (metrics(tasks__click__rows=0), band(0.1, 9), "not measured"),
    (metrics(skew__max_difference=1.01e-6), SKEW, "differ by at most 1e-06"),
    (metrics(skew__max_difference=NAN), SKEW, "gave no number"),
    (metrics(skew__max_difference=None), SKEW, "gave no number"),
    (metrics(skew__rows=0), SKEW, "no raw rows were scored"),
    (metrics(skew=None), SKEW, "no raw rows were scored"),
    (metrics(divergence=None), STABLE, "training log is empty"),
    (metrics(divergence__steps=0), STABLE, "training log is empty"),
    (metrics(divergence__micro=[MICRO] * 2), STABLE, "2 micro-divergences"),
    (metrics(divergence__nonfinite_steps=1), STABLE, "1 of 50 steps"),
    (metrics(divergence__rollbacks=2), STABLE, "healthy checkpoint 2 times"),
    (
        metrics(divergence__diverged=True, divergence__diverged_at=31),
        STABLE,
        "diverged at step 31",
    ),
]


@pytest.mark.parametrize(("found", "gates"), PASSES)
def test_what_passes(found, gates):
    verdict = judge(found, gates)
    assert verdict["verdict"] == "PASS"
    assert verdict["gates"]
    assert all(gate["passed"] is True for gate in verdict["gates"])


@pytest.mark.parametrize(("found", "gates", "reason"), REFUSED)
def test_what_is_refused_and_why(found, gates, reason):
    verdict = judge(found, gates)
    assert verdict["verdict"] == "REFUSE"
    failed = [gate for gate in verdict["gates"] if not gate["passed"]]
    assert any(reason in gate["reason"] for gate in failed)


def test_one_refusal_is_enough():
    gates = {"auc": {"click": {"min": 0.7}, "like": {"min": 0.7}}, **SKEW}
    verdict = judge(metrics(), gates)
    assert verdict["verdict"] == "REFUSE"
    assert [gate["passed"] for gate in verdict["gates"]] == [True, False, True]


def test_a_verdict_says_what_was_measured_and_the_limit():
    (gate,) = judge(metrics(), auc(min=0.7))["gates"]
    assert gate == {
        "gate": "auc",
        "task": "click",
        "rule": "min 0.7",
        "measured": 0.75,
        "limit": 0.7,
        "passed": True,
        "reason": "0.7500 is at least 0.7",
    }
