"""``evaluate --predictions``: each scored row beside its own label."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.evaluate.predictions import write_predictions
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.examples.kept_rows import raw_files
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.metrics.scored import score_split


@pytest.fixture(scope="module")
def scored(examples, exported):
    held, export = ExampleSet.open(examples), Export(exported)
    return held, score_split(export.encoded, held, "test")


def test_each_row_stands_beside_its_own_prediction(scored, tmp_path):
    held, rows = scored
    write_predictions(tmp_path, rows, held, "test")
    table = pq.read_table(tmp_path / "predictions.parquet")
    assert len(table) == rows.rows == held.rows("test")
    raw = table["click"].to_numpy().astype(float)
    assert 0 < raw.mean() < 1  # else rows could change places
    np.testing.assert_array_equal(raw, table["label_click"].to_numpy())
    inside = table["label_like"].is_valid().to_numpy()
    np.testing.assert_array_equal(inside, raw > 0)  # like is given a click
    like = table["like"].to_numpy()[inside]
    np.testing.assert_array_equal(like, table["label_like"].to_numpy()[inside])
    for name, values in rows.outputs.items():
        np.testing.assert_array_equal(table[f"predicted_{name}"].to_numpy(), values)
    # what anyone measures on the file is what the evaluation says
    ours = rows.measure(held.schema.tasks)["click"]["auc"]
    positive, negative = (table["predicted_click"].to_numpy()[raw == x] for x in (1, 0))
    pairs = positive[:, None] - negative[None]
    assert ours == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=1e-6)


def test_the_training_split_has_predictions_alone(scored, tmp_path, exported):
    held, _ = scored
    assert not raw_files(held, "train")
    rows = score_split(Export(exported).encoded, held, "train")
    write_predictions(tmp_path, rows, held, "train")
    found = pq.read_table(tmp_path / "predictions.parquet")
    assert found["row"].to_pylist() == list(range(held.rows("train")))


def test_rows_that_are_not_those_that_were_scored_are_refused(scored, tmp_path):
    held, rows = scored
    fewer = rows.within(np.arange(rows.rows) > 0)
    with pytest.raises(InputError, match="raw rows of 'test'"):
        write_predictions(tmp_path, fewer, held, "test")
