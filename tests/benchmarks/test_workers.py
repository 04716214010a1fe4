"""What benchmarks.workers makes of what its processes note."""

import pytest

from benchmarks.workers import KILLS, kept_promises, traffic
from benchmarks.workers_seen import prints_of


def test_what_travels_is_padded_to_the_longest():
    """Two workers, one table of width 4 (a column of it counts), 3 and 1 of two ids."""
    sent = [{"sent": [[3, 5, 3, 9]]}, {"sent": [[1, 5, 1, 1]]}]
    found = traffic(sent)
    assert found["bytes_over_unique_rows"] == pytest.approx(2 * 3 * 6 / (4 * 5))
    assert found["readings_over_unique_rows"] == 10 / 4
    with pytest.raises(ValueError):
        traffic([{"sent": [[1, 5, 1, 1]]}, {"sent": []}])


def test_rows_are_told_apart_by_every_column():
    columns = {"a": [1, 1, 2], "b": [[1.0, 2], [1, 3], [1, 2]], "c": [float("nan")] * 3}
    found = prints_of(columns)
    assert len(set(found)) == 3
    again = prints_of({name: values[::-1] for name, values in columns.items()})
    assert again == found[::-1]


GOOD = {
    "weights_max_difference": 9e-7,
    "bytes_over_unique_rows": 1.08,
    "rows_read_once": True,
    "resumed_equal": True,
    "kills": len(KILLS),
    "kills_survived": len(KILLS),
}
BAD = {
    "weights_max_difference": 2e-6,
    "bytes_over_unique_rows": 1.2,
    "rows_read_once": False,
    "resumed_equal": False,
    "kills_survived": len(KILLS) - 1,
}


@pytest.mark.parametrize("name", BAD)
def test_each_promise_counts(name):
    assert kept_promises(GOOD) and not kept_promises({**GOOD, name: BAD[name]})
