"""Configs with a fault, and what is said of them."""

import pytest

from steadyrank.pipeline.config import (
    parse_config,
)
from steadyrank.pipeline.files.errors import InputError
from tests.helpers.tiny import config_document


def refused(document) -> str:
    with pytest.raises(InputError) as caught:
        parse_config(document, "c.yaml")
    return str(caught.value)


def with_feature(index, **keys):
    document = config_document()
    document["features"][index] |= keys
    return document


def with_task(index, **keys):
    document = config_document()
    document["tasks"][index] |= keys
    return document
