"""A store of nights: its table, its page, Prometheus' text, and what of it may go."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyrank.pipeline import api, cli
from steadyrank.pipeline.api.describe import describe
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.evaluate.release import BLESSED, WITHDRAWN, roll_back
from steadyrank.pipeline.export.card import versions_of
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import write_json
from steadyrank.pipeline.store.lateness import late
from steadyrank.pipeline.store.page import took, write_index
from steadyrank.pipeline.store.prometheus import exposition
from steadyrank.pipeline.store.prune import prune
from steadyrank.pipeline.store.records import (
    blessed,
    figures_of,
    nights_of,
    released,
    rollbacks_of,
)
from steadyrank.pipeline.store.table import own_bytes, rows_of
from tests.helpers import tiny
from tests.helpers.stores import random_store, record_of


@pytest.fixture
def store(tmp_path):
    """Three nights: the first one is served, the second was taken back."""
    path = tmp_path / "store"
    for day, verdict in (("2026-01-01", "PASS"), ("2026-01-02", "PASS")):
        folder = path / "nights" / day
        (folder / "evaluation").mkdir(parents=True)
        (folder / "evaluation" / "report.html").write_text("<p>")
        write_json(folder / "night.json", record_of(day, verdict))
    refused = record_of("2026-01-03", "REFUSE", base="2026-01-01", left_out="2026-01-03")
    refused["reasons"] = ["AUC of <b>click</b> is too low"]
    (path / "nights" / "2026-01-03").mkdir()
    write_json(path / "nights" / "2026-01-03" / "night.json", refused)
    entries = []
    for version in (1, 2):
        content = f"content of 2026-01-0{version}"
        place = path / "served" / str(version) / "assets.extra"
        place.mkdir(parents=True)
        write_json(place / "metrics.json", {"tasks": {}, "content": content})
        entries.append({"version": version, "content": content})
    last = {"current": 2, **entries[-1], "releases": entries}
    write_json(path / "served" / BLESSED, last)
    roll_back(path / "served", "clicks  fell ")
    return path


def test_a_row_a_night(store):
    first, second, third = rows_of(store)
    assert (first.version, first.state) == (1, "served")
    assert (second.version, second.state) == (2, "withdrawn")
    assert (third.version, third.state, third.base) == (None, "", "2026-01-01")
    click, watch = first.figures["click"], first.figures["watch"]
    assert (click["metric"], click["value"]) == ("auc", 0.71)
    assert click["interval"] == pytest.approx([0.6887, 0.7313])
    assert (watch["metric"], watch["value"]) == ("rmse", 12345.6)
    assert first.rows == 1200 and first.seconds == 70.5
    assert third.why == ("AUC of <b>click</b> is too low",)


def test_a_record_of_a_version_before_is_read():
    """Which told one metric of all tasks, and of a regression task nothing."""
    old = {"metric": "ndcg@10", "ndcg@10": {"next": 0.03}, "base_ndcg@10": {"next": 0.02}}
    old["intervals"] = {"ndcg@10": {"next": [0.02, 0.04]}, "base_ndcg@10": {}}
    old["gain"] = {"next": {"difference": 0.01, "interval": None}}
    assert figures_of(old) == {
        "next": {
            "metric": "ndcg@10",
            "value": 0.03,
            "interval": [0.02, 0.04],
            "base": 0.02,
            "base_interval": None,
            "gain": {"difference": 0.01, "interval": None},
        }
    }
    assert figures_of({"auc": {"click": 0.7}, "base_auc": None})["click"]["base"] is None
    assert figures_of({"auc": {}}) == {}


def test_what_nights_share_is_counted_once(tmp_path):
    random_store(tmp_path, 3, 5)
    sizes = [row.bytes for row in rows_of(tmp_path)]
    alone = own_bytes(tmp_path / "nights", set())
    assert sum(sizes) == alone and all(size > 400 for size in sizes)
    assert sizes[0] >= 1400 and all(size < 1400 for size in sizes[1:])


def test_a_rollback_is_recorded_with_its_reason(store):
    (back,) = rollbacks_of(store / "served")
    assert (back["from"], back["to"], back["reason"]) == (2, 1, "clicks  fell")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:+]+", back["time"]) and "@" in back["by"]


def test_the_page_shows_every_night_and_its_report(store):
    write_index(store)
    page = (store / "index.html").read_text()
    assert page.index("2026-01-03") < page.index("2026-01-02")  # the newest first
    assert 'href="nights/2026-01-01/evaluation/report.html"' in page
    assert 'href="nights/2026-01-03' not in page  # which has none
    assert "&lt;b&gt;click" in page and "<b>click" not in page
    assert "Version 1 is served, of 2026-01-01, 2 nights ago" in page
    assert page.count('class="sparkline"') == 2 and "clicks  fell" in page
    assert "watch, RMSE" in page and "12,346" in page and "11,975 to 12,716" in page
    assert "click, AUC" in page and "0.6887 to 0.7313" in page
    assert "<title>store: 3 nights to 2026-01-03</title>" in page
    assert len(page) < 100_000


LABEL = r'[a-z]+="([^"\\\n]|\\["\\n])*"'
PROMETHEUS = re.compile(rf"[a-z_]+(\{{{LABEL}(,{LABEL})*\}})? -?[\d.e+]+")


def test_prometheus_reads_the_last_night(store):
    text = exposition(rows_of(store))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(PROMETHEUS.fullmatch(line) for line in lines) and text.endswith("\n")
    values = dict(line.rsplit(" ", 1) for line in lines)
    assert values['steadyrank_night_verdict{verdict="REFUSE"}'] == "1"
    assert values['steadyrank_night_verdict{verdict="PASS"}'] == "0"
    assert values['steadyrank_night_metric{task="click",metric="auc"}'] == "0.71"
    assert values['steadyrank_night_metric{task="watch",metric="rmse"}'] == "12345.6"
    high = values['steadyrank_night_metric_high{task="watch",metric="rmse"}']
    assert float(high) == pytest.approx(12345.6 * 1.03)
    assert values["steadyrank_nights_since_release"] == "1"
    assert values["steadyrank_served_version"] == "1"
    assert values["steadyrank_night_day_timestamp_seconds"] == "1767398400.0"
    # a family is in one piece, below its type
    names = [line.partition("{")[0].partition(" ")[0] for line in lines]
    assert len([n for n, m in zip(names, names[1:], strict=False) if n != m]) + 1 == len(
        {*names}
    )
    assert text.count("# TYPE ") == len({*names})


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.4, "4 s"), (150, "2 min"), (3599, "1 h 00"), (3900, "1 h 05")]
)
def test_times_are_said_shortly(seconds, said):
    assert took(seconds) == said


def contents(path: Path) -> dict:
    return {str(p): p.stat().st_size for p in sorted(path.rglob("*")) if p.is_file()}


def of_stages(store: Path) -> int:
    """Bytes of what stages wrote and of the versions that were released."""
    folders = [*store.glob("nights/*/*/"), *store.glob("served/*/")]
    seen: set[int] = set()
    return sum(own_bytes(folder, seen) for folder in folders if folder.is_dir())


def is_whole(folder: Path) -> bool:
    return all((folder / n).is_dir() for n in ("examples", "train", "export", "evaluation"))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 12),
    nights=st.none() | st.integers(1, 6),
    releases=st.none() | st.integers(1, 4),
)
def test_nothing_goes_that_is_in_use(seed, count, nights, releases):
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        random_store(store, seed, count)
        served = store / "served"
        before, records = contents(store), nights_of(store)
        highest = max([*versions_of(served), *versions_of(served / WITHDRAWN)], default=0)
        entries = []
        if (served / BLESSED).exists():
            entries = json.loads((served / BLESSED).read_text())["releases"]
        size = of_stages(store)
        told = prune(store, nights=nights, releases=releases, dry_run=True)
        assert {
            k: v for k, v in contents(store).items() if not k.endswith("lock")
        } == before
        found = prune(store, nights=nights, releases=releases)
        assert found == told
        assert nights_of(store) == records  # days left out are remembered
        last = [*records] if nights is None else [*records][-nights:]
        base = blessed(store, records)
        kept = entries if releases is None else entries[-releases:]
        pinned = {entry["content"] for entry in kept}
        used = {d for d, r in records.items() if r["content"] in pinned} | {*last}
        assert base is None or base.name in used
        assert {d for d in records if is_whole(store / "nights" / d)} == used
        assert {*found.nights} == {*records} - used
        # every release that stays can be gone back to, and its night goes on
        versions = {*versions_of(served)}
        assert {entry["version"] for entry in kept} <= versions
        left = [*versions_of(served), *versions_of(served / WITHDRAWN)]
        assert max(left, default=0) == highest
        assert found.bytes == size - of_stages(store)
        again = prune(store, nights=nights, releases=releases)
        assert (again.nights, again.releases, again.bytes) == ((), (), 0)
        for _ in kept[1:]:
            roll_back(served)
            assert is_whole(blessed(store, nights_of(store)))


def test_freed_bytes_are_those_of_no_other_name(tmp_path):
    random_store(tmp_path, 1, 4)
    (tmp_path / "served" / BLESSED).unlink(missing_ok=True)
    assert prune(tmp_path, nights=1, releases=None).bytes == 3 * 400
    assert own_bytes(tmp_path / "nights", set()) >= 1400


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs --nights, --releases, or both"),
        ({"nights": 0}, "--nights must be 1 or more"),
    ],
)
def test_a_prune_of_nothing_is_refused(store, options, said):
    with pytest.raises(InputError, match=said):
        api.prune(store=store, **options)
    with pytest.raises(InputError, match="is no store that `nightly` wrote"):
        api.prune(store=store / "served", nights=3)


def test_a_dry_run_says_what_would_go(store, capsys):
    command = ["prune", "--store", str(store), "--nights", "1", "--dry-run"]
    assert not cli.app(command, standalone_mode=False)
    said = capsys.readouterr().out
    assert "night 2026-01-02: all but the record would go" in said
    assert "1 night, 0 releases" in said
    assert (store / "nights/2026-01-02/evaluation").exists()
    assert not cli.app(command[:-1], standalone_mode=False)
    assert not (store / "nights/2026-01-02/evaluation").exists()
    assert "pruned" in (store / "index.html").read_text()


def test_a_store_is_shown_as_a_table(store, capsys):
    assert not cli.app(["inspect", str(store)], standalone_mode=False)
    said = capsys.readouterr().out
    for word in (
        "2026-01-03",
        "REFUSE",
        "withdrawn",
        "served",
        "1,200",
        "click",
        "AUC",
        "0.7100",
    ):
        assert word in said, word
    assert "RMSE" in said and "12,346" in said and "(11,975–12,716)" in said
    assert "rollback" in said and "clicks  fell" in said
    assert api.inspect(store).nights[1]["state"] == "withdrawn"


def test_released_versions_are_known_by_content(store):
    assert released(store / "served") == {
        "content of 2026-01-01": 1,
        "content of 2026-01-02": 2,
    }


def made(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / name, content)
    return folder


def test_inspect_knows_what_every_command_writes(store, tmp_path):
    scores = {"rows": 5, "scored": 4, "rejected": {"odd": 1}}
    results = {"objective": "auc", "best_value": 0.7, "verdict": "told", "trials": [{}]}
    stability = {"fingerprint": "f", "margin": 2.0, "rate_in_use": 0.1, "advice": "none"}
    folders = {
        "scores": made(tmp_path / "scores", "scores.json", scores),
        "sweep": made(made(tmp_path / "s", "sweep.json", {}), "results.json", results),
        "stability study": made(tmp_path / "st", "stability.json", stability),
        "night": store / "nights" / "2026-01-03",
        "release folder": store / "served",
        "interrupted training": tmp_path / "train.partial",
    }
    (tmp_path / "train.partial").mkdir()
    line = {"step": 7, "epoch": 1, "loss": 0.5, "losses": {}, "examples": 64}
    line["batch_size"] = 64
    (tmp_path / "train.partial" / "log.jsonl").write_text(json.dumps(line) + "\n")
    for title, folder in folders.items():
        assert f"{title} {folder}" in describe(folder), title
    assert ("steps", 7) in describe(folders["interrupted training"])[
        f"interrupted training {tmp_path / 'train.partial'}"
    ]


def test_a_missing_folder_is_missing(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(InputError, match="no such folder. Did you mean .*runs"):
        describe(tmp_path / "runz")
    (tmp_path / "a.json").touch()
    with pytest.raises(InputError, match="is a file"):
        describe(tmp_path / "a.json")
    with pytest.raises(InputError, match="holds nothing that a command wrote"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("day", "after"),
    [("2026-11-09", "99999999999d"), ("2026-11-09", "9999999d"), ("9999-12-31", "6h")],
)
def test_what_is_beyond_the_calendar_is_refused(day, after):
    config = parse_config(tiny.config_document(), "c")
    with pytest.raises(InputError, match=f"--give-up-after {after} after the end of {day}"):
        late(config, Path(), day, after)
