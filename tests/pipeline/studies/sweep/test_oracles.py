"""Which trial comes next: of the first one, of rungs, of trials that failed."""

import pytest

from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.studies.sweep import sweep
from steadyrank.pipeline.studies.sweep.oracles import make_oracle
from tests.helpers.sweeps import RATE, Fake, make_space


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_bayesian_sweep_knows_its_first_trial(tmp_path):
    choices = {"key": "train.embedding.r", "values": [10, 1]}
    space = make_space(choices, RATE, method="bayesian", trials=4)
    found = sweep(space, None, tmp_path / "out", run=Fake())
    assert len(found["trials"]) == 4 and found["own_value"] is not None


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
