"""Files have about as many rows as were asked for, whatever the windows."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.preprocess.shards import count_windows, file_of
from tests.helpers import tiny


def files_of(rows_in_window: int, shards: int, rows: int) -> list[int]:
    """How many shards each file of a window is made of, in the order of the files."""
    counts = {"rows of/train/2024-03-01": rows_in_window}
    keys = [f"train/2024-03-01/{shard:05d}" for shard in range(shards)]
    found = [file_of(key, counts, shards, rows) for key in keys]
    assert found == sorted(found)
    return list(Counter(found).values())


def test_files_by_hand():
    assert files_of(100, 51, 2) == [1] * 51  # more than there are shards: one each
    assert files_of(26 * 2, 51, 2) == [1] * 51
    assert files_of(1, 51, 2) == [51]
    assert sorted(files_of(10, 51, 2)) == [10, 10, 10, 10, 11]


@given(log=st.integers(1, 5000), share=st.floats(0, 1), rows=st.integers(1, 700))
def test_no_file_has_far_more_or_fewer_rows_than_asked_for(log, share, rows):
    """Shards of a window have about as many rows each; whatever part of the log it is."""
    window, shards = max(1, round(log * share)), 1 + log // rows
    files = files_of(window, shards, rows)
    each = window / shards
    assert sum(files) == shards
    assert max(files) * each <= 1.5 * rows + 1
    if len(files) > 1:
        assert min(files) * each >= rows / 3 - 1e-9


def test_rows_are_counted_by_window_and_split():
    keyed = {"train/d/00000": "abc", "train/d/00001": "d", "test/d/00000": "e"}
    assert count_windows(keyed) == {"rows of/train/d": 4, "rows of/test/d": 1}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A log of which the second day has most rows; a whole example set, and in files."""
    folder = tmp_path_factory.mktemp("uneven")
    rows = tiny.make_rows()
    day = 24 * tiny.HOUR
    start = int(tiny.START.timestamp() * 1000)
    for row in rows[::2]:
        if row["time_ms"] < start + 3 * day:
            row["time_ms"] = start + day + row["time_ms"] % day
    tiny.write_parquet(rows, folder / "log.parquet")
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    made = {}
    for name, keys in (("plain", {}), ("filed", {"data__rows_per_shard": 40})):
        config = parse_config(tiny.config_document(**keys), "c")
        made[name] = preprocess(config, folder, folder / name)
    return folder, made


def test_every_row_is_there_once_in_files_of_their_size(uneven):
    _, made = uneven
    plain, filed = made["plain"], made["filed"]
    for name in ("rows", "identity", "tasks", "splits", "joined"):
        assert plain[name] == filed[name], name
    windows = {(f["split"], f["window"]): f["rows"] for f in plain["files"]}
    assert len(windows) == len(plain["files"])  # today's: a file a window, of any size
    assert max(windows.values()) == 4 * min(windows.values())
    found: dict = {}
    for file in filed["files"]:
        found.setdefault((file["split"], file["window"]), []).append(file["rows"])
    assert {key: sum(rows) for key, rows in found.items()} == windows
    for key, rows in windows.items():
        assert len(found[key]) == -(-rows // 40)
        assert max(found[key]) < 80


def test_what_is_learned_hangs_on_no_files(uneven):
    folder, _ = uneven
    for path in (folder / "plain" / "vocab").glob("*.txt"):
        assert path.read_bytes() == (folder / "filed" / "vocab" / path.name).read_bytes()
