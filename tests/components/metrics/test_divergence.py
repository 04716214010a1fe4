"""Divergence in hand-made streams."""

import json
import math

import numpy as np
import pytest

from steadyrank.components.metrics.divergence import DivergenceDetector, RunningMedian

NAN, INF = math.nan, math.inf


def feed(losses, **arguments):
    detector = DivergenceDetector(**arguments)
    events = [detector.update(step, loss) for step, loss in enumerate(losses)]
    json.dumps(detector.summary(), allow_nan=False)
    return detector.summary(), [event for event in events if event]


def healthy(n, level=0.7, noise=0.1, seed=0):
    return list(level + noise * np.random.default_rng(seed).uniform(-1, 1, n))


def test_a_healthy_stream_has_no_events():
    falling = [2.0 * math.exp(-t / 100) + loss for t, loss in enumerate(healthy(500))]
    summary, events = feed(falling)
    assert not events
    assert summary == {
        "steps": 500,
        "nonfinite_steps": 0,
        "micro": [],
        "diverged": False,
        "diverged_at": None,
        "dead_tasks": [],
    }


def test_a_task_whose_auc_stays_at_one_half_has_diverged():
    detector = DivergenceDetector()
    detector.observe_auc(10, {"click": 0.70, "like": 0.51, "share": None})
    detector.observe_auc(20, {"click": 0.50, "like": 0.60, "share": float("nan")})
    detector.observe_auc(30, {"click": 0.52, "like": 0.60})
    summary = detector.summary()
    assert summary["diverged"] and summary["diverged_at"] == 20
    assert summary["dead_tasks"] == ["click"]


def test_a_task_that_comes_back_to_life_has_not_diverged():
    detector = DivergenceDetector()
    detector.observe_auc(10, {"click": 0.50})
    detector.observe_auc(20, {"click": 0.53})
    assert not detector.summary()["diverged"]


def test_micro_divergence_has_its_step_size_and_recovery():
    losses = [*healthy(50, noise=0), 3.1, 9.0, 2.2, *healthy(50, noise=0)]
    summary, events = feed(losses)
    expected = {"step": 50, "loss": 9.0, "median": 0.7, "recovered_at": 53}
    assert summary["micro"] == [expected]
    assert not summary["diverged"]
    assert [event["kind"] for event in events] == ["jump", "micro"]
    assert events[0] == {
        "kind": "jump",
        "step": 50,
        "loss": 3.1,
        "median": 0.7,
        "tasks": [],
    }
    assert events[1] == {"kind": "micro", **expected, "tasks": []}


@pytest.mark.parametrize(("late", "kind"), [(200, "micro"), (201, "full")])
def test_full_divergence_is_no_return_within_the_window(late, kind):
    summary, events = feed([*healthy(20), *[50.0] * late, *healthy(30)])
    assert [(e["kind"], e["step"]) for e in events] == [("jump", 20), (kind, 20)]
    assert summary["diverged_at"] == (20 if kind == "full" else None)
    assert summary["diverged"] is (kind == "full")
    assert len(summary["micro"]) == (kind == "micro")


def test_the_median_stands_still_while_the_loss_is_high():
    summary, _ = feed([*healthy(100), *[10.0] * 150, *healthy(10), *[10.0] * 5, 0.7])
    assert [each["step"] for each in summary["micro"]] == [100, 260]
    assert all(each["median"] < 1 for each in summary["micro"])


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_poisoned_batch_is_a_micro_divergence(bad):
    summary, events = feed([*healthy(20), bad, *healthy(20)])
    assert summary["nonfinite_steps"] == 1 and not summary["diverged"]
    assert summary["micro"][0]["loss"] is None
    assert [event["kind"] for event in events] == ["jump", "micro"]


def test_non_finite_that_persists_is_full_divergence():
    summary, events = feed([*healthy(20), *[NAN] * 12, *healthy(20)])
    assert summary["diverged"] and summary["diverged_at"] == 20
    assert summary["nonfinite_steps"] == 12 and summary["micro"] == []
    assert [(e["kind"], e["step"]) for e in events] == [("jump", 20), ("full", 20)]


def test_non_finite_from_the_first_step():
    summary, events = feed([NAN] * 30)
    assert summary["diverged_at"] == 0 and summary["nonfinite_steps"] == 30
    assert events[0]["median"] is None


def test_divergence_in_the_second_step_is_seen():
    summary, _ = feed([0.7, *[1e5] * 300])
    assert summary["diverged_at"] == 1


def test_a_jump_still_open_at_the_end_counts():
    summary, events = feed([*healthy(30), 50.0])
    assert summary["diverged"] and summary["diverged_at"] == 30
    assert [event["kind"] for event in events] == ["jump"]


def test_the_first_divergence_is_remembered():
    losses = [*healthy(20), *[50.0] * 250, *healthy(20), *[50.0] * 250, *healthy(5)]
    summary, events = feed(losses)
    assert summary["diverged_at"] == 20
    assert [event["kind"] for event in events] == ["jump", "full", "jump", "full"]


def test_small_losses_do_not_jump_by_noise():
    noisy = [1e-4 * (1 + 50 * (t % 7 == 0)) for t in range(300)]
    summary, events = feed(noisy)
    assert not events
    summary, _ = feed([*noisy, 0.5, *noisy])
    assert len(summary["micro"]) == 1
    assert not feed([0.0] * 300)[1]
    assert len(feed([*[0.0] * 300, 0.5, 0.0])[0]["micro"]) == 1


def test_negative_losses():
    assert not feed(healthy(200, level=-2.0))[1]
    assert feed([*healthy(200, level=-2.0), 5.0, -2.0])[0]["micro"][0]["step"] == 200


def test_tasks_that_jumped_are_named_worst_first():
    detector = DivergenceDetector()
    for step in range(30):
        rare = 0.0 if step % 2 else 0.4  # every second batch has no example
        detector.update(step, 1.3, {"click": 0.6, "like": 0.3, "rare": rare})
    tasks = {"click": 4.0, "like": 9.0, "rare": 0.5}
    assert detector.update(30, 13.5, tasks)["tasks"] == ["like", "click"]
    event = detector.update(31, 1.3, {"click": 0.6, "like": 0.3, "rare": 0.4})
    assert event["kind"] == "micro" and event["tasks"] == ["like", "click"]
    assert detector.update(32, NAN, {"click": NAN, "like": 0.3})["tasks"] == ["click"]


def test_every_option_has_an_effect():
    losses = [*healthy(20, noise=0), *[1.5] * 8, *healthy(20, noise=0), NAN, NAN, 0.7]
    base = feed(losses)[0]
    assert [each["step"] for each in base["micro"]] == [48]
    assert len(feed(losses, factor=2.0)[0]["micro"]) == 2
    assert feed(losses, factor=2.0, patience=5)[0]["diverged_at"] == 20
    assert feed(losses, factor=2.0, floor=1.0)[0] == base
    assert feed(losses, nonfinite_patience=2)[0]["diverged_at"] == 48
    rising = [1.04**t for t in range(250)]
    assert feed(rising, window=100)[1] and not feed(rising, window=10)[1]


def test_running_median_equals_sorting():
    median, values = RunningMedian(7), []
    assert median.value() == INF
    for value in np.random.default_rng(0).integers(0, 9, 200):
        values.append(float(value))
        median.add(float(value))
        recent = sorted(values[-7:])
        assert median.value() == recent[(len(recent) - 1) // 2]
