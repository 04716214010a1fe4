"""A sample of a log is from all over it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.open import Log
from steadyrank.pipeline.raw_log.sample import is_of_all_batches, is_whole, sampled


@dataclass(frozen=True)
class Written:
    """A piece of a log of so many batches of so many rows."""

    path: str
    parts: int = 1
    rows: int = 10
    malformed: pa.Table | None = None

    def batches(self):
        table = pa.table({"n": np.arange(self.rows)})
        for part in range(self.parts):
            yield Batch(table, part * self.rows + np.arange(self.rows), self.malformed)


def log_of(pieces) -> Log:
    paths = tuple(piece.path for piece in pieces)
    rows = sum(piece.parts * piece.rows for piece in pieces)
    return Log(paths, tuple(pieces), pa.schema([]), rows)


@pytest.mark.parametrize("files", [1, 2, 13, 31, 32])
def test_of_a_month_of_files_none_is_left_out(files):
    log = log_of([Written(f"{n:02}") for n in range(files)])
    batches = list(sampled(log))
    assert [path for path, _ in batches] == [piece.path for piece in log.pieces]
    assert is_whole(log, batches)


@pytest.mark.parametrize("files", [33, 90, 1000])
def test_of_more_files_the_first_and_the_last_ones_are_there(files):
    log = log_of([Written(f"{n:04}") for n in range(files)])
    batches = list(sampled(log))
    paths = [int(path) for path, _ in batches]
    assert paths[0] == 0 and paths[-4:] == [*range(files - 4, files)] and len(paths) <= 32
    assert max(np.diff(paths)) <= np.ceil(files / 27)
    assert not is_of_all_batches(log, batches)


def test_large_files_before_them_do_not_keep_the_last_ones_out():
    log = log_of([Written(f"{n:02}", parts=100) for n in range(13)])
    batches = list(sampled(log))
    paths = [path for path, _ in batches]
    assert [*dict.fromkeys(paths)] == [piece.path for piece in log.pieces]
    assert len(paths) <= 64 and not is_of_all_batches(log, batches)


def test_of_rows_and_of_broken_lines_the_same_share_is_taken():
    text = pa.array(["x"] * 100)
    broken = pa.table({"text": text, "reason": text, "line": np.arange(100)})
    log = log_of([Written("a", rows=1_000_000, malformed=broken)])
    ((_, batch),) = batches = list(sampled(log))
    assert (len(batch.table), len(batch.malformed)) == (200_000, 20)
    assert batch.lines[:3].tolist() == [0, 5, 10]
    assert is_of_all_batches(log, batches) and not is_whole(log, batches)
