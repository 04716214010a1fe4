"""What came before each row, beside a loop over all pairs of rows in plain Python."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import evaluate, export, preprocess, train
from steadyrank.pipeline.preprocess import past
from steadyrank.pipeline.preprocess.looked_back import LookedBack
from steadyrank.pipeline.preprocess.past import pasts_of
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.raw_log.findings import Findings
from steadyrank.pipeline.raw_log.fingerprint import fingerprint
from tests.helpers import tiny
from tests.helpers.histories import (
    FEATURES,
    MINUTE,
    ROW,
    document,
    expected,
    found_of,
    table_of,
)
from tests.helpers.small_buffers import shrink


@pytest.fixture(scope="module")
def pasts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pasts")
    tiny.write_log(folder)
    plan = make_plan(parse_config(document(), "c"), folder)
    return pasts_of(plan)


@settings(deadline=None, max_examples=60)
@given(st.lists(ROW, min_size=1, max_size=40), st.booleans())
def test_what_came_before_is_what_a_loop_finds(pasts, rows, twice):
    table = table_of(rows)
    unique = list({tuple(row["order"]): row for row in rows}.values())
    table = pa.concat_tables([table, table]) if twice else table
    for asked in pasts:
        events, _ = asked.wanted([table.slice(0, 7), table.slice(7)])
        found = found_of(LookedBack(events, asked, Findings()), len(table))
        for row, values in zip(rows, found[: len(rows)], strict=True):
            for feature in FEATURES:
                if feature["name"] in values:
                    wanted = expected(row, unique, feature)
                    assert values[feature["name"]] == pytest.approx(wanted), feature
        if twice:
            assert found[: len(rows)] == found[len(rows) :]


def test_a_part_of_the_rows_gets_its_own(pasts):
    rows = [
        {"user": 1, "item": "a", "time_ms": n * MINUTE, "click": n % 2} for n in range(20)
    ]
    events, _ = pasts[0].wanted([table_of(rows)])
    looked = LookedBack(events, pasts[0], Findings())
    whole, part = found_of(looked, 20), found_of(looked, 7, 4)
    assert whole[4:11] == part


def contents(folder) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    for name in filter(lambda name: name.startswith("histories"), found):
        table = pq.read_table(folder / name)  # by bucket, of which there are more or fewer
        plain = [f.name for f in table.schema if not pa.types.is_list(f.type)]
        order = [(column, "ascending") for column in plain]
        found[name] = table.sort_by(order).to_pylist()
    return {n: b for n, b in found.items() if not n.startswith(("rejected", "manifest"))}


def in_time(rows):
    return [row for row in rows if row["time_ms"] is not None]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    rows = tiny.make_rows(300)
    rows += [rows[3], rows[200], rows[200]]
    tiny.write_log(folder, rows)
    preprocess(parse_config(document(), "c"), folder, folder / "out")
    return folder, rows


def test_kept_rows_hold_what_a_loop_finds(made):
    folder, rows = made
    high, low = fingerprint(pq.read_table(folder / "log.parquet"))
    unique = {row["number"]: {**row, "order": [h, w]} for row, h, w in zip(
              rows, high.tolist(), low.tolist(), strict=True)}  # fmt: skip
    unique = list(unique.values())
    checked = 0
    examples = ExampleSet.open(folder / "out")
    for file in examples.manifest["files"]:
        if "raw" not in file:
            continue
        for row in pq.read_table(folder / "out" / file["raw"]["path"]).to_pylist():
            for feature in FEATURES:
                wanted = expected(row, unique, feature)
                assert row[feature["name"]] == pytest.approx(wanted), feature
                checked += 1
    assert checked >= 100 * len(FEATURES)


def test_workers_files_and_buffers_change_no_byte(made, tmp_path, monkeypatch):
    folder, rows = made
    shrink(monkeypatch)
    monkeypatch.setattr(past, "BUCKET_ROWS", 20)
    shuffled = rows[:]
    random.Random(4).shuffle(shuffled)
    for name, part in (("a", shuffled[:90]), ("b", shuffled[90:])):
        tiny.write_parquet(part, tmp_path / f"log-{name}.parquet", 17)
    tiny.write_parquet(tiny.make_users(), tmp_path / "users.parquet")
    config = parse_config(document(data__input=["log-*.parquet"]), "c")
    preprocess(config, tmp_path, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(folder / "out")


SEEN = FEATURES[0]
COUNT = FEATURES[2]


@pytest.mark.parametrize(
    ("feature", "changes", "said"),
    [
        ({**SEEN, "column": "item"}, {}, "column is not for from: events"),
        ({**SEEN, "from": "column", "by": ["user"]}, {}, "by is for from: events"),
        ({**SEEN, "length": 1001}, {}, "at most 1000"),
        ({**SEEN, "separator": "|"}, {}, "separator is for texts"),
        ({**SEEN, "label_delay": "1h"}, {}, "label_delay is of labels"),
        ({**SEEN, "where": "click", "label_delay": "soon"}, {}, "a count of m, h or d"),
        ({**SEEN, "where": "watch"}, {}, "no binary task. Allowed: .*click"),
        ({**SEEN, "by": ["click"]}, {}, "is a task's"),
        ({**SEEN, "by": ["user", "user"]}, {}, "must differ"),
        (SEEN, {"data__group": None}, "name the columns, or data.group"),
        ({**COUNT, "window": "7"}, {}, "a count of m, h or d"),
        ({**COUNT, "window": None}, {}, "need a window"),
        ({**COUNT, "measure": "since"}, {}, "since has none"),
        ({**COUNT, "measure": None}, {}, "needs measure"),
        ({**COUNT, "measure": "rate"}, {}, "needs where"),
        ({**COUNT, "from": "column"}, {}, "measure and window are for from: events"),
        ({**COUNT, "where": "click", "label_delay": "5m"}, {}, "longer than label_delay"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said(feature, changes, said):
    found = tiny.config_document(**changes)
    found["features"] = [*found["features"], feature]
    with pytest.raises(InputError, match=said):
        parse_config(found, "c")


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ({**SEEN, "by": ["usr"]}, "no column 'usr', which features.seen.by needs"),
        ({**SEEN, "by": ["user_country"]}, "must be in the log itself"),
        ({**SEEN, "of": "country"}, "must be in the log itself"),
        ({**SEEN, "name": "price_"}, None),
        ({**COUNT, "name": "number"}, "a column of .* is called so"),
    ],
)
def test_what_the_log_cannot_give_is_said(tmp_path, feature, said):
    tiny.write_log(tmp_path)
    found = tiny.config_document()
    found["features"] = [*found["features"], feature]
    config = parse_config(found, "c")
    if said is None:
        assert make_plan(config, tmp_path).past_names == (feature["name"],)
        return
    with pytest.raises(InputError, match=said):
        make_plan(config, tmp_path)


def test_107_and_107_0_are_one_key(pasts):
    (asked,) = (p for p in pasts if p.by == ("item",))
    rows = [
        {"user": 1, "item": item, "time_ms": n * MINUTE, "click": 1}
        for n, item in enumerate(["7", "7.0", "7"])
    ]
    events, buckets = asked.wanted([table_of(rows)])
    assert len(set(buckets.tolist())) == 1
    looked = LookedBack(events, asked, Findings(whole=frozenset({"item"})))
    assert np.isclose(looked.columns(0, 3)["rate"].to_pylist()[2], 1.0)
    other = LookedBack(events, asked, Findings()).columns(0, 3)["rate"].to_pylist()
    assert other[1] is None


def test_signatures_take_what_came_before_as_the_model_was_trained(made, tmp_path):
    folder, _ = made
    changes = {"gates": {"skew": {"max_difference": 1e-5}}}
    history = {"encoder": "mean"}
    changes["model"] = {"trunk": "shared_bottom", "bottom_units": [6], "history": history}
    found = document(**changes)
    wanted = {"item", *(feature["name"] for feature in FEATURES)}
    found["features"] = [f for f in found["features"] if f["name"] in wanted]
    config = parse_config({**found, "tasks": [{"name": "click"}]}, "c")
    train(config, folder / "out", tmp_path / "t")
    export(config, tmp_path / "t", tmp_path / "e")
    verdict = evaluate(config, folder / "out", tmp_path / "e", tmp_path / "v")
    (skew,) = (gate for gate in verdict["gates"] if gate["gate"] == "skew")
    assert skew["passed"], skew
