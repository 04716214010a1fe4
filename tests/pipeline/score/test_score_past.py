"""Rows scored with what an example set knows of their past: which state, and when."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import steadyrank
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.join import find_rows
from steadyrank.pipeline.score import past as module
from steadyrank.pipeline.score.past import EARLIER, LatestOf, LatestPast, with_past
from tests.helpers import tiny
from tests.helpers.histories import FEATURES

MADE = [f for f in FEATURES if f["name"] in ("seen", "clicks", "rate", "since")]
MODEL = {"trunk": "shared_bottom", "embedding_dim": 2, "bottom_units": [4]}
DAY = 24 * tiny.HOUR


@settings(deadline=None)
@given(st.data(), st.integers(1, 3))
def test_rows_are_found_by_all_of_their_key(data, width):
    one = st.tuples(*[st.integers(0, 3)] * width)
    known = data.draw(st.lists(one, unique=True, max_size=12))
    rows = data.draw(st.lists(st.tuples(*[st.none() | st.integers(0, 4)] * width)))
    as_texts = data.draw(st.booleans())

    def columns(keys, kind):
        values = zip(*keys, strict=True) if keys else [()] * width
        return [pa.chunked_array([pa.array(v, pa.int64()).cast(kind)]) for v in values]

    kind = pa.string() if as_texts else pa.int64()
    found = find_rows(columns(rows, kind), columns(known, pa.int64()))
    places = {key: number for number, key in enumerate(known)}
    assert found.to_pylist() == [places.get(row) for row in rows]


def test_a_key_that_is_not_known_has_counts_of_0_and_none_without_a_key():
    file = LatestOf("f", ("user",), ("clicks", "rate", "seen"), ("clicks",))
    data = parse_config(tiny.config_document(), "c").data
    held = pa.table(
        {"user": [7], "clicks": [3.0], "rate": [0.5], "seen": pa.array([["a", "b"]])}
    )
    rows = pa.table({"user": pa.array([8, 7, None])})
    found = with_past(rows, LatestPast((file,), 5, data), [held]).to_pydict()
    assert found["clicks"] == [0.0, 3.0, None] and found["rate"] == [None, 0.5, None]
    assert found["seen"] == [None, ["a", "b"], None]


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A log, its examples, and an export of a model that looks back."""
    folder = tmp_path_factory.mktemp("past")
    tiny.write_log(folder / "log", tiny.make_rows(180))
    document = tiny.config_document(model=MODEL, contract=None)
    plain = [f for f in document["features"] if f["name"] in ("item", "price")]
    document["features"] = [*plain, *MADE]
    document["tasks"] = document["tasks"][:1]
    steadyrank.preprocess(document, data=folder / "log", output=folder / "examples")
    steadyrank.train(document, examples=folder / "examples", output=folder / "train")
    steadyrank.export(document, train=folder / "train", output=folder / "export")
    return folder


def later_rows(known, count=60) -> list[dict]:
    manifest = json.loads((known / "examples" / "manifest.json").read_text())
    newest, rows = manifest["histories"]["newest"], tiny.make_rows(count, seed=4)
    return [
        {**{k: v for k, v in row.items() if k not in ("click", "like", "watch")},
         "number": number, "time_ms": newest + 1 + number}
        for number, row in enumerate(rows)
    ]  # fmt: skip


def scored(known, name, rows, **how):
    pq.write_table(pa.Table.from_pylist(rows), known / f"{name}.parquet")
    how = {"keep": "number", "data": known / "log", **how}
    place = {"input": known / f"{name}.parquet", "output": known / name}
    result = steadyrank.score(model=known / "export", **place, **how)
    parts = [pq.read_table(file) for file in sorted((known / name).glob("part-*"))]
    table = pa.concat_tables(parts).sort_by("number")
    scores = zip(table["number"].to_pylist(), table["score"].to_pylist(), strict=True)
    return result, dict(scores)


def joined_by_hand(known, rows) -> list[dict]:
    """As docs/serving.md has it, in plain Python; counts of 0 where a key has none."""
    found = [dict(row) for row in rows]
    for path in (known / "examples" / "histories" / "latest").glob("*.parquet"):
        state = pq.read_table(path).to_pylist()
        by = path.stem.split("-")
        held = {tuple(row[name] for name in by): row for row in state}
        names = [n for n in state[0] if n not in by]
        for row in found:
            own = held.get(tuple(row[name] for name in by), {})
            row |= {name: own.get(name) for name in names}
            if "clicks" in names and row["clicks"] is None:
                row["clicks"] = 0.0
    return found


def test_scores_are_those_of_a_join_by_hand(known):
    rows = [row for row in later_rows(known) if row["user"] is not None and row["item"]]
    by_hand = joined_by_hand(known, rows)
    assert any(row["seen"] for row in by_hand) and any(row["clicks"] for row in by_hand)
    _, wanted = scored(known, "by-hand", by_hand)
    for folder in ("examples", "examples/histories/latest"):
        name = folder.replace("/", "-") + "-scores"
        result, found = scored(known, name, rows, histories=known / folder)
        assert found == wanted and result.scored == len(rows)
    summary = json.loads((known / "examples-scores" / "scores.json").read_text())
    assert summary["histories"]["checked"] is True
    nothing = {"seen": ["none of the log"], "clicks": 0.0, "rate": None, "since": None}
    assert scored(known, "blind", [{**row, **nothing} for row in by_hand])[1] != wanted


def test_rows_of_before_are_rejected_and_counted(known):
    rows = later_rows(known)
    for number in (3, 4):
        rows[number]["time_ms"] -= 1 + number  # at the newest event
    rows[5]["time_ms"] = None
    result, found = scored(known, "early", rows, histories=known / "examples")
    assert result.rejected[EARLIER] == 2 and sum(result.rejected.values()) == 3
    assert not {3, 4, 5} & {*found} and len(found) == len(rows) - 3


def test_what_the_rows_and_the_histories_both_give_is_refused(known):
    rows = [{**row, "clicks": 1.0} for row in later_rows(known)]
    with pytest.raises(InputError, match="have a column 'clicks', which --histories"):
        scored(known, "both", rows, histories=known / "examples")
    rows = [{k: v for k, v in row.items() if k != "user"} for row in later_rows(known)]
    with pytest.raises(InputError, match="no column 'user', by which --histories"):
        scored(known, "keyless", rows, histories=known / "examples")


def test_other_examples_are_refused(known, tmp_path):
    card = json.loads(next((known / "export").rglob("card.json")).read_text())

    def found(change, folder=known / "examples"):
        config = parse_config(json.loads(json.dumps(card["config"])) | change, "c")
        return module.find_past(folder, config)

    features = card["config"]["features"]
    other = [{**f, "length": 2} if f["name"] == "seen" else f for f in features]
    with pytest.raises(InputError, match="features.seen is made otherwise"):
        found({"features": other})
    plain = [f for f in features if f.get("from") != "events"]
    with pytest.raises(InputError, match="no features from: events"):
        found({"features": plain})
    with pytest.raises(InputError, match="is not an example set"):
        found({}, tmp_path)
    past = found({})
    assert {file.by for file in past.files} == {("user",), ("item",), ("item", "user")}
    assert np.isfinite(past.newest)
