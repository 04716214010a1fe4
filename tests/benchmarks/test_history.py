"""The study of histories: what its rankers read, and its figures by hand."""

from pathlib import Path

import pytest

from benchmarks import history
from steadyrank.pipeline.config import load_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def config():
    return history.both(load_config(ROOT / "configs" / "kuairand.yaml"))


@pytest.mark.parametrize("name", ["none", "mean", *history.ENCODERS])
def test_rankers_differ_in_their_history_alone(config, name):
    found = history.variant(config, name, seed=7)
    past = {f.name: f.kind for f in found.features if f.name.startswith("past_")}
    others = {"past_like", "past_long_view", "past_history_len"}
    videos = {"mean": {"past_video_id"}, "none": set()}.get(name, {"past_videos"})
    assert set(past) == (videos | others if name != "none" else set())
    rest = [f for f in config.features if not f.name.startswith("past_")]
    assert [f for f in found.features if f.name not in past] == rest
    assert found.tasks == config.tasks and found.train.seed == 7
    if name in history.ENCODERS:
        assert past["past_videos"] == "sequence"
        assert found.model.history.encoder == name


def runs_of(clicks, validation):
    return [
        {
            "seed": seed,
            "seconds": 3.0,
            "validation": {"is_click": validation, "is_like": 0.5},
            "test": {"is_click": click, "is_like": 0.5},
        }
        for seed, click in enumerate(clicks, 1)
    ]


def test_the_headline_by_hand():
    runs = {
        "none": runs_of([0.70, 0.72, 0.71], 0.70),
        "mean": runs_of([0.72, 0.73, 0.74], 0.74),
        "attention": runs_of([0.90, 0.90, 0.90], 0.72),  # better, but not on validation
        "sasrec": runs_of([0.73, 0.73, 0.74], 0.73),
    }
    rows = history.summary(runs)
    found = history.headline(rows, ("attention", "sasrec"))
    assert found["encoder"] == "sasrec"
    # gains .03, .01, .03: mean 7/300, deviation .011547; Student's t with 2 degrees 4.303
    assert found["history_gain_is_click"] == pytest.approx(7 / 300)
    half = 4.303 * 0.011547 / 3**0.5
    assert found["interval"] == pytest.approx([7 / 300 - half, 7 / 300 + half], abs=1e-4)
    assert found["history_gain_over_mean"] == pytest.approx(1 / 300)
    assert found["mean_gain_is_click"] == pytest.approx(0.02)
    mean = rows["sasrec"]["test"]["over_none"]["mean"]["mean"]
    assert mean == pytest.approx(7 / 600)
