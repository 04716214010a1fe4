"""A tiny log in files of its own, which a test may damage before it is read."""

import pytest
import yaml

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from tests.helpers import tiny

ROWS = tiny.make_rows(240)


def parse(**changes):
    return parse_config(tiny.config_document(**changes), "c")


def run(folder, **changes):
    return preprocess(parse(**changes), folder, folder / "out")


def refused(folder, **changes) -> str:
    with pytest.raises(InputError) as caught:
        run(folder, **changes)
    left = [path.name for path in folder.iterdir() if "out" in path.name]
    assert left == []
    return str(caught.value)


def write_config(folder, **changes):
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(tiny.config_document(**changes)))
    return path
