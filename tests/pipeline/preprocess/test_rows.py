"""Keys, groups and lists as rows hold them, whatever their type."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.components.metrics import grouped as metrics
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.records import NO_GROUP
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.metrics.predict import own_groups
from steadyrank.pipeline.preprocess.encode import pad_lists
from steadyrank.pipeline.preprocess.rows import group_numbers
from steadyrank.pipeline.raw_log.join import join_side
from tests.helpers import naive, tiny
from tests.helpers.dirty_log import dirty_rows
from tests.helpers.preprocessed import run, schema, vocabulary


@pytest.fixture(scope="module")
def rows():
    return dirty_rows()


@pytest.fixture(scope="module")
def done(tmp_path_factory, rows):
    return run(tmp_path_factory.mktemp("dirty"), rows)


@pytest.fixture(scope="module")
def expected(rows):
    return naive.preprocess(rows, tiny.make_users())


def test_keys_of_other_types_still_find_their_partner(tmp_path, rows, done):
    """A log whose key became real through missing values, as pandas writes it."""

    def write(rows, path):
        tiny.write_parquet(rows, path)
        table = pq.read_table(path)
        index = table.column_names.index("user")
        reals = table["user"].cast(pa.float64())
        pq.write_table(table.set_column(index, "user", reals), path)

    _, manifest = run(tmp_path, rows, write=write)
    ours, theirs = manifest["unmatched"].values(), done[1]["unmatched"].values()
    assert list(ours) == list(theirs)


def test_a_group_is_one_whether_whole_or_real():
    whole, real = pa.array([7, None, 2**40]), pa.array([7.0, None, 2.0**40])
    assert group_numbers(whole).to_pylist() == [7, NO_GROUP, 2**40]
    assert group_numbers(real).equals(group_numbers(whole))
    a, b, c = group_numbers(pa.array([0.5, 0.5, 7.5])).to_pylist()
    assert a == b != c


def test_a_group_is_missing_where_a_feature_would_be():
    texts = pa.array(["a", None, "", "a"])
    of_type = [texts, texts.cast(pa.large_string()), texts.dictionary_encode()]
    of_type += [pa.DictionaryArray.from_arrays([0, 1, 1, 0], ["a", None])]
    of_type += [pa.array([0.5, float("nan"), None, 0.5])]
    for values in of_type:
        first, *missing, last = group_numbers(values).to_pylist()
        assert missing == [NO_GROUP] * 2 and first == last != NO_GROUP, values.type


def test_a_group_is_the_same_in_files_of_other_types():
    whole = pa.array([1, None, 7])
    others = [whole.cast(t) for t in (pa.uint64(), pa.int8(), pa.float64())]
    others += [whole.cast(pa.decimal128(21, 2)), whole.dictionary_encode()]
    for values in others:
        assert group_numbers(values).to_pylist() == [1, NO_GROUP, 7], values.type


def test_rows_without_a_group_are_a_group_each():
    found = own_groups(np.array([7, NO_GROUP, -1, NO_GROUP, 7, NO_GROUP]))
    assert found[0] == found[4] == 7 and found[2] == -1
    assert len(set(found.tolist())) == 5
    # of 7's two rows one is positive and ranked first; the others say nothing of a user
    labels, scores = np.array([1, 0, 0, 1, 0, 0]), np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.7])
    assert metrics.gauc(labels, scores, found) == 1.0
    np.testing.assert_array_equal(own_groups(np.array([3, 3])), [3, 3])


def test_keys_with_dictionaries_find_their_partner():
    keys, known = pa.array(["b", None, "x", "a"]), pa.array(["a", "b"])
    for left in (keys, keys.dictionary_encode()):
        for right in (known, known.dictionary_encode()):
            side = pa.table({"key": right, "age": [1, 2]})
            found, unmatched = join_side(pa.table({"key": left}), side, "key", "side_")
            assert found["side_age"].to_pylist() == [2, None, None, 1]
            assert unmatched == 2


KEY = st.integers(-5, 5) | st.sampled_from([-(2**63), 2**63 - 1])


@given(st.lists(KEY, unique=True), st.lists(KEY | st.none()), st.booleans())
def test_a_join_is_a_look_up(known, keys, in_order):
    known = sorted(known) if in_order else known
    side = {key: str(key) for key in known}
    table = pa.table({"key": pa.array(keys, pa.int64())})
    other = pa.table({"key": pa.array(known, pa.int64()), "name": list(side.values())})
    found, unmatched = join_side(table, other, "key", "")
    expected = [side.get(key) for key in keys]
    assert found["name"].to_pylist() == expected
    assert unmatched == expected.count(None)


def test_files_may_hold_ids_as_whole_numbers_and_as_reals(tmp_path):
    """As pandas writes them where some are missing; large ones stay what they are."""
    large = 2**60 + 1  # as a real it would be 2**60
    rows = tiny.make_rows(300)
    for row in rows:
        row["item"] = row["number"] % 7 + large * (row["number"] % 2 == 0)
        row["tags"] = [row["item"], 5] if row["number"] % 3 else []
    rows[4] |= {"click": 7}  # to be rejected, one of each file
    rows[201] |= {"item": None, "click": 7}
    write_parts(rows, tmp_path)
    features = [dict(feature) for feature in tiny.CONFIG["features"]]
    del features[2]["separator"]
    config = tiny.config_document(data__input=["?.parquet"], features=features)
    manifest = preprocess(parse_config(config, "c"), tmp_path, tmp_path / "out")
    assert manifest["rows"]["rejected"] == {"label click: neither 0 nor 1": 2}
    items = {str(row["item"]) for row in rows[:200]}
    assert set(vocabulary(tmp_path / "out", "item")) == items and len(items) == 14
    assert str(large) in vocabulary(tmp_path / "out", "tags")


@pytest.mark.parametrize("empty", [None, []])
def test_a_column_without_a_value_in_one_file_is_of_the_type_of_another(tmp_path, empty):
    rows = [{**row, "recent": [row["item"]] * 2} for row in tiny.make_rows(300)]
    rows[::2] = [
        {**row, "item": None, "tags": None, "price": None, "recent": empty}
        for row in rows[::2]
    ]
    tiny.write_parquet(rows[::2], tmp_path / "a.parquet")
    tiny.write_parquet(rows[1::2], tmp_path / "b.parquet")
    first = pq.read_schema(tmp_path / "a.parquet")
    assert first.field("item").type == first.field("tags").type == pa.null()
    tiny.write_parquet(tiny.make_users(), tmp_path / "users.parquet")
    features = [*tiny.CONFIG["features"], tiny.RECENT]
    config = tiny.config_document(data__input=["?.parquet"], features=features)
    manifest = preprocess(parse_config(config, "c"), tmp_path, tmp_path / "out")
    assert manifest["rows"]["written"] == 300
    raw = {f["name"]: f["raw"] for f in schema(tmp_path / "out")["features"]}
    assert raw["item"] == raw["tags"] == raw["recent"] == "string"
    recent = {row["item"] for row in rows[1:200:2]} - {None}
    assert set(vocabulary(tmp_path / "out", "recent")) == recent


def write_parts(rows, folder):
    """Two files: of the second, ids and lists of them are reals."""
    tiny.write_parquet(rows[::2], folder / "a.parquet")
    tiny.write_parquet(rows[1::2], folder / "b.parquet")
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    table = pq.read_table(folder / "b.parquet")
    for name, kind in (("item", pa.float64()), ("tags", pa.list_(pa.float64()))):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(kind))
    pq.write_table(table, folder / "b.parquet")


def test_list_columns_of_integers_and_columns_nobody_reads(tmp_path, rows):
    rows = [
        {**row, "recent": [1, None, row["number"] % 5, 9][: row["number"] % 5]}
        for row in rows
    ]
    rows = [{**row, "junk": {"a": row["number"]}, "blob": b"\xff"} for row in rows]
    features = [*tiny.CONFIG["features"], tiny.RECENT]
    output, manifest = run(tmp_path, rows, changes={"features": features})
    assert manifest["rows"]["duplicates"] == 4
    assert set(vocabulary(output, "recent")) == {"1", "3", "4", "9"}
    assert vocabulary(output, "recent")[0] == "1"


def test_lists_are_padded_and_cut_by_hand():
    lists = pa.array([[1], [], None, [2, 3, 4], [5, 6]])
    ids = np.array([11, 12, 13, 14, 15, 16])
    matrix, cut = pad_lists(lists, ids, 2)
    assert matrix.tolist() == [[11, 0], [0, 0], [0, 0], [12, 13], [15, 16]]
    assert cut == 1
    matrix, cut = pad_lists(lists, ids, 2, latest=True)
    assert matrix.tolist() == [[0, 11], [0, 0], [0, 0], [13, 14], [15, 16]]
    assert cut == 1
