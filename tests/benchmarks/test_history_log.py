"""Histories out of the log: what its rankers read, what chooses, and figures by hand."""

from pathlib import Path

import pytest

from benchmarks import history_log
from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.config.events import is_from_events

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config():
    return history_log.of_all(load_config(ROOT / "configs" / "kuairand.yaml"))


def test_rankers_differ_in_what_came_before_alone(config):
    named = history_log.rankers("all counters, last videos averaged")
    rest = [
        f
        for f in config.features
        if not is_from_events(f) and not history_log.is_past(f.name)
    ]
    read = {}
    for name, (families, encoder) in named.items():
        found = history_log.variant(config, families, encoder, seed=7)
        assert [f for f in found.features if f in rest] == rest
        assert found.tasks == config.tasks and found.train.seed == 7
        own = {f.name for f in found.features if f not in rest}
        made = {f.name for f in found.features if is_from_events(f)}
        read[name] = made, own - made
    log = {f.name for f in config.features if is_from_events(f)}
    past = {"past_video_id", "past_like", "past_long_view", "past_history_len"}
    none: set = set()
    assert read == {
        "none": (none, none),
        "log": (log, none),
        "shipped": (none, past),
        "both": (log, past),
    }


def test_every_label_is_known_late_and_every_key_is_the_logs_own(config):
    for feature in filter(is_from_events, config.features):
        assert bool(feature.where) == (feature.label_delay == history_log.LABEL_DELAY)
        assert {*feature.by} <= {"user_id", "video_id", "tab"}


def runs_of(means, split):
    return [
        {split: {"is_click": mean + 0.1, "is_like": mean - 0.1}, "seconds": 1.0}
        for mean in means
    ]


def test_validation_chooses():
    runs = {
        "a": runs_of([0.7, 0.8], "validation"),
        "b": runs_of([0.74, 0.75], "validation"),
    }
    chosen, found = history_log.chosen_of(runs)
    assert chosen == "a" and found["b"]["mean"] == pytest.approx(0.745)


def test_the_headline_by_hand():
    means = {
        "none": [0.70, 0.70, 0.70],
        "log": [0.71, 0.73, 0.72],
        "shipped": [0.74, 0.74, 0.74],
        "both": [0.75, 0.75, 0.75],
    }
    runs = {
        name: [
            a | b for a, b in zip(runs_of(m, "test"), runs_of(m, "validation"), strict=True)
        ]
        for name, m in means.items()
    }
    found = history_log.headline(history_log.summary(runs))
    # gains .01, .03, .02: deviation .01; Student's t with 2 degrees 4.303
    half = 4.303 * 0.01 / 3**0.5
    assert found["log_over_none"]["mean"] == pytest.approx(0.02)
    assert found["log_over_none"]["interval"] == pytest.approx([0.02 - half, 0.02 + half])
    assert found["both_over_log"]["mean"] == pytest.approx(0.03)
    assert found["both_over_shipped"]["mean"] == pytest.approx(0.01)
    assert found["shipped_over_none"]["mean"] == pytest.approx(0.04)
