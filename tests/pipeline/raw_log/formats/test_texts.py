"""CSV of any dialect, as programs write it: what is read is what was written."""

import csv
import gzip
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats import lines as text_lines
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from tests.helpers.read_files import few

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
