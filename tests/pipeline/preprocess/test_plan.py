"""What each key of a config may read: refused before any row is."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.plan import make_plan

ROWS = 8
FIXED = "fixed_size_"  # is read as any list
NESTED = {
    "list<": pa.array([[1]] * ROWS),
    "large_list<": pa.array([["a"]] * ROWS, pa.large_list(pa.string())),
    "fixed_size_list<": pa.array([[1.0, 2.0]] * ROWS, pa.list_(pa.float32(), 2)),
    "struct<": pa.array([{"a": 1}] * ROWS),
    "map<": pa.array([[("a", 1)]] * ROWS, pa.map_(pa.string(), pa.int64())),
}
HISTORY = {"kind": "sequence", "name": "h", "from": "events", "of": "item", "length": 3}
# key -> what a config says there of a column of several values
READERS = {
    "data.group": {"data": {"group": "odd"}},
    "data.split.column": {"data": {"split": {"column": "odd"}}},
    "data.negatives.item": {"data": {"negatives": {"item": "odd"}}},
    "features.h.by": {"features": [HISTORY | {"by": ["odd"]}]},
    "data.time": {"data": {"time": "odd"}},
    "data.join": {"data": {"join": [{"input": "side.parquet", "on": "odd"}]}},
    "tasks.click.sample_weight": {"tasks": [{"name": "click", "sample_weight": "odd"}]},
    "tasks.click.truth": {"tasks": [{"name": "click", "truth": "odd"}]},
    "tasks.odd": {"tasks": [{"name": "odd"}]},
}


def document(put: dict) -> dict:
    data = {"input": ["log.parquet"], "time": "at", "time_unit": "s", "group": "user"}
    data["split"] = {"validation": "1970-01-02", "test": "1970-01-03"}
    item = {"name": "item", "kind": "categorical"}
    return {
        "data": data | put.get("data", {}),
        "features": [item, *put.get("features", [])],
        "tasks": put.get("tasks", [{"name": "click"}]),
        "model": {"trunk": "lr"},
    }


@pytest.mark.parametrize("key", READERS)
@pytest.mark.parametrize("nested", NESTED)
def test_what_must_be_one_value_is_not_a_column_of_several(tmp_path, nested, key):
    columns = {
        "item": np.arange(ROWS),
        "user": np.arange(ROWS),
        "at": np.arange(ROWS) * 86_400 // 3,
        "click": np.arange(ROWS) % 2,
    }
    pq.write_table(pa.table({**columns, "odd": NESTED[nested]}), tmp_path / "log.parquet")
    if key == "data.join":
        side = {"odd": NESTED[nested], "side": np.arange(ROWS)}
        pq.write_table(pa.table(side), tmp_path / "side.parquet")
    with pytest.raises(InputError) as refused:
        make_plan(parse_config(document(READERS[key]), "c.yaml"), tmp_path)
    said = str(refused.value)
    assert (
        said.startswith(key)
        and f"is {nested.removeprefix(FIXED)}" in said
        and "'odd'" in said
    )
    assert "max_values" not in said
