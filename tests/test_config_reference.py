"""docs/config.md is what the code says; every key says what it is."""

import typing

import pytest
from pydantic import BaseModel

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.next_item import SequenceConfig
from tools import config_reference as reference


def sections(kind, found):
    """All sections of a config."""
    if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
        found.append(kind)
        for field in kind.model_fields.values():
            sections(field.annotation, found)
    for inner in typing.get_args(kind):
        sections(inner, found)
    return found


def test_the_page_is_what_the_code_says():
    written = reference.PAGE.read_text(encoding="utf-8")
    assert written == reference.page(), "run: python -m tools.config_reference"


@pytest.mark.parametrize("root", [Config, SequenceConfig])
def test_every_key_says_what_it_is(root):
    found = sections(root, [])
    assert len(found) > 15
    silent = [
        f"{section.__name__}.{name}"
        for section in found
        for name, field in section.model_fields.items()
        if not (field.description or name in ("trunk", "method"))  # its class says it
    ]
    assert not silent
    page = reference.page()
    for section in found:
        assert reference.first_line(section), section
        for field, found in section.model_fields.items():
            name = found.alias or field
            assert f"`{name}`" in page or name in ("trunk", "method"), name
