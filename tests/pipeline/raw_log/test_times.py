"""Moments in every zone, form and unit are the moments that were meant."""

import datetime
import zoneinfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.config.time_format import time_pattern
from steadyrank.pipeline.raw_log.columns import convert
from steadyrank.pipeline.raw_log.findings import Findings, count_days
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from steadyrank.pipeline.raw_log.times import to_ms
from steadyrank.pipeline.raw_log.zones import local_to_utc, utc_offset_ms
from tests.helpers.read_files import few
from tests.helpers.tiny import config_document


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reading")


ZONES = sorted(
    zone for zone in zoneinfo.available_timezones() if zone[0].isupper() and "/" in zone
)

SECONDS = st.integers(-2_000_000_000, 3_000_000_000)

UTC = datetime.timezone.utc


@settings(max_examples=150, deadline=None)
@given(zone=st.sampled_from(ZONES), seconds=st.lists(SECONDS, min_size=1, max_size=5))
@example("Australia/Lord_Howe", [1_696_089_599, 1_696_089_600, 1_680_361_199])
@example("Africa/Monrovia", [63_593_069, 63_593_070, 63_593_071])
@example("America/St_Johns", [1_143_948_659, 1_143_948_660])
@example("Asia/Kathmandu", [504_901_799, 504_901_800])
def test_offsets_are_exact_in_every_zone(zone, seconds):
    zoned = zoneinfo.ZoneInfo(zone)
    moments = [datetime.datetime.fromtimestamp(s, UTC).astimezone(zoned) for s in seconds]
    want = [round(m.utcoffset().total_seconds() * 1000) for m in moments]
    assert utc_offset_ms(np.array(seconds) * 1000, zone).tolist() == want


@settings(max_examples=150, deadline=None)
@given(zone=st.sampled_from(ZONES), seconds=st.lists(SECONDS, min_size=1, max_size=5))
@example("Australia/Lord_Howe", [1_680_364_800, 1_680_363_000])
@example("Pacific/Apia", [1_325_239_200])
def test_local_times_come_back_as_the_later_of_two_moments(zone, seconds):
    ms = np.array(seconds) * 1000
    local = ms + utc_offset_ms(ms, zone)
    back = local_to_utc(local, zone)
    assert (back + utc_offset_ms(back, zone) == local).all()
    assert (back >= ms).all()
    naive = [
        datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=int(m))
        for m in local
    ]
    zoned = zoneinfo.ZoneInfo(zone)
    want = [n.replace(tzinfo=zoned, fold=1).timestamp() * 1000 for n in naive]
    assert back.tolist() == [round(w) for w in want]


FORMS = {  # a writer -> how it ends a moment of UTC, and of +05:30
    "BigQuery": ("%Y-%m-%d %H:%M:%S UTC", "{} UTC", 0),
    "Postgres": ("%Y-%m-%d %H:%M:%S", "{}+00", 0),
    "Postgres in India": ("%Y-%m-%d %H:%M:%S", "{}+05:30", 330),
    "Spark": ("%Y-%m-%dT%H:%M:%S", "{}.000Z", 0),
    "Spark in India": ("%Y-%m-%dT%H:%M:%S", "{}.000+05:30", 330),
    "Java": ("%Y-%m-%dT%H:%M:%S", "{}.123456789-0800", -480),
    "Trino": ("%Y-%m-%d %H:%M:%S", "{}.000 UTC", 0),
    "Snowflake": ("%Y-%m-%d %H:%M:%S", "{}.000 -0800", -480),
    "DuckDB": ("%Y-%m-%d %H:%M:%S", "{}-08", -480),
    "pandas": ("%Y-%m-%d %H:%M:%S", "{}+00:00", 0),
    "ISO with a comma": ("%Y-%m-%dT%H:%M:%S", "{},5Z", 0),
    "nothing": ("%Y-%m-%d %H:%M:%S", "{}", 0),
}


@few
@given(
    seconds=st.lists(st.integers(-2_000_000_000, 7_000_000_000), min_size=1, max_size=6),
    data=st.data(),
)
def test_times_as_databases_write_them(seconds, data):
    texts = []
    for second in seconds:
        form, end, minutes = FORMS[data.draw(st.sampled_from(sorted(FORMS)))]
        local = datetime.datetime(1970, 1, 1) + datetime.timedelta(
            seconds=second, minutes=minutes
        )
        texts.append(end.format(local.strftime(form.replace(" UTC", ""))))
    ms, bad = to_ms(pa.array(texts), "s", "UTC")
    assert not bad.any()
    assert (ms // 1000).tolist() == seconds


@few
@given(
    moments=st.lists(
        st.datetimes(datetime.datetime(1970, 1, 1), datetime.datetime(2068, 12, 31)),
        min_size=1,
        max_size=5,
    ),
    form=st.sampled_from(
        ["%d/%m/%Y %H:%M:%S", "%m/%d/%y %I:%M:%S %p", "%Y%m%d%H%M%S", "%d-%b-%Y %H:%M:%S"]
        + ["%a, %d %B %Y %H:%M:%S.%f", "%Y.%m.%d %H:%M:%S.%f"]
    ),
    good=st.booleans(),
)
def test_times_in_a_format_of_the_config(moments, form, good):
    texts = [m.strftime(form) for m in moments] + ([] if good else ["31/02/2024", "x", ""])
    ms, bad = to_ms(pa.array(texts), "ms", "UTC", form)
    want = [datetime.datetime.strptime(m.strftime(form), form) for m in moments]
    epoch = datetime.datetime(1970, 1, 1)
    want = [(m - epoch) // datetime.timedelta(milliseconds=1) for m in want]
    assert ms[: len(want)].tolist() == want
    assert bad.tolist() == [False] * len(want) + [True] * (len(texts) - len(want))


def test_whole_numbers_may_be_days_by_the_config():
    ms, bad = to_ms(pa.array([20260105, 20261301]), "s", "UTC", "%Y%m%d")
    assert (ms[0], bad.tolist()) == (1_767_571_200_000, [False, True])
    with pytest.raises(ValueError, match="the same twice"):
        time_pattern("%Y-%m-%d %Y")


DAY = 86_400_000


@few
@given(
    strays=st.lists(st.sampled_from([-20_000, -3000, 3000, 60_000]), max_size=3),
    most=st.integers(1, 500),
)
def test_days_far_from_the_others_are_out_of_time(strays, most):
    ms = np.array([(20_000 + day) * DAY for day in range(0, 40, 1)] * 3, np.int64)
    other = np.array([(20_000 + day) * DAY for day in strays], np.int64)
    config = parse_config(config_document(data__max_gap_days=most), "c")
    counts = count_days(np.concatenate([ms, other]))
    found = Findings.of(counts, config.data, "t")
    assert not found.out_of_time(ms).any()
    assert all(found.out_of_time(other))


@pytest.mark.parametrize(
    ("unit", "other", "factor"),
    [("ms", "s", 1e-3), ("us", "ms", 1e-3), ("us", "s", 1e-6), ("ns", "us", 1e-3)],
)
def test_the_unit_of_days_out_of_time_is_suspected(unit, other, factor):
    usual = 20_500 * DAY
    counts = count_days(np.array([usual] * 3 + [int(usual * factor)]))
    data = parse_config(config_document(data__time_unit=unit), "c").data
    found = Findings.of(counts, data, "ts")
    assert f"perhaps in {other}, not {unit}" in found.early


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_a_moment_is_one_id_in_every_unit(unit, zone):
    values = pa.array([0, 86_399], pa.timestamp("s", zone)).cast(pa.timestamp(unit, zone))
    end = "Z" if zone else ""
    found, _ = convert(values, "string", "")
    assert found.to_pylist() == [
        f"1970-01-01 {time}{end}" for time in ("00:00:00", "23:59:59")
    ]


@pytest.mark.parametrize("year", [1000, 1601, 1900, 2026, 2500, 9000])
def test_years_of_int96_are_where_they_are(folder, year):
    path = folder / "int96.parquet"
    moment = pa.array([datetime.datetime(year, 1, 2)], pa.timestamp("us"))
    table = pa.table({"t": moment})
    if 1700 < year < 2200:
        pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    else:
        pq.write_table(table, path)
    log = open_log([str(path)], Form(), {"t": "data.time"})
    (batch,) = log.pieces[0].batches()
    assert batch.table["t"].to_pylist()[0].year == year
