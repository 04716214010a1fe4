"""Features and tasks that cannot be."""

import re

import pytest

from steadyrank.pipeline.config import (
    parse_config,
)
from tests.helpers.refused_config import refused, with_feature, with_task
from tests.helpers.tiny import config_document


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"positive_weight": 0}, "positive_weight"),
        ({"positive_weight": 2}, "a value is no positive"),
    ],
)
def test_the_weight_of_positives_is_one_of_a_binary_task(keys, said):
    assert said in refused(with_task(2, **keys))
    assert parse_config(with_task(0, positive_weight=3), "c").tasks[0].positive_weight == 3


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"clip": [5, 1]}, "clip: numbers must increase"),
        ({"clip": [1, 2], "buckets": 4}, "clip is for plain numbers"),
        ({"buckets": [1, 1.00000001]}, "differ as float32"),
        ({"buckets": [3, 2]}, "buckets: numbers must increase"),
        ({"buckets": "x"}, "features.price.buckets: must be"),
        ({"buckets": [1, 1e300]}, "buckets: numbers must increase"),
        ({"buckets": []}, "buckets"),
        ({"clip": [1]}, "clip"),
        ({"buckets": 2.5}, "buckets"),
    ],
)
def test_limits_and_boundaries_increase(keys, said):
    assert said in refused(with_feature(4, **keys))


def test_boundaries_make_a_number_one_that_is_embedded():
    config = parse_config(with_feature(4, buckets=[10, 20], dim=3), "c")
    assert config.features[4].dim == 3


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (with_task(0, loss="tweedie"), "loss tweedie is for regression tasks"),
        (with_task(2, loss="gamma"), "leave transform out"),
        (
            with_task(2, loss="tweedie", transform="identity", tweedie_power=2),
            "must be below 2",
        ),
        (with_task(0, space="all"), "given another"),
        (with_task(2, tweedie_power=1.2), "tweedie_power is of loss: tweedie"),
        (with_task(2, space="all"), "binary tasks that are given another"),
        (
            with_task(1, space="all", positive_weight=2),
            "leave out tasks.like.positive_weight",
        ),
    ],
)
def test_what_a_loss_and_a_space_are_not_for_is_named(document, said):
    assert said in refused(document)


RECENT = {"name": "recent", "kind": "categorical", "max_values": 3, "oov_buckets": 3}


def with_recent(**keys):
    document = config_document()
    document["features"].append({**RECENT, "table": "item", **keys})
    return document


def test_a_feature_may_share_anothers_table():
    assert parse_config(with_recent(), "c.yaml").features[-1].table == "item"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"table": "itm"}, "'itm' is no categorical feature.*item"),
        ({"table": "price"}, "'price' is no categorical feature"),
        ({"table": "recent"}, "'recent' is no categorical feature"),
        ({"dim": 8}, "dim must be None, too. Received: 8"),
        ({"oov_buckets": 1}, "oov_buckets must be 3, too. Received: 1"),
    ],
)
def test_a_table_that_cannot_be_shared_is_refused(keys, said):
    message = refused(with_recent(**keys))
    assert "features.recent.table" in message
    assert re.search(said, message)
