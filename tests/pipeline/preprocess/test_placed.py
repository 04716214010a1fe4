"""Lists that rows point at, beside slices of plain lists."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from steadyrank.pipeline.preprocess.placed import as_places, with_lists

HELD = {3: "abcdefg", 0: "", 5: "xyz"}
SPAN = st.sampled_from(sorted(HELD)).flatmap(
    lambda bucket: st.tuples(
        st.just(bucket),
        *[st.integers(0, len(HELD[bucket]))] * 2,
    )
)


@given(st.lists(SPAN, max_size=12), st.integers(1, 12))
def test_rows_get_what_they_point_at(spans, cut):
    rows = [(bucket, min(ends), max(ends)) for bucket, *ends in spans]
    columns = [
        as_places("seen", bucket, *(pa.array([end]).to_numpy() for end in ends))
        for bucket, *ends in rows
    ]
    empty = pa.schema([("__place/seen", pa.int64()), ("__length/seen", pa.int32())])
    table = pa.concat_tables([empty.empty_table(), *map(pa.table, columns)])
    table = table.append_column("row", pa.array(range(len(rows))))

    def values(name: str, bucket: int) -> pa.Array:
        assert name == "seen"
        return pa.array(list(HELD[bucket]), pa.string())

    for part in (table, table.slice(cut)):
        found = with_lists(part, {"seen": pa.string()}, values)
        assert found.schema.field("seen").type == pa.list_(pa.string())
        assert found.column_names == ["row", "seen"]
        for row in found.to_pylist():
            bucket, low, high = rows[row["row"]]
            assert row["seen"] == list(HELD[bucket][low:high])


def test_other_features_are_left_as_they_are():
    table = pa.table({"seen": [[1], []]})
    assert with_lists(table, {"seen": pa.int64()}, None) is table
