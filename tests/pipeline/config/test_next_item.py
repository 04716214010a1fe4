"""Configs of next-item models: what is refused, and that the message says what to do."""

import math
from pathlib import Path

import pytest

from steadyrank.pipeline.config import load_any_config, parse_config, parse_sequence_config
from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.files.errors import InputError
from tests.helpers.event_log import config_document

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
CASES = [
    (
        {"gates__ranking": {"mrr@5": {"min": 0}}},
        ["gates: ranking is gone", "gates.metrics"],
    ),
    ({"train__embedding__warmup": True}, ["train.embedding.warmup: unknown key"]),
    ({"trian": {}}, ["trian: unknown key", "'train'"]),
    ({"data__sequences__lenght": 3}, ["lenght: unknown key", "'length'"]),
    ({"model__bloks": 2}, ["model.bloks: unknown key", "'block'"]),
    ({"train__phases": []}, ["train.phases"]),
    ({"train__phases": [{"blocks": 1}]}, ["needs epochs, steps or patience"]),
    (
        {"train__phases": [{"blocks": 1, "epoch": 1}]},
        ["train.phases.0.epoch: unknown key", "'epochs'"],
    ),
    (
        {"train__phases": [{"blocks": 2, "grow": "cross", "epochs": 1}]},
        ["nothing to grow from", "start_from"],
    ),
    (
        {"train__phases": [{"blocks": 1, "epochs": 1}, {"blocks": 2, "epochs": 1}]},
        ["1 blocks become 2", "grow"],
    ),
    (
        {
            "train__phases": [
                {"blocks": 1, "epochs": 1},
                {"blocks": 4, "grow": "cross", "epochs": 1},
            ]
        },
        ["can grow to 2 at most", "Put a phase between"],
    ),
    ({"train__start_from": "s3://b/train"}, ["start_from", "local folder"]),
    ({"model__block": "sasrec"}, ["unchanged", "normalize_first"]),
    ({"model__sample": 0.5}, ["sample is for softmax: sampled"]),
    ({"model__dropout": 0.5}, ["dropout is for block: sasrec"]),
    ({"data__split": "leave_one_out"}, ["data.split", "leave_last_out"]),
    ({"data__split": {"validation": 0.5, "test": 0.5}}, ["leave sequences to train on"]),
    ({"data__split": {"test": 0.5}}, ["needs validation and test"]),
    (
        {"data__split": {"validation": "2024-02-01", "test": "2024-01-01"}},
        ["validation must begin before test"],
    ),
    ({"data__sequences__min_length": 7}, ["min_length must not be above length"]),
    ({"data__sequences__item": "user"}, ["user, item and time must differ"]),
    ({"data__sequences__keep": {"column": "stars", "at_least": math.nan}}, ["at_least"]),
    (
        {"data__sequences__expire_after": "30d"},
        ["expire_after: next-item models keep each", "max_size bounds"],
    ),
    ({"gates__metrics": {"mrr@3": {"min": 0.1}}}, ["mrr@3"]),
    ({"gates__metrics": {"mrr@5": {}}}, ["min_gain_over_popularity"]),
]


@pytest.mark.parametrize(("changes", "said"), CASES)
def test_mistakes_are_named(changes, said):
    with pytest.raises(InputError) as caught:
        parse_sequence_config(config_document(**changes), "c.yaml")
    for text in said:
        assert text in str(caught.value)


def test_ranking_commands_say_that_they_are():
    with pytest.raises(InputError, match="model.kind is next_item"):
        parse_config(config_document(), "c.yaml")


@pytest.mark.parametrize("name", ["cl", "ts", "tf"])
def test_shipped_configs_are_good_and_grow(name):
    config = load_any_config(CONFIGS / f"sequence_{name}.yaml")
    assert isinstance(config, SequenceConfig)
    assert any(phase.grow for phase in config.train.phases) or config.train.start_from
