"""The poisoned day of the nightly benchmark: other rows' labels, and only on that day."""

import datetime
import zoneinfo

import pyarrow as pa

from benchmarks.nightly import POISONED, ZONE, days_of, poison


def test_one_days_labels_change_places():
    zone = zoneinfo.ZoneInfo(ZONE)
    start = datetime.datetime(2022, 5, 1, 0, 30, tzinfo=zone)
    moments = [start + datetime.timedelta(hours=number) for number in range(72)]
    log = pa.table(
        {
            "time_ms": [int(moment.timestamp() * 1000) for moment in moments],
            "is_click": list(range(72)),
            "other": list(range(72)),
        }
    )
    assert days_of(log) == [moment.date().isoformat() for moment in moments]
    found = poison(log, POISONED, ["is_click"])
    assert found["other"] == log["other"] and found["time_ms"] == log["time_ms"]
    labels = found["is_click"].to_pylist()
    assert labels[:24] == list(range(24)) and labels[48:] == list(range(48, 72))
    assert labels[24:48] != list(range(24, 48))
    assert sorted(labels[24:48]) == list(range(24, 48))
