"""Gates: every branch, by hand; nothing passes for want of something to judge."""

import pytest

from steadyrank.pipeline.config.gates import Gates
from steadyrank.pipeline.gates import soundness
from steadyrank.pipeline.gates.rules import worst
from steadyrank.pipeline.metrics.uncertainty import bounded
from tests.helpers.judged import (
    DECILES,
    DRIFT,
    FAST,
    FAST_P99,
    NAN,
    PASSES,
    REFUSED,
    SIZE,
    SKEW,
    STABLE,
    STABLE_SCORES,
    TIMED,
    auc,
    deciles,
    judge,
    metrics,
    part,
    slices,
)

PASSES += [
    (metrics(tasks__click__gauc=0.6), {"gauc": {"click": {"min": 0.6}}}),
    (metrics(tasks__click__log_loss=0.4), {"log_loss": {"click": {"max": 0.4}}}),
    (
        metrics(tasks__click__normalized_entropy=0.9),
        {"normalized_entropy": {"click": {"max": 0.95}}},
    ),
    (deciles([1.0] * 9 + [1.05]), DECILES),
    slices(part("a", auc=0.7), part("b", auc=0.6), min=0.6),
    (metrics(drift=STABLE_SCORES), DRIFT),
    (metrics(size_mb=20.0), SIZE),
    (metrics(latency=TIMED), FAST),
    (metrics(latency=TIMED), FAST_P99),
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
        "against": None,
        "interval": None,
        "judged": None,
        "rows_needed": None,
        "verdict": "PASS",
        "passed": True,
        "reason": "AUC of click: 0.7500 is at least 0.7",
    }


LOSSES = ("log_loss", "normalized_entropy")


@pytest.mark.parametrize("name", ["auc", "gauc", *LOSSES])
@pytest.mark.parametrize("better", [True, False])
def test_a_gain_is_towards_the_better_model(name, better):
    """Lower is better of the losses: a worse model does not pass for its higher one."""
    ours, theirs = (0.4, 0.5) if better == (name in LOSSES) else (0.5, 0.4)
    found = metrics(
        tasks__click__gain={name: {"error": 0.001}},
        **{f"tasks__click__{name}": ours, f"baseline__tasks__click__{name}": theirs},
    )
    (gate,) = judge(found, {name: {"click": {"min_gain": 0.05}}})["gates"]
    assert gate["verdict"] == ("PASS" if better else "REFUSE")
    assert gate["measured"] == pytest.approx(0.1 if better else -0.1)


def held(error=None, groups=50, gain=0.01, confidence=None, **limits):
    """The verdict on a gain, or on the AUC itself, that has a standard error."""
    found = metrics(
        tasks__click__auc=0.74 + gain,
        tasks__click__groups=groups,
        tasks__click__gain={"auc": {"error": error}},
        tasks__click__errors={"auc": error},
    )
    return judge(found, {**auc(**limits), "confidence": confidence})


def test_a_gain_that_noise_could_have_made_is_held_and_rows_are_named():
    certain = held(error=0.001, min_gain=0.0)["gates"][0]
    assert (certain["verdict"], certain["against"]) == ("PASS", "baseline 0.7400")
    assert certain["interval"] == pytest.approx([0.00799, 0.01201], abs=1e-5)
    assert certain["judged"] in certain["reason"]
    verdict = held(error=0.02, min_gain=0.0)
    (gate,) = verdict["gates"]
    assert verdict["verdict"] == gate["verdict"] == "HOLD"
    assert gate["passed"] is False
    # The bounds lie 1.68 errors off, which must shrink to the gain: 100 (1.68 * 2)^2.
    assert gate["rows_needed"] == pytest.approx(1125, rel=0.01)
    assert "100 rows cannot tell; about 1,1" in gate["reason"]
    assert held(error=0.001, gain=-0.01, min_gain=0.0)["verdict"] == "REFUSE"
    assert held(error=0.02, gain=-0.01, min_gain=0.0)["verdict"] == "HOLD"


LIMITS = [
    ({"min": 0.70}, "its lower bound at 95 % confidence, 0.7165, keeps the limit"),
    ({"min": 0.80}, "its upper bound at 95 % confidence, 0.7835, breaks the limit"),
    ({"min": 0.74}, "the limit lies between its lower bound at 95 % confidence, 0.7165, "
        "and its upper bound at 95 % confidence, 0.7835"),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "judged"), LIMITS)
def test_the_bound_that_was_judged_is_said_beside_the_interval(limits, judged):
    """Student's quantiles of 49 degrees: 1.6766 for one bound, 2.0096 for two."""
    (gate,) = held(error=0.02, confidence=0.95, **limits)["gates"]
    assert gate["judged"] == f"judged: {judged}"
    assert f"(95 % interval 0.7098 to 0.7902; judged: {judged})" in gate["reason"]
    assert gate["interval"] == pytest.approx([0.7098, 0.7902], abs=1e-4)
    untold = gate["verdict"] == "HOLD"
    assert ("0.7500 is not told from the limit 0.74" in gate["reason"]) == untold
    (gate,) = held(error=0.02, min=0.74)["gates"]  # no confidence: the number itself
    assert "0.7500 is at least 0.74 (95 % interval 0.7098 to" in gate["reason"]
    assert gate["judged"] == "judged: the number itself"


def test_an_upper_limit_is_judged_by_the_other_bound():
    found = metrics(tasks__click__log_loss=0.4, tasks__click__errors={"log_loss": 0.02})
    gates = {"log_loss": {"click": {"max": 0.45}}, "confidence": 0.95}
    (gate,) = judge(found, gates)["gates"]
    assert "its upper bound at 95 % confidence, 0.4335, keeps" in gate["reason"]
    gates["log_loss"]["click"]["max"] = 0.35
    (gate,) = judge(found, gates)["gates"]
    assert "its lower bound at 95 % confidence, 0.3665, breaks" in gate["reason"]


def test_what_is_measured_within_users_hangs_on_those_that_tell():
    """Many users have a click, and few of them a row without one, too."""
    within = {"gauc": 0.7, "errors": {"gauc": None, "auc": 0.001}, "mixed_groups": 5}
    found = metrics()
    found["tasks"]["click"] |= within
    gates = {"gauc": {"click": {"min": 0.6}}, "confidence": 0.95}
    (gate,) = judge(found, gates)["gates"]
    assert gate["verdict"] == "HOLD" and "only 5 users" in gate["reason"]
    assert judge(found, {**auc(min=0.7), "confidence": 0.95})["verdict"] == "PASS"


SCORED = {"score_gauc": 0.7, "score_ndcg": 0.6}


def test_the_served_score_is_judged_as_every_metric_of_a_task():
    ours = {f"tasks__click__{name}": value for name, value in SCORED.items()}
    found = metrics(**ours, tasks__click__gain={"score_ndcg": {"error": 0.001}})
    found["baseline"]["tasks"]["click"] |= {"score_ndcg": 0.5}
    gates = {"score_gauc": {"click": {"min": 0.71}}}
    gates["score_ndcg"] = {"click": {"min": 0.6, "min_gain": 0.05}}
    refused, kept, gain = judge(found, gates)["gates"]
    said = "GAUC under the served score of click: 0.7000 is below 0.71"
    assert (refused["verdict"], refused["reason"]) == ("REFUSE", said)
    assert kept["verdict"] == gain["verdict"] == "PASS"
    assert "NDCG@10 under the served score of click: gain +0.1000" in gain["reason"]
    del found["tasks"]["click"]["score_gauc"]
    assert "not measured" in judge(found, gates)["gates"][0]["reason"]


@pytest.mark.parametrize("gain", [0.01, 0.0])
def test_at_the_limit_itself_no_number_of_rows_is_promised(gain):
    (gate,) = held(error=0.02, gain=gain, min_gain=gain)["gates"]
    assert gate["verdict"] == "HOLD"
    assert "more than 100,000 would" in gate["reason"]


def test_equal_models_have_no_gain_and_no_scatter():
    assert held(error=0.0, gain=0.0, min_gain=0.0)["verdict"] == "PASS"


def test_with_a_confidence_a_limit_is_judged_with_its_scatter():
    assert held(error=0.02, min=0.74)["verdict"] == "PASS"
    assert held(error=0.02, min=0.74, confidence=0.95)["verdict"] == "HOLD"
    assert held(error=0.02, min=0.70, confidence=0.95)["verdict"] == "PASS"
    assert held(error=0.02, min=0.80, confidence=0.95)["verdict"] == "REFUSE"
    found = metrics(tasks__click__errors={"calibration": 0.1}, tasks__click__groups=50)
    gates = {"calibration": {"click": {"min": 0.9, "max": 1.2}}}
    assert judge(found, gates)["verdict"] == "PASS"
    assert judge(found, {**gates, "confidence": 0.9})["verdict"] == "HOLD"


@pytest.mark.parametrize("error", [0.001, None])
def test_too_few_users_hold_and_a_missing_scatter_refuses(error):
    (gate,) = held(error=error, groups=3, min_gain=-0.5)["gates"]
    assert gate["verdict"] == "HOLD"
    assert gate["rows_needed"] == 334
    assert "rows would hold them" in gate["reason"]
    (gate,) = held(error=None, groups=50, min_gain=-0.5)["gates"]
    assert gate["verdict"] == "REFUSE"
    assert "scatter was not measured" in gate["reason"]


def test_one_class_in_a_slice_holds_and_a_nan_refuses():
    found, gates = slices(part("a", auc=NAN, positives=0), min=0.6)
    verdict = judge(found, gates)
    assert verdict["verdict"] == "HOLD"
    assert "none of 40 rows is positive" in verdict["gates"][0]["reason"]
    found, gates = slices(part("a", auc=NAN, positives=0, log_loss=NAN), min=0.6)
    assert judge(found, gates)["verdict"] == "REFUSE"


def test_a_tenth_without_a_positive_holds():
    verdict = judge(deciles([NAN] + [1.0] * 9), DECILES)
    assert verdict["verdict"] == "HOLD"
    assert "none of its 10 rows is positive" in verdict["gates"][0]["reason"]


def test_ten_tenths_are_refused_by_chance_no_more_often_than_one():
    """Two errors beyond the limit: certain for one number, not for one out of ten."""
    found = deciles([1.0] * 9 + [1.3], errors=0.1)
    assert judge(found, DECILES)["verdict"] == "HOLD"
    found = deciles([1.0] * 9 + [1.4], errors=0.1)
    assert judge(found, DECILES)["verdict"] == "REFUSE"


def test_many_slices_are_refused_by_chance_no_more_often_than_one():
    """Two errors below the limit: certain for one slice, not for one out of fifty."""
    low = {"auc": 0.56, "groups": 1000, "errors": {"auc": 0.02}}
    one = slices(part("a", **low), min=0.6)
    many = slices(*[part(str(i), **low) for i in range(50)], min=0.6)
    for (found, gates), verdict in ((one, "REFUSE"), (many, "HOLD")):
        assert judge(found, {**gates, "confidence": 0.95})["verdict"] == verdict


def test_a_refusal_outweighs_a_hold_and_an_unknown_verdict_refuses():
    assert worst(["PASS", "HOLD", "REFUSE"]) == "REFUSE"
    assert worst(["PASS", "HOLD"]) == "HOLD"
    assert worst(["PASS", "MAYBE"]) == worst([]) == "REFUSE"


def test_a_reason_says_of_what_it_is():
    found = metrics(where="test (2024-03-06)", trained_on="train (2024-03-01)")
    reasons = [g["reason"] for g in judge(found, {**auc(min=0.8), **STABLE})["gates"]]
    assert "AUC of click on test (2024-03-06): 0.7500 is below 0.8" in reasons
    assert "training on train (2024-03-01): no loss diverged in 50 steps" in reasons


def test_a_task_that_is_dead_on_validation_is_not_called_a_loss_that_diverged():
    dead = {"click": {"auc": 0.494, "on": "validation", "since": 11}}
    found = metrics(divergence__diverged=True, divergence__diverged_at=11)
    found["divergence"] |= {"dead_tasks": ["click"], "dead": dead, "loss_diverged_at": None}
    (said,) = [
        g["reason"] for g in judge(found, STABLE)["gates"] if g["verdict"] == "REFUSE"
    ]
    assert "the AUC of click on validation was 0.4940 from step 11 on" in said
    assert "no loss diverged" in said and "loss diverged at step" not in said


def test_an_interval_of_an_auc_stays_between_0_and_1():
    assert bounded("auc", [0.93, 1.04]) == [0.93, 1.0]
    assert bounded("hr@10", [-0.01, 0.2]) == [0.0, 0.2]
    assert bounded("calibration", [0.9, 1.1]) == [0.9, 1.1] and bounded("auc", None) is None
    (gate,) = held(error=0.2, min=0.4)["gates"]
    assert gate["interval"][1] == 1.0 and "to 1.0000" in gate["reason"]


def test_no_gate_of_a_config_is_called_as_one_that_always_judges():
    """Reasons are told apart by that name."""
    always = {soundness.FINITE, soundness.LEARNED, soundness.ROWS, soundness.SERVED}
    assert not {*Gates.model_fields} & {*always, soundness.STEPS}
