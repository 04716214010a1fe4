"""Numbers are exact, in every type and in every spelling."""

import decimal
import uuid
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.raw_log.columns import Notation, convert, to_floats, to_integers
from steadyrank.pipeline.raw_log.findings import Findings, count_spellings
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import open_log
from tests.helpers.read_files import few
from tests.helpers.tiny import config_document


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reading")


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
