"""What is said of a result that went well, and yet not as one would have it."""

from pathlib import Path

import pytest

from steadyrank.pipeline.api import PreprocessResult
from steadyrank.pipeline.cli.words import tell


@pytest.mark.parametrize(
    ("taken_over", "trains", "is_told"), [(5, 5, True), (5, 6, False), (0, 0, False)]
)
def test_an_addition_that_trains_no_new_row_is_told(capsys, taken_over, trains, is_told):
    splits = {"train": trains, "test": 3}
    manifest = {"rows": {}, "taken_over": taken_over}
    tell(PreprocessResult(Path("e"), 9, 8, 0, {}, {}, splits, {}, (), manifest))
    assert ("no new row trains" in capsys.readouterr().out) == is_told


@pytest.mark.parametrize(
    ("histories", "late"),
    [
        ({"files": [], "late": {"2024-03-01": 2}}, True),
        ({"files": []}, False),
        ([{"path": "histories/00000.parquet", "bytes": 9}], False),  # of next-item sets
    ],
)
def test_rows_that_came_late_are_told_of_sets_that_count_them(capsys, histories, late):
    manifest = {"rows": {}, "histories": histories}
    tell(PreprocessResult(Path("e"), 9, 8, 0, {}, {}, {"train": 3}, {}, (), manifest))
    said = capsys.readouterr().out
    assert ("2 rows of 2024-03-01 came after it was added" in said) == late
