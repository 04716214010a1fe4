"""Sets that keep events: a log added to day by day, beside a loop over all of it."""

import dataclasses
import itertools
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.evaluate.baseline import keep_for
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.kinds import preprocess
from steadyrank.pipeline.nightly import nightly
from steadyrank.pipeline.preprocess import looked_back
from steadyrank.pipeline.preprocess.append import NO_EVENTS, events_of, why_afresh
from steadyrank.pipeline.preprocess.histories import ReadEvents, newest
from steadyrank.pipeline.preprocess.looked_back import LookedBack
from steadyrank.pipeline.preprocess.past import pasts_of
from steadyrank.pipeline.preprocess.plan import Addition, make_plan
from steadyrank.pipeline.raw_log.findings import Findings
from tests.helpers import nights, tiny
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
from tests.helpers.tiny import DATES

START = 1_700_000_000_000
NOTHING = {"seen": [], "liked": [], "shown": 0, "clicks": 0, "rate": None}
NOTHING |= {"since": None, "since_click": None}


@pytest.fixture(scope="module")
def pasts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pasts")
    tiny.write_log(folder)
    found = pasts_of(make_plan(parse_config(document(), "c"), folder))
    return [dataclasses.replace(p, names=(name,)) for p in found for name in p.names]


def unique(rows: list[dict]) -> list[dict]:
    return list({tuple(row["order"]): row for row in rows}.values())


def by_name(past) -> list[dict]:
    return [feature for feature in FEATURES if feature["name"] in past.names]


def clicked(minute: int) -> dict:
    return {"user": 1, "item": "abcde"[minute % 5], "time_ms": START + minute * MINUTE,
            "click": 1}  # fmt: skip


@settings(max_examples=60)
@given(
    st.lists(ROW, min_size=1, max_size=40),
    st.lists(st.integers(0, 13), max_size=3).map(sorted),
    st.booleans(),
)
@example([clicked(minute) for minute in (5, 6, 8, 9, 10)], [10], False)
def test_day_by_day_finds_what_a_loop_over_all_days_finds(pasts, rows, borders, wide):
    table = table_of(rows)
    ends = [START + border * MINUTE for border in borders]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looked_back, "WIDEST", 0 if wide else looked_back.WIDEST)
        for past in pasts:
            kept = past.wanted([table.slice(0, 0)])[0]
            for start, end in zip([0, *ends], [*ends, 2 * START], strict=True):
                own = [r for r in range(len(rows)) if start <= rows[r]["time_ms"] < end]
                new, _ = past.wanted([table.take(pa.array(own, pa.int64()))])
                both = pa.concat_tables([kept.select(new.column_names), new])
                looked = LookedBack(both, past, Findings(), held=len(kept))
                found = found_of(looked, len(own))
                for row, values in zip(own, found, strict=True):
                    for feature in by_name(past):
                        wanted = expected(rows[row], unique(rows), feature)
                        assert values[feature["name"]] == pytest.approx(wanted), feature
                kept, _ = past.numbered(looked.kept(end))


@settings(max_examples=40)
@given(st.lists(ROW, min_size=1, max_size=40))
def test_what_is_latest_is_what_a_request_after_all_events_finds(pasts, rows):
    table = table_of(rows)
    now = max(row["time_ms"] for row in rows) + 1
    for past in pasts:
        events, _ = past.wanted([table])
        found = LookedBack(events, past, Findings()).latest(now)
        assert found.schema.equals(past.latest_schema)
        held = {key_of(row, past): row for row in found.to_pylist()}
        keys = {key_of(row, past) for row in rows} - {None}
        assert len(held) == len(found) and held.keys() <= keys
        for key in keys:
            asked = dict(zip(past.by, key, strict=True)) | {"time_ms": now}
            wanted = {
                feature["name"]: expected(asked, unique(rows), feature)
                for feature in by_name(past)
            }
            if key not in held:
                assert wanted == {name: NOTHING[name] for name in wanted}
                continue
            for name, value in wanted.items():
                assert held[key][name] == pytest.approx(value), name


def key_of(row: dict, past) -> tuple | None:
    key = tuple(row[name] for name in past.by)
    return None if None in key else key


def on_day(day: str, name="log-*.parquet"):
    split = {"validation": 0.4, "test": day}
    return parse_config(document(data__split=split, data__input=[name]), "c")


@pytest.fixture(scope="module")
def rows():
    rows = tiny.make_rows(300)
    midnight = int(tiny.START.timestamp() * 1000) + 4 * 24 * tiny.HOUR
    for row, moment in zip(rows[190:210], range(-5, 15), strict=True):
        row["time_ms"] = midnight + (moment // 5) * MINUTE  # some at the border itself
    return [*rows, rows[201], rows[3]]


@pytest.fixture(scope="module")
def days(tmp_path_factory, rows):
    """A file a day, and a set of all days before each of the last three and it."""
    folder = tmp_path_factory.mktemp("histories")
    start = int(tiny.START.timestamp() * 1000)
    for day, date in enumerate(DATES):
        own = [r for r in rows if (r["time_ms"] - start) // (24 * tiny.HOUR) == day]
        tiny.write_parquet(own, folder / f"log-{date}.parquet", 17)
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    whole = {}
    for day in DATES[3:]:
        whole[day] = folder / f"whole-{day}"
        preprocess(on_day(day), folder, whole[day], addition=Addition(until=day))
    return folder, whole


def raw_rows(path) -> list[dict]:
    files = [f for f in ExampleSet.open(path).manifest["files"] if "raw" in f]
    return [
        row for f in files for row in pq.read_table(path / f["raw"]["path"]).to_pylist()
    ]


def kept(path, what: str) -> dict[str, list[str]]:
    files = (path / "histories" / what).iterdir()
    found = {file.name: pq.read_table(file).to_pylist() for file in files}
    return {name: sorted(map(str, rows)) for name, rows in found.items()}


def contents(folder) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_day_by_day_is_one_log(days, tmp_path, monkeypatch):
    folder, whole = days
    shrink(monkeypatch)
    base = whole[DATES[3]]
    for before, day in itertools.pairwise(DATES[3:]):  # what was tested on trains now
        config = on_day(day, f"log-2024-03-0[{before[-1]}{day[-1]}].parquet")
        output = tmp_path / day
        preprocess(config, folder, output, addition=Addition(base, day))
        assert raw_rows(output) == raw_rows(whole[day])
        assert kept(output, "latest") == kept(whole[day], "latest")
        assert kept(output, "events") == kept(whole[day], "events")
        base, addition = output, Addition(base, day)
    assert any(row["liked"] for row in raw_rows(base))
    monkeypatch.undo()
    preprocess(config, folder, tmp_path / "again", addition=addition)
    assert contents(tmp_path / "again") == contents(base)


def test_rows_that_come_after_their_day_was_added_are_counted(days, rows, tmp_path):
    folder, whole = days
    late = tiny.make_rows(300, seed=2)[3:120:4]
    shutil.copytree(folder, tmp_path / "log", ignore=shutil.ignore_patterns("whole-*"))
    first = pq.read_table(folder / "log-2024-03-02.parquet").to_pylist()
    start = int(tiny.START.timestamp() * 1000)
    late = [r for r in late if (r["time_ms"] - start) // (24 * tiny.HOUR) == 1]
    tiny.write_parquet(first + late, tmp_path / "log" / "log-2024-03-02.parquet")
    config, addition = on_day(DATES[5]), Addition(whole[DATES[3]], DATES[5])
    manifest = preprocess(config, tmp_path / "log", tmp_path / "out", addition=addition)
    assert manifest["histories"]["late"] == {"2024-03-02": len(late)}
    assert len(late) > 3
    assert raw_rows(tmp_path / "out") == raw_rows(whole[DATES[5]])
    newest_ms = max(row["time_ms"] for row in rows)
    assert manifest["histories"]["newest"] == newest_ms
    assert manifest["histories"]["windows"].keys() == set(DATES)


def test_the_newest_row_that_is_in_time_is_the_newest():
    counts = {"newest/3": 3 * 86_400_000 + 5, "newest/9": 9 * 86_400_000, "read": 7}
    assert newest(counts, Findings()) == 9 * 86_400_000
    assert newest(counts, Findings(latest=4 * 86_400_000, late="x")) == 3 * 86_400_000 + 5
    assert newest({"read": 7}, Findings()) is None


def without_events(path):
    manifest = json.loads((path / "manifest.json").read_text())
    files = manifest["histories"]["files"]
    manifest["histories"]["files"] = [f for f in files if f["what"] == "latest"]
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_set_without_events_is_not_added_to(days, tmp_path):
    folder, whole = days
    base = shutil.copytree(whole[DATES[3]], tmp_path / "base")
    assert why_afresh(on_day(DATES[5]), base) == ""
    without_events(base)
    assert why_afresh(on_day(DATES[5]), base) == NO_EVENTS
    with pytest.raises(InputError, match="features.seen is made from events, and it keeps"):
        addition = Addition(base, DATES[5])
        preprocess(on_day(DATES[5]), folder, tmp_path / "out", addition=addition)


def test_events_that_cannot_be_read_are_said(days, pasts, tmp_path):
    folder, whole = days
    base = shutil.copytree(whole[DATES[3]], tmp_path / "base")
    file = base / "histories" / "events" / "user.parquet"
    data = file.read_bytes()
    file.write_bytes(data[:60] + b"?" + data[61:])
    past = dataclasses.replace(pasts[0], held=str(file))
    (failed,) = ReadEvents(str(tmp_path)).process((past, [0]))
    assert "user.parquet is corrupt: " in failed.value[1]
    file.write_bytes(data[:-9])
    with pytest.raises(InputError, match="user.parquet is cut off or was changed"):
        ExampleSet.open(base)


def test_keys_of_another_type_are_said(days, tmp_path):
    folder, whole = days
    shutil.copytree(folder, tmp_path / "log", ignore=shutil.ignore_patterns("whole-*"))
    for path in (tmp_path / "log").glob("*.parquet"):
        table = pq.read_table(path)
        place = table.column_names.index("user")
        texts = table["user"].cast(pa.string())
        pq.write_table(table.set_column(place, "user", texts), path)
    found = document(data__split={"validation": 0.4, "test": DATES[5]})
    found["features"] = [f for f in found["features"] if f["name"] != "user"]
    base = shutil.copytree(whole[DATES[3]], tmp_path / "base")
    plan = make_plan(
        parse_config({**found, "data": {**found["data"], "input": ["log-*.parquet"]}}, "c"),
        tmp_path / "log",
    )
    with pytest.raises(InputError, match="its events have other types of item, user"):
        events_of(plan, ExampleSet.open(base))


def test_a_night_goes_on_from_the_events_of_the_last(tmp_path):
    shown = {"name": "shown", "kind": "numeric", "from": "events", "by": ["item"]}
    shown |= {"measure": "count", "window": "36h", "transform": "log1p"}
    found = {**nights.CONFIG, "features": [*nights.CONFIG["features"], shown]}
    gates = {"auc": {"click": {"min": 0.1}}}
    config = parse_config({**found, "contract": None, "gates": gates}, "c")
    rows: list[dict] = []
    for day in range(3):
        rows += nights.rows_of(day)
        tiny.write_parquet(nights.rows_of(day), tmp_path / f"{DATES[day]}.parquet")
    first = nightly(config, tmp_path, DATES[1], tmp_path / "store")
    (tmp_path / f"{DATES[0]}.parquet").unlink()  # what is needed of it is in the store
    second = nightly(config, tmp_path, DATES[2], tmp_path / "store")
    assert (first["fresh"], second["fresh"], second["base"]) == (None, None, DATES[1])
    assert second["trained_on"] == [DATES[1]]
    require_shown(raw_rows(tmp_path / "store" / "nights" / DATES[2] / "examples"), rows)
    model = tmp_path / "store" / "nights" / DATES[2] / "export"
    assert keep_for(config, model) is config
    longer = [*nights.CONFIG["features"], {**shown, "window": "7d"}]
    other = parse_config({**found, "contract": None, "features": longer}, "c")
    with pytest.raises(InputError, match="features.shown from events, as .*another name"):
        keep_for(other, model)
    # what a baseline was trained with is made for it, though nothing else reads it now
    data = {**found["data"], "input": ["2024-03-02.parquet", "2024-03-03.parquet"]}
    data["split"] = {"validation": 0.4, "test": DATES[2]}
    without = {**found, "data": data, "contract": None, "features": found["features"][:-1]}
    preprocess(keep_for(parse_config(without, "c"), model), tmp_path, tmp_path / "out")
    require_shown(raw_rows(tmp_path / "out"), rows[nights.ROWS :])
    names = [feature.name for feature in ExampleSet.read_schema(tmp_path / "out").features]
    assert names == ["user", "item"]


def require_shown(found: list[dict], rows: list[dict]) -> None:
    for row in found:
        alike = [r["time_ms"] for r in rows if r["item"] == row["item"]]
        since = row["time_ms"] - 36 * tiny.HOUR
        assert row["shown"] == sum(since <= ms < row["time_ms"] for ms in alike)
    assert any(row["shown"] for row in found)


def earlier(folder, rows, changes=None, **data):
    """The last days as the log, those before as earlier events; two days are in both."""
    start = int(tiny.START.timestamp() * 1000)
    for name, days in (("log.parquet", range(2, 6)), ("earlier.parquet", range(4))):
        own = [r for r in rows if (r["time_ms"] - start) // (24 * tiny.HOUR) in days]
        own = [changes(row) for row in own] if changes and name[0] == "e" else own
        tiny.write_parquet(own, folder / name, 23)
    tiny.write_parquet(tiny.make_users(), folder / "users.parquet")
    found = document(data__split={"validation": 0.4, "test": DATES[5]}, **data)
    found["data"]["earlier_events"] = ["earlier.parquet"]
    return parse_config(found, "c")


def test_earlier_events_are_looked_back_on_and_are_no_rows(days, rows, tmp_path):
    _, whole = days
    manifest = preprocess(earlier(tmp_path, rows), tmp_path, tmp_path / "out")
    assert raw_rows(tmp_path / "out") == raw_rows(whole[DATES[5]])
    for what in ("latest", "events"):
        assert kept(tmp_path / "out", what) == kept(whole[DATES[5]], what)
    assert list(ExampleSet.open(tmp_path / "out").windows("train")) == DATES[2:5]
    told = manifest["histories"]["earlier"]
    assert told["rows"] > 190 and told["unreadable"] == 0
    assert manifest["histories"]["newest"] == max(row["time_ms"] for row in rows)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            lambda row: row | {"time_ms": None},
            "earlier_events: .* no readable time_ms",
        ),
        (lambda row: {k: row[k] for k in ("time_ms", "item")}, "no column 'user', which"),
        (lambda row: {**row, "user": [1]}, "features.seen.by: column 'user' of .*earlier"),
        (lambda row: {k: row[k] for k in row if k != "click"}, "features.liked.where"),
    ],
)
def test_earlier_events_that_cannot_be_read_are_said(rows, tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        preprocess(earlier(tmp_path, rows, changes), tmp_path, tmp_path / "out")


def test_earlier_events_are_files_of_their_own(rows, tmp_path):
    """Else rows of the log would be no rows, and nothing said."""
    config = earlier(tmp_path, rows)
    for data, said in (
        ({"input": ["earlier.parquet"]}, ".*earlier.parquet is a file of data.input"),
        (
            {"input": ["[el]*[rg].parquet"]},
            ".*earlier.parquet is a file of data.input as well",
        ),
        ({"earlier_events": ["absent.parquet"]}, ".*absent.parquet: no such file"),
    ):
        other = config.model_copy(update={"data": config.data.model_copy(update=data)})
        with pytest.raises(InputError, match=f"^data.earlier_events: {said}"):
            make_plan(other, tmp_path)


def test_earlier_events_of_no_feature_are_refused():
    found = tiny.config_document(data__earlier_events=["e.parquet"])
    with pytest.raises(InputError, match="earlier_events is for features from: events"):
        parse_config(found, "c")
