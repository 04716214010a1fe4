"""What was measured, by hand, and gates: what passes, what is refused and why."""

import copy

from steadyrank.pipeline.gates import judge as module
from steadyrank.pipeline.gates.soundness import FINITE, LEARNED

NAN = float("nan")


LEARNT = {
    "kind": "binary",
    "rows": 100,
    "scarcer": 40,
    "groups": 50,
    "varies": True,
    "loss": 0.5,
    "constant_loss": 0.6,
    "gain": 0.1,
    "error": 0.01,
    "interval": [0.08, 0.12],
}


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


METRICS["finite"] = {
    "rows": {"test (2024-03-06)": 100},
    "nonfinite": {"test (2024-03-06)": {"click": 0, "score": 0}},
}


METRICS["learned"] = {"where": "validation (2024-03-05)", "tasks": {"click": LEARNT}}


METRICS["tasks"]["click"]["groups"] = 50


METRICS["tasks"]["click"]["gain"] = {"auc": {"error": 1e-6}}


MICRO = {"step": 7, "loss": 3.0, "median": 0.7, "recovered_at": 9}


def judge(found, gates):
    """The verdict, without what every sound model passes."""
    verdict = module.judge(found, gates)
    always = [gate for gate in verdict["gates"] if gate["gate"] in (FINITE, LEARNED)]
    assert [gate["verdict"] for gate in always] == ["PASS", "PASS"], always
    return {**verdict, "gates": [g for g in verdict["gates"] if g not in always]}


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


def slices(*judged, **limits):
    """One rule over a tab, and what was measured of its slices."""
    rule = {"by": ["tab"], "min_rows": 30, "auc": {"click": limits}}
    return metrics(slices=[{"judged": list(judged)}]), {"slices": [rule]}


def part(tab, **click):
    return {"slice": {"tab": tab}, "rows": 40, "tasks": {"click": {"rows": 40, **click}}}


def deciles(ratios, errors=0.01, **changes):
    found = {"ratio": ratios, "errors": [errors] * 10, "rows": [10] * 10}
    return metrics(tasks__click__deciles=found, **changes)


DECILES = {"calibration": {"click": {"deciles": {"max_error": 0.1}}}}


DRIFT = {"drift": {"max_psi": 0.1}}


STABLE_SCORES = {"click": {"psi": 0.1}, "like": {"psi": 0.0}}


SIZE = {"size": {"max_mb": 20}}


FAST = {"latency": {"signature": "encoded", "max_p50_ms": 5, "max_p99_ms": None}}


FAST_P99 = {"latency": {"signature": "encoded", "max_p50_ms": None, "max_p99_ms": 9}}


TIMED = {"signature": "encoded", "rows": 500, "requests": 400, "p50_ms": 5, "p99_ms": 9,
         "intervals": {"p50_ms": [4.9, 5.1], "p99_ms": None}}  # fmt: skip


SKEW = {"skew": {"max_difference": 1e-6}}


STABLE = {"divergence": {"max_micro": 1, "max_rollbacks": 1}}


PASSES = [
    (metrics(), auc(min=0.7)),
    (metrics(), auc(min=0.75)),
    (metrics(), auc(min=0.7, min_gain=0.005)),
    (
        metrics(tasks__click__auc=0.5, baseline__tasks__click__auc=0.25),
        auc(min_gain=0.2499),
    ),
    (metrics(tasks__click__auc=0.7), auc(min_gain=-0.0401)),
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
    (metrics(), {"auc": {"click": {}}}, "names no limit"),
    (metrics(), {"calibration": {"click": {}}}, "names no limit"),
    (metrics(), {"gauc": {"click": {"min": 0.1}}}, "not measured"),
    (
        metrics(tasks__click__log_loss=0.41),
        {"log_loss": {"click": {"max": 0.4}}},
        "0.4100 is above 0.4",
    ),
    (metrics(), {"log_loss": {"click": {"max": 0.4}}}, "not measured"),
    (deciles([1.0] * 9 + [1.3]), DECILES, "tenth 10 of the predictions"),
    (metrics(), DECILES, "not measured"),
    (*slices(part("a", auc=0.7), part("b", auc=0.6), min=0.65), "tab b: 0.6000 is below"),
    (*slices(part("a", auc=0.7), part("b", auc=NAN), min=0.65), "tab b: it was not"),
    (*slices(min=0.65), "no slice has 30 rows"),
    (metrics(), slices(min=0.1)[1], "no slice has 30 rows"),
    (
        metrics(drift={"click": {"psi": 0.11, "interval": [0.09, 0.13]}}),
        DRIFT,
        "0.1100 is above 0.1 (95 % interval 0.0900 to 0.1300; judged: the number itself)",
    ),
    (metrics(drift={"click": {"psi": 0.05}}), DRIFT, "the baseline has no task"),
    (metrics(drift=STABLE_SCORES, baseline=None), DRIFT, "no baseline was given"),
    (metrics(drift={"click": {"psi": NAN}}), DRIFT, "not measured"),
    (metrics(size_mb=20.1), SIZE, "20.1 MB, above 20"),
    (metrics(), SIZE, "not measured"),
    (metrics(latency={**TIMED, "p50_ms": 5.2}), FAST, "500 rows to encoded: p50 5.20 ms"),
    (metrics(latency={**TIMED, "p99_ms": 9.1}), FAST_P99, "p99 9.10 ms, above 9"),
    (metrics(latency={**TIMED, "p99_ms": NAN}), FAST_P99, "were not timed"),
    (metrics(), FAST, "requests to encoded were not timed"),
    (metrics(latency=None), FAST_P99, "requests to encoded were not timed"),
    (
        metrics(latency=TIMED),
        {"latency": {**FAST["latency"], "max_p50_ms": None}},
        "the gate names no limit",
    ),
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
    (metrics(baseline__tasks={}), auc(min_gain=0.0), "baseline has no task 'click'"),
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
