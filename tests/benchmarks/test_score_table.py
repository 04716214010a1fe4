"""A large table scored: the rows that are written, and what a client sends of them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from benchmarks import score_table
from benchmarks.pages import stores


def test_rows_are_the_log_over_and_over(tmp_path):
    log = pa.table({"a": [10, 11, 12]})
    score_table.write_rows(log, 8, tmp_path / "rows.parquet")
    found = pq.read_table(tmp_path / "rows.parquet")
    assert found["number"].to_pylist() == list(range(8))
    assert found["a"].to_pylist() == [10, 11, 12, 10, 11, 12, 10, 11]


def test_a_request_is_joined_and_filled():
    rows = pa.table({"user": [7, 8, None], "tags": [["x"], ["y", "z"], None]})
    sides = {"user": pa.table({"user": [8, 7], "age": [0.5, None], "city": ["B", "A"]})}
    inputs = {
        "user": tf.TensorSpec([None], tf.int64),
        "tags": tf.TensorSpec([None, None], tf.string),
        "age": tf.TensorSpec([None], tf.float32),
        "city": tf.TensorSpec([None], tf.string),
    }
    found = score_table.request_of(rows, sides, inputs)
    assert found["user"] == [7, 8, -(2**63)]
    assert found["tags"] == [["x", b""], ["y", "z"], [b"", b""]]
    assert found["city"] == ["A", "B", b""]
    np.testing.assert_array_equal(found["age"], [np.nan, 0.5, np.nan])


def test_speeds_are_shown_where_the_machine_was_quiet():
    size = {"seconds": 20.0, "cpu_seconds": 30.0, "peak_mb": 900, "difference": {}}
    size["difference"] = {"probability": 1e-7, "value": 2e-6}
    result = {"sizes": {"1000000": size}}
    quiet = stores.scored({"result": result, "load": [0.1, 1.0]})
    assert "| 1 M | 900 MB | 30.0 | 50,000 rows/s | 1e-07 | 2e-06 |" in quiet
    assert "rows/s" not in stores.scored({"result": result, "load": [3.0, 1.0]})
