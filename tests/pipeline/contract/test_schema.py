"""The contract as a schema, and as a section of the report."""

import json

import pytest

from steadyrank.pipeline.contract.schema import _quoted as quoted
from steadyrank.pipeline.report.contract import contract as section
from tests.helpers import tiny
from tests.helpers.profiles import day, held, statistics


def test_the_contract_is_a_schema_of_tensorflow_metadata(second):
    text_format = pytest.importorskip("google.protobuf.text_format")
    pb2 = pytest.importorskip("tensorflow_metadata.proto.v0.schema_pb2")
    text = (second / "schema.pbtxt").read_text()
    found = {f.name: f for f in text_format.Parse(text, pb2.Schema()).feature}
    assert [*found] == [feature["name"] for feature in tiny.CONFIG["features"]]
    assert found["price"].type == pb2.FLOAT and found["item"].type == pb2.BYTES
    days = statistics(second)["contract"]["days"].values()
    least = min(1 - d["features"]["price"]["missing"] / d["rows"] for d in days) - 0.1
    assert found["price"].presence.min_fraction == pytest.approx(least, abs=1e-5)


def test_texts_of_a_schema_are_quoted():
    assert quoted('a"b\\é') == '"a\\042b\\134\\303\\251"'


def test_the_report_has_a_section_of_it(second):
    manifest = json.loads((second / "manifest.json").read_text())
    page = section(manifest["contract"])
    assert f"PASS: {tiny.DATES[4]}, {tiny.DATES[5]}, held to 4 days" in page
    assert "distance" in page and "Reason" not in page
    found = held({"2024-03-06": day(7, times=1000)})
    assert "numbers are 940 times what they were" in section(found)
    assert "No new day" in section(held({}))
