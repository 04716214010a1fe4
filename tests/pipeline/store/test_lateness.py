"""What has not come is named as it would be found."""

import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import PassingError
from steadyrank.pipeline.store.lateness import late
from tests.helpers import tiny


def test_the_files_of_a_day_that_have_not_come_are_named_by_their_paths(tmp_path):
    (tmp_path / "a-2024-03-06.parquet").touch()
    paths = ["a-{day}.parquet", "b-{day}.*", "all.parquet"]
    config = parse_config(tiny.config_document(data__input=paths), "c")
    with pytest.raises(PassingError) as raised:
        late(config, tmp_path, "2024-03-06", None)
    assert str(raised.value) == (
        f"the files of 2024-03-06 have not come: no {tmp_path}/b-2024-03-06.*. Try again."
    )
