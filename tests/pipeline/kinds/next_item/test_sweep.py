"""A sweep over next-item models, and what it cannot do."""

import json

import pytest

from steadyrank.pipeline.config import load_any_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import (
    preprocess,
    train,
)
from steadyrank.pipeline.studies.sweep import read_sweep, sweep, trial
from tests.helpers import event_log
from tests.helpers.next_item_runs import parsed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    log = tmp_path_factory.mktemp("sequences")
    event_log.write_events(log, event_log.make_events())
    preprocess(parsed(), log, log / "examples")
    return log


SWEEP = {
    "trials": 4,
    "objective": {"metric": "ndcg@10"},
    "space": [{"key": "train.dense.learning_rate", "values": [0.03, 0.01, 0.003, 1e-4]}],
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # KerasTuner's own
def test_four_trials_of_a_sweep(folder, tmp_path, monkeypatch):
    """Each trains as ``train`` does, here in this process."""
    phases = [{"blocks": 1, "epochs": 1, "data_fraction": 0.3}]
    document = event_log.config_document(train__phases=phases, sweep=SWEEP)

    def run_stage(arguments, log, beat):
        config = load_any_config(arguments[2])
        train(config, arguments[4], arguments[6], overwrite=True)
        return 0, ""

    monkeypatch.setattr(trial, "run_stage", run_stage)
    space = read_sweep(document, None, tmp_path, "c.yaml")
    found = sweep(space, folder / "examples", tmp_path / "sweep")
    assert found["counts"] == {"completed": 4} and found["objective"].startswith(
        "mean ndcg@10"
    )
    values = [row["value"] for row in found["trials"]]
    assert max(values) > min(values)
    highest = max(found["trials"], key=lambda row: row["value"])
    assert found["highest"] == highest["trial"] and highest["interval"][0] < max(values)
    assert found["best_value"] == (max(values) if found["told"] else found["first_value"])
    (best,) = (tmp_path / "sweep" / "trials").glob(f"*{found['best']}/train")
    summary = json.loads((best / "train.json").read_text())
    assert summary["best"] == found["best_value"]
    load_any_config(tmp_path / "sweep" / "best.yaml")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "hyperband", "max_epochs": 4}, "trains in phases: take random"),
        ({"score": "{train.dense.learning_rate}"}, "of which a next-item model has one"),
        ({"constraint": {"min_margin": 2}}, "constrain a next-item model by max_micro"),
        ({"objective": {"metric": "auc"}}, "auc is of binary tasks: none here"),
    ],
)
def test_what_a_sweep_cannot_do_is_said(tmp_path, changes, said):
    document = event_log.config_document(sweep={**SWEEP, **changes})
    with pytest.raises(InputError, match=said):
        read_sweep(document, None, tmp_path, "c.yaml")
