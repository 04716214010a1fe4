"""Small logs as other programs write them, which were once read wrongly or refused badly.

They are in ``shared/cases`` beside the checkout, a config and a log each.
"""

import pyarrow.parquet as pq
import pytest

from steadyrank.pipeline.config import load_config
from steadyrank.pipeline.files.errors import InputError
from tests.helpers.settled import Settled, settle

ROWS = 600


@pytest.fixture
def case(request, pytestconfig):
    """The folder of a case, by its number."""
    cases = pytestconfig.rootpath.parent / "shared" / "cases"
    if not cases.is_dir():
        pytest.skip("needs shared/cases beside the checkout")
    (folder,) = cases.glob(f"{request.param}-*")
    return folder


def read(case, *changes) -> Settled:
    return settle(load_config(case / "c.yaml", list(changes)), case)


def is_whole(found: Settled) -> bool:
    return len(found.rows) == found.read == ROWS and not found.rejected


def said(case, *changes) -> str:
    """What is shown of the one reason for which rows are rejected, or all are refused."""
    try:
        found = read(case, *changes)
    except InputError as error:
        return str(error)
    (reason,) = found.said
    return reason + found.said[reason]


for_case = pytest.mark.parametrize


@for_case("case", ["02", "03"], indirect=True)
def test_a_header_is_text(case):
    assert is_whole(read(case))


@for_case("case", ["07"], indirect=True)
def test_escaped_quotes_are_read_or_refused_with_their_line(case):
    message = said(case)
    assert "line 2: a quote stands where none may be" in message
    assert "data.escape" in message
    found = read(case, r"data.escape='\'")
    titles = found.values("feature/title")
    assert is_whole(found)
    assert {'15" screen', 'say "hi" now'} <= {*titles}
    assert not [title for title in titles if "\\" in title]


@for_case("case", ["08"], indirect=True)
def test_the_null_of_hive_is_missing_among_numbers(case):
    assert is_whole(read(case))
    message = said(case, "data.null_values=[]")
    assert r'"\\N" in line 1 of ' in message
    assert r'"\\N" stands there 120 times' in message
    assert "data.null_values" in message


@for_case("case", ["09"], indirect=True)
def test_the_null_of_hive_is_no_item(case):
    found = read(case)
    assert is_whole(found)
    assert "\\N" not in found.values("feature/item_id")


@for_case("case", ["11"], indirect=True)
def test_true_and_false_are_labels(case):
    found = read(case)
    assert is_whole(found)
    labels = found.values("label/clicked")
    assert min(labels[0.0], labels[1.0]) > 100


@for_case("case", ["13"], indirect=True)
def test_rows_in_seconds_among_milliseconds_are_rejected_by_name(case):
    found, message = read(case), said(case)
    assert "ts: 1970-01-21, more than" in message
    assert "perhaps in s, not ms" in message
    assert '"1767225907" in line 2 of ' in message
    assert min(found.values("window")) == "2026-01-01"
    assert len(found.rows) + sum(found.rejected.values()) == ROWS
    assert sum(found.rejected.values()) > 0.01 * ROWS  # more than a config allows


@for_case("case", ["15"], indirect=True)
def test_utf_16_is_named_and_read(case):
    assert "data.encoding: utf-16" in said(case)
    assert is_whole(read(case, "data.encoding=utf-16"))


@for_case("case", ["16"], indirect=True)
def test_a_header_in_latin_1_is_named_and_read(case):
    assert "Set data.encoding, such as latin-1" in said(case)
    assert is_whole(read(case, "data.encoding=latin-1"))


@for_case("case", ["17"], indirect=True)
def test_a_decimal_comma_is_shown_and_read(case):
    message = said(case)
    assert '"7,68" in line 2 of ' in message and "data.decimal" in message
    found = read(case, "data.decimal=','")
    assert is_whole(found)
    assert found.values("feature/price")[7.68]


@for_case("case", ["92"], indirect=True)
def test_thousands_are_shown_and_read(case):
    message = said(case)
    assert '"7,680.00" in line 2 of ' in message and "data.thousands" in message
    found = read(case, "data.thousands=','")
    assert is_whole(found)
    assert found.values("feature/price")[7680.0]


@for_case("case", ["18"], indirect=True)
def test_a_part_of_no_bytes_is_passed_over_and_counted(case):
    found = read(case)
    assert is_whole(found)
    skipped = found.plan.log.passed_over.items()
    assert [(path[-14:], why) for path, why in skipped] == [("part-00001.csv", "0 bytes")]


@for_case("case", ["20"], indirect=True)
def test_years_that_nanoseconds_do_not_hold_are_rejected_and_not_moved(case):
    found = read(case)
    assert {window[:7] for window in found.values("window")} == {"2026-01"}
    assert len(found.rejected) == 2  # before 1900, and centuries after the others
    assert len(found.rows) + sum(found.rejected.values()) == ROWS


@for_case("case", ["23"], indirect=True)
def test_the_names_of_folders_are_a_column(case):
    found = read(case)
    assert is_whole(found)
    assert [*found.values("window")] == [f"2026-01-0{day}" for day in range(1, 7)]
    assert is_whole(read(case, "data.input=[log]"))


@for_case(("case", "least"), [("25", 2**53), ("26", 2**63)], indirect=["case"])
def test_ids_beyond_what_reals_and_int64_hold_are_exact(case, least):
    items = pq.read_table(case / "log.parquet", columns=["item_id"])["item_id"]
    found = read(case)
    assert is_whole(found)
    seen = {str(value) for value in found.values("feature/item_id")}
    assert seen == {str(value) for value in items.to_pylist()}
    assert min(map(int, seen)) > least


@for_case("case", ["27b"], indirect=True)
def test_the_lowest_integer_is_missing_as_it_is_in_serving(case):
    found = read(case)
    items = pq.read_table(case / "log.parquet")["item_id"].to_pylist()
    assert is_whole(found)
    assert -(2**63) in items
    seen = found.values("feature/item_id")
    assert {*seen} == {*items} - {-(2**63)}
    assert sum(seen.values()) == ROWS - items.count(-(2**63))


@for_case("case", ["29"], indirect=True)
def test_uuids_are_texts(case):
    found = read(case)
    assert is_whole(found)
    assert found.values("feature/user_id")["00000000-0000-0000-0000-00000000002a"]


@for_case("case", ["33"], indirect=True)
def test_arrays_of_a_fixed_length_are_lists(case):
    found = read(case)
    assert is_whole(found)
    assert sum(found.values("feature/tags").values()) == 2 * ROWS


@for_case("case", ["80", "81"], indirect=True)
def test_times_that_end_in_a_zone_are_read(case):
    assert is_whole(read(case))


@for_case("case", ["94"], indirect=True)
def test_an_id_that_pandas_wrote_as_a_real_is_the_same_id(case):
    found = read(case)
    assert is_whole(found)
    items = found.values("feature/item_id")
    assert len(items) == 40
    assert not [value for value in items if "." in value]
