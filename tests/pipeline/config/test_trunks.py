"""Every trunk has a section whose keys reach its model."""

from typing import get_args

import pytest

from steadyrank.models import build
from steadyrank.pipeline.config import (
    parse_config,
    trunks,
)
from tests.helpers.refused_config import refused
from tests.helpers.tiny import config_document

SECTIONS = {get_args(s.model_fields["trunk"].annotation)[0]: s for s in trunks.TRUNKS}

NEEDED = {"reads": {"like": ["click", "watch"]}}  # keys without a default

LISTED = [16, 8]


def other(name: str, default):
    """A value of a key that is not its default, of the same type."""
    if isinstance(default, bool) or default is None:
        return True if default is False else 2
    if isinstance(default, list):
        return LISTED
    return NEEDED.get(name) or (2 * default or 2)


@pytest.mark.parametrize("trunk", SECTIONS)
def test_every_trunk_has_a_section_whose_keys_reach_the_model(trunk):
    own = SECTIONS[trunk].model_fields.keys() - trunks.Model.model_fields.keys() - {"trunk"}
    fields = {name: SECTIONS[trunk].model_fields[name].default for name in own}
    model = {"trunk": trunk, **{name: other(name, value) for name, value in fields.items()}}
    if issubclass(SECTIONS[trunk], trunks.Model):
        model |= {"front": "cross", "front_layers": 2, "tower_units": [4]}
    config = parse_config(config_document(model=model), "c")
    assert config.model.model_dump().items() >= model.items()
    assert all(fields[name] != model[name] for name in own)
    built = build.build_trunk(["click", "like", "watch"], config.model.model_dump(), 1)
    assert trunk in build.WIDE or built.name == trunk
    message = refused(config_document(model={**model, "embeding_dim": 4}))
    assert "model.embeding_dim: unknown key" in message
    assert trunk == "lr" or "'embedding_dim'" in message


def test_every_trunk_that_is_built_has_a_section():
    assert SECTIONS.keys() == build.TRUNKS.keys() and len(SECTIONS) == len(trunks.TRUNKS)


@pytest.mark.parametrize("layers", [0, 2])
def test_crosses_of_a_bottom_are_the_front_now(layers):
    model = {"trunk": "shared_bottom", "cross_layers": layers}
    said = "cross_layers is gone: say front: cross and front_layers in its place"
    assert said in refused(config_document(model=model))


@pytest.mark.parametrize("trunk", ["fm", "deepfm"])
def test_products_need_embeddings_of_one_width(trunk):
    document = config_document(model={"trunk": trunk})
    parse_config(document, "c.yaml")
    document["features"][0]["dim"] = 3
    assert "as wide as model.embedding_dim (10). Received: 3" in refused(document)
    document["features"] = [document["features"][4], document["features"][1]]
    assert "of which there must be two. Received: ['item']" in refused(document)


@pytest.mark.parametrize("trunk", ["lr", "fm"])
def test_a_model_without_a_trunk_has_no_gradients_to_compare(trunk):
    weights = {"method": "pcgrad"}
    document = config_document(model={"trunk": trunk}, train__task_weights=weights)
    assert "pcgrad compares gradients in the trunk" in refused(document)
