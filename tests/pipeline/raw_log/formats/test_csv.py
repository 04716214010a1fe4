"""CSV files that are not as they should be: read, rejected or refused, line by line."""

import gzip
import shutil

import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.formats import lines as text_lines
from steadyrank.pipeline.raw_log.formats.base import Form, Piece
from steadyrank.pipeline.raw_log.formats.csv import Csv
from tests.helpers import tiny
from tests.helpers.log_on_disk import ROWS, refused, run


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


@pytest.mark.parametrize("text", ["", "\n", ",".join(tiny.COLUMNS) + "\n"])
def test_a_csv_file_without_rows_is_refused(folder, text):
    (folder / "log.csv").write_text(text)
    message = refused(folder, data__input=["log.csv"])
    assert "log.csv" in message
    assert "empty" in message or "no rows" in message


@pytest.mark.parametrize("columns", [(), ("user", "click")])
@pytest.mark.parametrize("rows", [1, 40, 30_000])
def test_rows_are_foretold_by_the_first_of_them(tmp_path, rows, columns):
    """By the bytes of a line, so that a small file's are known and a long one's about."""
    text = "".join(f"{number % 97},1\n" for number in range(rows))
    (tmp_path / "log.csv").write_text(text if columns else "user,click\n\n" + text)
    _, _, found = Csv(Form(columns=columns)).look(str(tmp_path / "log.csv"))
    assert abs(found - rows) <= rows / 100


def csv_lines(folder, count=None):
    path = folder / "log.csv"
    tiny.write_csv(ROWS[:count], path)
    return path, path.read_bytes().splitlines()


def test_malformed_csv_lines_are_rejected_and_kept(folder):
    path, lines = csv_lines(folder)
    lines[5:5] = [b"1,2,3"]
    lines.append(b"x," * 20)
    path.write_bytes(b"\n".join(lines) + b"\n")
    manifest = run(folder, data__input=["log.csv"])
    assert manifest["rows"]["rejected"] == {
        "CSV line has 3 columns instead of 10": 1,
        "CSV line has 21 columns instead of 10": 1,
    }
    assert manifest["rows"]["read"] == 242
    rejected = pq.read_table(folder / "out" / "rejected" / "rows.parquet")
    assert "1,2,3" in rejected["text"].to_pylist()


def batches(path, **form):
    """The rows of a CSV file, and the lines that are none."""
    read = list(Piece(str(path), Csv(Form(**form))).batches())
    rows = [tuple(row.values()) for batch in read for row in batch.table.to_pylist()]
    bad = [b.malformed["text"].to_pylist() for b in read if b.malformed is not None]
    bad = [text for texts in bad for text in texts]
    return rows, bad


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,2\n"best,2\n3,4\n5,6\n', "line 3: .*'\"best,2"),
        ('a,b\n1,2\n1,"best\n3,4\n5,"6"\n', "line 3: .*'1,\"best"),
        ('a,b\r1,2\r1,"best\r3,4\r', "line 3"),
        ('a,b\n1,2\n1,"best\n3,4', "line 3"),
        ('a,"b\n1,2\n3,4"\n', "line 1: .*'a,\"b"),
    ],
)
def test_a_quote_that_is_never_closed_is_refused_and_not_one_row(tmp_path, text, said):
    (tmp_path / "x.csv").write_bytes(text.encode())
    with pytest.raises(InputError, match=f"x.csv: .*{said}") as caught:
        batches(tmp_path / "x.csv")
    assert "data.quote: null" in str(caught.value)
    assert "data.multiline: true" in str(caught.value)


def test_files_without_quotes_and_with_line_breaks_in_them_are_read(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    path.write_text('a,b\n1,2\n"best,2\n3,"4\n')
    rows = [("1", "2"), ('"best', "2"), ("3", '"4')]
    assert batches(path, quote=None) == (rows, [])
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 16)
    path.write_text('a,b\n1,"2\n3\n4\n5\n6"\n7,8\n')
    assert batches(path, multiline=True) == ([("1", "2\n3\n4\n5\n6"), ("7", "8")], [])
    with pytest.raises(InputError, match="x.csv: .*data.multiline: true"):
        batches(path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_whole_csv_files_are_read_whatever_ends_their_lines(tmp_path, end, pack):
    name = "x.csv" if pack is bytes else "x.csv.gz"
    lines = ["\ufeffa,b", "1,2", "", '"3","4,5"', "6", "", "7,8"]
    for last in ("", end, end + end):
        (tmp_path / name).write_bytes(pack((end.join(lines) + last).encode()))
        rows = [("1", "2"), ("3", "4,5"), ("7", "8")]
        assert batches(tmp_path / name) == (rows, ["6"])


def test_csv_values_that_are_no_numbers_are_rejected(folder):
    rows = [dict(row) for row in ROWS]
    rows[0]["price"], rows[1]["click"], rows[2]["time_ms"] = "cheap", "yes", "noon"
    tiny.write_csv(rows, folder / "log.csv")
    manifest = run(folder, data__input=["log.csv"])
    assert manifest["rows"]["rejected"] == {
        "feature price: not a number": 1,
        "label click: not a number": 1,
        "time_ms: no readable time": 1,
    }


def test_lines_that_are_not_utf8_are_rejected(tmp_path, monkeypatch):
    """Also where blocks before them were read as text."""
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", 64)
    lines = [b"%d,x%d" % (n, n) for n in range(200)]
    rows = [(str(n), f"x{n}") for n in range(200) if n not in (9, 120, 150)]
    lines[9], lines[120], lines[150] = b"9", b"120,a\xff", b"\xfe,\xc3"
    (tmp_path / "x.csv").write_bytes(b"a,b\n" + b"\n".join(lines))
    assert batches(tmp_path / "x.csv") == (rows, ["9", "120,a\ufffd", "\ufffd,\ufffd"])


def test_a_header_line_that_nothing_ends_is_a_file_without_rows(tmp_path):
    (tmp_path / "x.csv").write_text("a,b")
    assert batches(tmp_path / "x.csv") == ([], [])


def test_csv_with_a_byte_order_mark_and_crlf_reads_as_without(folder):
    path, lines = csv_lines(folder)
    wanted = run(folder, data__input=["log.csv"])
    shutil.rmtree(folder / "out")
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n")
    assert run(folder, data__input=["log.csv"])["rows"] == wanted["rows"]


def test_csv_with_a_column_twice_is_refused(folder):
    path, lines = csv_lines(folder)
    lines[0] = lines[0].replace(b"tags", b"item")
    path.write_bytes(b"\n".join(lines))
    assert "column names must differ" in refused(folder, data__input=["log.csv"])


@pytest.mark.parametrize("damage", ["cut", "flipped", "plain"])
def test_a_damaged_gzip_file_is_named(folder, damage):
    path, _ = csv_lines(folder)
    good = gzip.compress(path.read_bytes(), mtime=0)
    packed = folder / "log.csv.gz"
    packed.write_bytes(good)
    assert run(folder, data__input=["log.csv.gz"])["rows"]["read"] == 240
    shutil.rmtree(folder / "out")
    half = len(good) // 2
    packed.write_bytes(
        {
            "cut": good[:half],
            "flipped": good[:half] + b"\0" * 50 + good[half + 50 :],
            "plain": path.read_bytes(),
        }[damage]
    )
    message = refused(folder, data__input=["log.csv.gz"])
    assert "log.csv.gz" in message
