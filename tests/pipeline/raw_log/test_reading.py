"""Generated files of known content, as programs write them: what is read is it."""

import csv
import datetime
import decimal
import gzip
import io
import uuid
import zoneinfo
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.config.time_format import time_pattern
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log import find
from steadyrank.pipeline.raw_log.columns import Notation, convert, to_floats, to_integers
from steadyrank.pipeline.raw_log.findings import Findings, count_days, count_spellings
from steadyrank.pipeline.raw_log.formats import lines as text_lines
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from steadyrank.pipeline.raw_log.times import to_ms
from steadyrank.pipeline.raw_log.zones import local_to_utc, utc_offset_ms
from tests.helpers.settled import settle
from tests.helpers.tiny import config_document

few = settings(max_examples=40, deadline=None)
TEXT = st.text(st.sampled_from('ab\\",; |N\u00e9\u4e2d01.:'), max_size=6)
ROWS = st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=12)
NAMES = ("00", "1e3", "12:30")  # a header is text, whatever it looks like


def read(path, needed=NAMES, **form):
    """Rows, lines on which they begin, and what was malformed."""
    log = open_log([str(path)], Form(**form), dict.fromkeys(needed, "features.x"))
    batches = [batch for piece in log.pieces for batch in piece.batches()]
    rows = [tuple(r.values()) for b in batches for r in b.table.to_pylist()]
    lines = [line for b in batches for line in b.lines.tolist()]
    bad = [r for b in batches if b.malformed is not None for r in b.malformed.to_pylist()]
    return rows, lines, bad


def wanted(rows):
    return [tuple(value or None for value in row) for row in rows]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reading")


@few
@given(
    rows=ROWS,
    delimiter=st.sampled_from([",", "\t", ";", "::", "\u00a6", "\x01"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030"]),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.sampled_from([7, 64, 1 << 20]),
    packed=st.booleans(),
)
def test_csv_of_any_dialect(folder, rows, delimiter, encoding, end, size, packed):
    quoted = [
        delimiter.join('"' + value.replace('"', '""') + '"' for value in row)
        for row in (NAMES, *rows)
    ]
    path = folder / ("x.csv.gz" if packed else "x.csv")
    data = (end.join(quoted) + end).encode(encoding)
    path.write_bytes(gzip.compress(data) if packed else data)
    form = {"delimiter": delimiter, "null_values": ()}
    if encoding not in ("utf-8", "utf-8-sig"):
        form["encoding"] = encoding
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", size)
        found, lines, bad = read(path, **form)
    assert found == wanted(rows)
    assert lines == [place + 2 for place in range(len(rows))]
    assert not bad


def as_spark(value: str) -> str:
    """As Spark writes a text with its defaults: quoted where it must be."""
    if any(mark in value for mark in ',"\n') or value != value.strip():
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return value


@few
@given(rows=ROWS, size=st.sampled_from([16, 1 << 20]))
@example(rows=[('15" screen', "C:\\temp", 'a\\"b')], size=16)
@example(rows=[("\\", "\\\\", '\\,"')], size=16)
def test_quotes_that_spark_escapes(folder, rows, size):
    path = folder / "spark.csv"
    text = "\n".join(",".join(map(as_spark, row)) for row in (NAMES, *rows))
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", size)
        found, lines, bad = read(path, escape="\\", null_values=())
    # a line of nothing is no row, and no CSV can tell it from one
    full = [(row, n) for n, row in enumerate(rows) if any(row)]
    assert [row for row in found if any(row)] == wanted(row for row, _ in full)
    assert not bad


@few
@given(rows=ROWS, size=st.sampled_from([16, 1 << 20]))
@example(rows=[("\\", "a\\", "\\N")], size=16)
def test_files_of_hive_whose_delimiters_are_escaped(folder, rows, size):
    def escaped(value):
        return value.replace("\\", "\\\\").replace(",", "\\,") if value else "\\N"

    path = folder / "hive.csv"
    text = "\n".join(",".join(map(escaped, row)) for row in (NAMES, *rows))
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", size)
        found, _, bad = read(path, escape="\\", quote=None, null_values=())
    assert not bad
    assert found == wanted(rows)


@few
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8), data=st.data())
def test_a_quote_is_read_as_it_was_meant_or_refused(folder, rows, data):
    """What a writer without quotes wrote is never read as something else."""
    texts = [",".join(v.replace(",", "") for v in row) for row in [("a", "b"), *rows]]
    path = folder / "bare.csv"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    try:
        found, _, bad = read(path, ("a",), null_values=())
    except InputError as error:
        assert any('"' in text for text in texts)
        assert "line " in str(error) and "data.quote: null" in str(error)
        return
    with io.StringIO("\n".join(texts) + "\n") as file:
        strict = [tuple(row) for row in csv.reader(file, strict=True)][1:]
    assert found == [tuple(v or None for v in row) for row in strict if len(row) == 2]
    assert len(bad) == sum(len(row) not in (0, 2) for row in strict)


@few
@given(
    kinds=st.lists(
        st.sampled_from(["row", "empty", "short", "latin"]), min_size=1, max_size=12
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    size=st.sampled_from([8, 1 << 20]),
)
def test_every_row_and_every_bad_line_is_told_with_its_place(folder, kinds, end, size):
    forms = {"row": b"a,b", "empty": b"", "short": b"x", "latin": b"\xe9,\xe9"}
    path = folder / "lines.csv"
    body = [b"k,v", *(forms[kind] for kind in kinds)]
    path.write_bytes(end.encode().join(body) + end.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", size)
        found, lines, bad = read(path, ("k", "v"))
    at = {kind: [n + 2 for n, k in enumerate(kinds) if k == kind] for kind in forms}
    assert found == [("a", "b")] * len(at["row"])
    assert lines == at["row"]
    assert sorted(row["line"] for row in bad) == sorted(at["short"] + at["latin"])
    assert all(row["line"] in at["latin"] for row in bad if row["reason"] == "not UTF-8")


def test_a_header_may_be_longer_than_a_block(folder):
    names = [f"column{number}" for number in range(6000)]
    path = folder / "wide.csv"
    path.write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n")
    found, _, _ = read(path, (names[-1],))
    assert found == [("1",) * 6000]


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


@few
@given(numbers=st.lists(st.integers(-(2**70), 2**70), min_size=1, max_size=6))
@example([2**63 - 1, 2**63, -(2**63), -(2**63) + 1, 2**53 + 1])
def test_whole_numbers_are_exact_in_every_type_or_bad(numbers):
    fits = [-(2**63) <= n < 2**63 for n in numbers]
    want = [n if f and n != -(2**63) else None for n, f in zip(numbers, fits, strict=True)]
    deep = pa.array(list(map(decimal.Decimal, numbers)), pa.decimal128(38, 0))
    shifted = pa.array(list(map(decimal.Decimal, numbers)), pa.decimal256(60, 7))
    for values in (deep, shifted):
        found, bad = to_integers(values)
        assert (found.to_pylist(), (~bad).tolist()) == (want, fits)
        texts, odd = convert(values, "string", "")
        assert texts.to_pylist() == list(map(str, numbers)) and not odd.any()
    found, bad = to_integers(pa.array(list(map(str, numbers))))
    assert (~bad).tolist() == [abs(n) < 2**63 for n in numbers]
    assert [n for n in found.to_pylist() if n] == [
        n for n in numbers if n and abs(n) < 2**63
    ]


@few
@given(
    number=st.decimals(-(10**9), 10**9, allow_nan=False, places=2),
    marks=st.sampled_from(
        [(".", ","), (",", "."), (",", " "), (".", "'"), (",", "\u202f")]
    ),
)
def test_numbers_as_people_write_them(number, marks):
    point, group = marks
    text = f"{number:,.2f}".replace(",", "\0").replace(".", point).replace("\0", group)
    found, bad = to_floats(pa.array([text, "1,2,3", "1.2.3"]), Notation(point, group))
    assert found.to_pylist() == [float(number), None, None]
    assert bad.tolist() == [False, True, True]


@pytest.mark.parametrize("word", ["true", "TRUE", "t", "True", "1"])
def test_words_of_truth_are_numbers(word):
    other = {"1": "0", "t": "f"}.get(word, "False")
    found, bad = to_floats(pa.array([word, other, "yes", None]))
    assert found.to_pylist() == [1.0, 0.0, None, None]
    assert bad.tolist() == [False, False, True, False]


SPELLED = st.sampled_from(["107", "107.0", "8.00", "-3", "", "007"])


@few
@given(st.lists(st.lists(SPELLED | st.sampled_from(["x1", "1.5"]), max_size=4), min_size=1))
def test_a_column_is_of_whole_numbers_only_where_all_its_values_are(files):
    counts = Counter()
    for values in files:
        table = pa.table({"a/b": pa.array(values, pa.string())})
        counts.update(count_spellings(table, ["a/b"]))
    values = [value for file in files for value in file if value]
    pointed = any("." in value for value in values)
    other = any(value in ("x1", "1.5") for value in values)
    data = parse_config(config_document(), "c").data
    found = Findings.of(counts, data, "t")
    assert (found.whole == {"a/b"}) == (pointed and not other)


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


@few
@given(st.lists(st.uuids() | st.none(), min_size=1, max_size=5), st.integers(0, 2))
def test_uuids_are_their_texts(folder, ids, start):
    path = folder / "ids.parquet"
    values = pa.array([i and i.bytes for i in ids], pa.uuid())
    ends = np.cumsum([0] + [i is not None for i in ids]).astype(np.int32)
    missing = pa.array([i is None for i in ids])
    lists = pa.ListArray.from_arrays(pa.array(ends), values.drop_null(), mask=missing)
    table = pa.table({"a": values, "b": lists}).slice(start)
    pq.write_table(table, path, store_schema=False)
    assume(len(table))
    log = open_log([str(path)], Form(), {"a": "features.a", "b": "features.b"})
    (batch,) = log.pieces[0].batches()
    texts = [i and str(uuid.UUID(bytes=i.bytes)) for i in ids][start:]
    assert batch.table["a"].to_pylist() == texts
    assert batch.table["b"].to_pylist() == [t and [t] for t in texts]


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


def test_what_patterns_match_is_read_or_named(tmp_path):
    for name in (
        "log/a.csv",
        "log/_SUCCESS",
        "log/.a.csv.crc",
        "log/_temporary/0/b.csv",
        "log/dt=1/c.csv",
        "x[1].csv",
        "d[2]/y.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("k\n1\n")
    every = {str(p) for p in (tmp_path / "log").rglob("*") if p.is_file()}
    for pattern, read_ in (
        ("log/*", {"log/a.csv"}),
        ("log", {"log/a.csv", "log/dt=1/c.csv"}),
        ("log/**", {"log/a.csv", "log/dt=1/c.csv"}),
        ("log/*/*.csv", {"log/dt=1/c.csv"}),
    ):
        found = find.find([str(tmp_path / pattern)])
        assert {*found.files} == {str(tmp_path / name) for name in read_}
        if pattern in ("log/*", "log", "log/**"):
            assert {*found.files, *found.passed_over} == every
    for name in ("x[1].csv", "d[2]/*.csv", "d[[]2]/*.csv", "log/.a.csv.crc"):
        assert len(find.find([str(tmp_path / name)]).files) == 1
        assert find.is_meant(
            find.find([str(tmp_path / name)]).files[0], str(tmp_path / name)
        )
    with pytest.raises(InputError, match="no such file. Passed over: .*_SUCCESS .hidden"):
        find.find([str(tmp_path / "log" / "_S*")])
    (tmp_path / "log" / "_delta_log").mkdir()
    (tmp_path / "log" / "_delta_log" / "0.json").write_text("{}")
    with pytest.raises(InputError, match="is a table of Delta"):
        find.find([str(tmp_path / "log")])


def test_folders_and_files_that_lack_a_column(tmp_path):
    for day, table in (
        ("2026-01-01", {"a": [1], "b": ["x"]}),
        ("__HIVE_DEFAULT_PARTITION__", {"a": [2.0]}),
        ("a%20b", {"a": [3], "b": ["y"], "dt": ["own"]}),
    ):
        folder = tmp_path / f"dt={day}"
        folder.mkdir()
        pq.write_table(pa.table(table), folder / "p.parquet")
    needs = {name: f"features.{name}" for name in ("a", "b", "dt")}
    log = open_log([str(tmp_path)], Form(), needs)
    rows = [r for p in log.pieces for b in p.batches() for r in b.table.to_pylist()]
    found = {row["a"]: (row["b"], row["dt"]) for row in rows}
    assert found == {1: ("x", "2026-01-01"), 2: (None, None), 3: ("y", "own")}
    assert [len(paths) for paths in log.absent.values()] == [1]
    with pytest.raises(InputError, match="no column 'b', which data.time needs"):
        open_log([str(tmp_path)], Form(), needs | {"b": "data.time"})


def split_log(folder, **data):
    """A log of 240 rows of 12 users, whose parts are named; and what is read of it."""
    words = ["train", "TRAIN ", "training", "val", "test", "eval"]
    rows = [
        {"user": n % 12, "item": n, "part": words[n % 6], "click": 1} for n in range(240)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "parts.parquet")
    document = {
        "data": {"input": ["parts.parquet"], "group": "user", **data},
        "features": [{"name": "item", "kind": "categorical"}],
        "tasks": [{"name": "click"}],
        "model": {"trunk": "lr"},
    }
    return settle(parse_config(document, "c"), folder)


def test_a_column_says_where_a_row_belongs(folder):
    found = split_log(folder, split={"column": "part"})
    assert found.values("split") == {"train": 120, "validation": 80, "test": 40}
    found = split_log(folder, split={"column": "item"})
    assert found.rejected == {"item: neither train, validation nor test": 240}


def test_all_rows_of_a_group_are_in_one_split(folder):
    found = split_log(folder, split={"validation": 0.3, "test": 0.3, "by": "group"})
    pairs = set(
        zip(found.rows["group"].to_pylist(), found.rows["split"].to_pylist(), strict=True)
    )
    assert len(pairs) == 12
    assert {split for _, split in pairs} == {"train", "validation", "test"}


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"column": "part", "test": 0.1}, "column says it all"),
        ({"validation": "2024-01-01"}, "needs validation and test"),
        (
            {"validation": "2024-01-01", "test": "2024-01-02", "by": "group"},
            "by: group needs",
        ),
    ],
)
def test_splits_that_say_too_much_or_too_little_are_refused(split, said):
    with pytest.raises(InputError, match=said):
        parse_config(config_document(data__split=split), "c")
