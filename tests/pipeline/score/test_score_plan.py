"""What scoring says of rows that lack a column: as who scores them knows it."""

import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.score.plan import _plan
from tests.helpers import tiny

PAST = {"name": "past", "kind": "numeric", "from": "events", "measure": "count"}


@pytest.mark.parametrize(
    ("changes", "kept", "says"),
    [
        (
            {"by": ["user", "item"]},
            {},
            "features.past needs: made from events.*by user, it",
        ),
        ({}, {}, "joined by user: --histories DIR"),
        ({}, {"who": "usr"}, "no column 'usr', for --keep .*Did you mean 'user'"),
    ],
)
def test_a_column_that_rows_lack_is_named_with_its_remedy(tmp_path, changes, kept, says):
    tiny.write_log(tmp_path, tiny.make_rows(20))
    document = tiny.config_document()
    document["features"].append({**PAST, "window": "1d", **changes})
    config = parse_config(document, "tiny")
    with pytest.raises(InputError, match=says) as raised:
        _plan(config, ["log.parquet"], tmp_path, kept)
    assert "keep_columns" not in str(raised.value)
