"""A store over a few days: releases, a poisoned day, a killed night, the lock."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from steadyrank.pipeline import cli
from steadyrank.pipeline import nightly as module
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.config.stages import Nightly
from steadyrank.pipeline.evaluate.release import BLESSED, roll_back
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    InputError,
    PassingError,
)
from steadyrank.pipeline.nightly import nightly
from steadyrank.pipeline.preprocess.append import why_afresh
from steadyrank.pipeline.store.begun import settings_of, work_folder
from steadyrank.pipeline.store.contract import left_out
from steadyrank.pipeline.store.records import blessed, nights_of
from tests.helpers import tiny
from tests.helpers.nights import CONFIG, POISONED, rows_of
from tests.helpers.tiny import DATES


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nightly")
    for day, date in enumerate(DATES):
        tiny.write_parquet(rows_of(day), folder / f"{date}.parquet")
    return folder


@pytest.fixture(scope="module")
def config():
    return parse_config(CONFIG, "nightly")


@pytest.fixture(scope="module")
def store(days, config):
    """After the nights of the third, the fourth (poisoned) and the fifth day."""
    path = days / "store"
    for day in DATES[2:5]:
        nightly(config, days, day, path)
    return path


def night_of(store, day: str) -> dict:
    return json.loads((store / "nights" / day / "night.json").read_text())


def current(store) -> dict:
    return json.loads((store / "served" / BLESSED).read_text())


def contents(store) -> dict:
    paths = [p for p in store.rglob("*") if p.is_file() and p.name != "lock"]
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in paths}


def test_a_first_night_needs_days_before_it(days, config, tmp_path):
    said = f"{DATES[0]} cannot be the first night of .*Give a later --day.*train split has"
    with pytest.raises(InputError, match=said):
        nightly(config, days, DATES[0], tmp_path / "store")
    assert not (tmp_path / "store" / "nights" / DATES[0]).exists()
    assert nightly(config, days, DATES[2], tmp_path / "store")["verdict"] == "PASS"


def test_a_poisoned_day_is_refused_and_the_next_goes_on_from_the_blessed(store):
    before, poisoned, after = (night_of(store, day) for day in DATES[2:5])
    verdicts = [night["verdict"] for night in (before, poisoned, after)]
    assert verdicts == ["PASS", "REFUSE", "PASS"]
    click = [night["tasks"]["click"] for night in (before, poisoned, after)]
    assert click[1]["value"] < 0.5 < 0.7 < click[0]["value"]
    assert poisoned["left_out"] == DATES[POISONED]
    because = poisoned["left_out_because"]
    assert because.startswith("the blessed model fails there as well: AUC of click on test")
    assert any(f"({DATES[POISONED]}): 0." in said for said in poisoned["reasons"])
    assert [night["base"] for night in (before, poisoned, after)] == [
        None,
        DATES[2],
        DATES[2],
    ]
    # what was tested is trained on next, the poisoned day never
    assert before["trained_on"] == DATES[:2]
    assert after["trained_on"] == [DATES[2]]
    examples = ExampleSet.open(store / "nights" / DATES[4] / "examples")
    assert list(examples.windows("train")) == DATES[:3]
    entries = current(store)["releases"]
    assert [entry["content"] for entry in entries] == [before["content"], after["content"]]
    assert click[2]["base"] > 0.7  # the blessed one, on rows of new items


def test_what_a_night_says_names_places_that_are_there(store):
    for day in DATES[2:5]:
        evaluation = store / "nights" / day / "evaluation"
        metrics = json.loads((evaluation / "metrics.json").read_text())
        assert Path(metrics["model"]).is_dir()
        for name in ("metrics.json", "verdict.json", "report.html"):
            assert ".partial-" not in (evaluation / name).read_text(), name


def test_the_night_starts_where_the_blessed_one_ended(store):
    start = json.loads(
        (store / "nights" / DATES[4] / "train" / "warm_start.json").read_text()
    )
    assert f"nights/{DATES[2]}/train/checkpoints/" in start["checkpoint"]
    assert start["steps"] > 0
    fingerprint = night_of(store, DATES[4])["fingerprint"]
    schema = ExampleSet.read_schema(store / "nights" / DATES[4] / "examples")
    assert schema.fingerprint == fingerprint
    assert schema.ancestors == (night_of(store, DATES[2])["fingerprint"],)


def test_the_same_night_twice_changes_nothing(store, days, config):
    before = contents(store)
    for day in (DATES[POISONED], DATES[4]):
        assert nightly(config, days, day, store) == night_of(store, day)
    assert contents(store) == before


def test_a_night_that_died_before_its_end_is_shown_by_the_same_command(
    store, days, config, tmp_path
):
    again = tmp_path / store.name
    shutil.copytree(store, again)
    pages = again / "index.html", again / "metrics.prom"
    before = pages[0].read_bytes()
    pages[0].unlink()
    pages[1].write_text("of the night before")
    os.utime(pages[1], (0, 0))
    last = max(path.name for path in (again / "nights").glob("2*"))
    assert nightly(config, days, last, again) == night_of(again, last)
    assert pages[0].read_bytes() == before and "version" in pages[1].read_text()


def test_the_command_exits_with_the_verdict(store, days, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    flags = ["--config", tmp_path / "c.yaml", "--data", days, "--store", store]
    command = ["nightly", *map(str, flags), "--day"]
    assert cli.app([*command, DATES[POISONED]], standalone_mode=False) == 1
    assert f"{DATES[POISONED]} is left out of training" in capsys.readouterr().out
    assert not cli.app([*command, DATES[4]], standalone_mode=False)
    assert f"trained on {DATES[2]}, from {DATES[2]}" in capsys.readouterr().out


def test_days_go_forward(store, days, config):
    with pytest.raises(InputError, match="go from day to day"):
        nightly(config, days, DATES[1], store)


def test_a_day_that_has_not_come_is_tried_again_until_it_is_given_up(
    store, days, config, tmp_path
):
    copy, late = shutil.copytree(store, tmp_path / "store"), "2024-03-07"
    before = contents(copy)
    with pytest.raises(PassingError, match=f"files of {late} have not come: no .*{late}"):
        nightly(config, days, late, copy)
    with pytest.raises(PassingError, match="until 2[0-9]{3}-"):
        nightly(config, days, late, copy, give_up_after="99999d")
    assert contents(copy) == before
    record = nightly(config, days, late, copy, give_up_after="6h")
    assert record["verdict"] == "HOLD" and record["rows"] == 0
    assert record["reasons"] == [f"no files of {late} came within 6h of its end: given up"]
    assert night_of(copy, late) == record and current(copy) == current(store)
    with pytest.raises(InputError, match="--give-up-after must be"):
        nightly(config, days, late, copy, give_up_after="soon")


def test_a_day_without_rows_is_on_hold_and_looked_at_again(store, days, config, tmp_path):
    copy, day = shutil.copytree(store, tmp_path / "store"), DATES[5]
    for name in DATES:
        shutil.copy(days / f"{name}.parquet", tmp_path)
    tiny.write_parquet(rows_of(4)[:1], tmp_path / f"{day}.parquet")  # of the day before
    record = nightly(config, tmp_path, day, copy)
    assert record["verdict"] == "HOLD" and record["base"] == DATES[4]
    assert "no rows" in record["reasons"][0] and night_of(copy, day) == record
    shutil.copy(days / f"{day}.parquet", tmp_path)
    assert nightly(config, tmp_path, day, copy)["verdict"] == "PASS"


def test_what_is_old_goes_after_a_night(store, days, config, tmp_path):
    copy, keep = shutil.copytree(store, tmp_path / "store"), {"nights": 1, "releases": 1}
    kept = config.model_copy(update={"nightly": Nightly(keep=keep)})
    assert nightly(kept, days, DATES[5], copy)["verdict"] == "PASS"
    nights = copy / "nights"
    assert [d for d in DATES if (nights / d / "export").exists()] == [DATES[5]]
    assert all((nights / d / "night.json").exists() for d in DATES[2:])
    assert [entry["version"] for entry in current(copy)["releases"]] == [3]
    assert f"nights/{DATES[5]}/evaluation/report.html" in (copy / "index.html").read_text()
    assert 'verdict="PASS"} 1' in (copy / "metrics.prom").read_text()


def test_an_interrupted_night_goes_on_where_it_stopped(
    store, days, config, tmp_path, monkeypatch
):
    copy, day = shutil.copytree(store, tmp_path / "store"), DATES[5]
    done = []

    def killed(*_, **__):
        raise KeyboardInterrupt

    for stage in ("train", "export", "evaluate"):
        with monkeypatch.context() as patch:
            patch.setattr(module, stage, killed)
            with pytest.raises(KeyboardInterrupt):
                nightly(config, days, day, copy)
    for stage in ("preprocess", "train", "export", "evaluate"):
        real = getattr(module, stage)
        monkeypatch.setattr(
            module,
            stage,
            lambda *a, real=real, stage=stage, **k: done.append(stage) or real(*a, **k),
        )
    record = nightly(config, days, day, copy)
    assert done == ["evaluate"] and record["verdict"] == "PASS"
    assert not list((copy / "nights").glob(".*"))
    metrics = (copy / "nights" / day / "evaluation" / "metrics.json").read_text()
    assert str(copy / "nights" / day / "export") in metrics


def test_with_another_setting_nothing_of_an_interrupted_night_is_taken_over(
    tmp_path, config
):
    begun = {"config": settings_of(config)}
    first = work_folder(tmp_path, DATES[1], begun)
    (first / "examples").mkdir()
    kept = config.model_copy(update={"nightly": Nightly(keep={"nights": 3})})
    assert work_folder(tmp_path, DATES[1], {"config": settings_of(kept)}) == first
    assert (first / "examples").exists()
    train = config.train.model_copy(update={"seed": 7})
    other = {"config": settings_of(config.model_copy(update={"train": train}))}
    assert not list(work_folder(tmp_path, DATES[1], other).iterdir())
    assert not first.exists()


def test_a_night_that_is_done_says_so_and_is_not_done_with_other_settings(
    store, days, config
):
    said = []
    nightly(config, days, DATES[4], store, progress=lambda *told: said.append(told[-1]))
    assert said == [
        f"{DATES[4]} was judged at {night_of(store, DATES[4])['judged_at']}: nothing done"
    ]
    other = config.model_copy(update={"train": config.train.model_copy(update={"seed": 7})})
    with pytest.raises(InputError, match=r"other settings: train.seed is 7, and was"):
        nightly(other, days, DATES[4], store)


def test_a_night_that_diverged_is_kept_with_its_diagnosis(
    store, days, config, tmp_path, monkeypatch
):
    copy, day = tmp_path / "store", DATES[5]
    shutil.copytree(store, copy)
    before = current(copy)

    def diverged(settings, examples, output, **_):
        partial = output.with_name("train.partial")
        (partial / "divergence-1.json").write_text("{}")
        raise DivergenceError(f"the loss jumped; see {partial / 'divergence-1.json'}")

    with monkeypatch.context() as patch:
        patch.setattr(module, "train", diverged)
        with pytest.raises(DivergenceError, match="the loss jumped") as first:
            nightly(config, days, day, copy)
    found = copy / "nights" / day / "train.partial" / "divergence-1.json"
    assert found.exists() and str(found) in str(first.value)
    record = night_of(copy, day)
    assert record["verdict"] == "DIVERGED" and record["reasons"] == [str(first.value)]
    assert record["trained_on"] == [DATES[4]] and record["left_out"] == DATES[4]
    with pytest.raises(DivergenceError, match="the loss jumped"):
        nightly(config, days, day, copy)  # looked up
    assert current(copy) == before


def test_a_day_that_does_not_keep_the_contract_is_recorded_and_left_out(
    store, days, config, tmp_path
):
    log = shutil.copytree(days, tmp_path / "log", ignore=shutil.ignore_patterns("store"))
    copy, day = shutil.copytree(store, tmp_path / "store"), DATES[5]
    rows = [row | {"item": None} if row["number"] % 2 else row for row in rows_of(5)]
    tiny.write_parquet(rows, log / f"{day}.parquet")
    before = current(copy)
    record = nightly(config, log, day, copy)
    assert any("feature item: 50.0 % of the rows" in why for why in record["reasons"])
    assert record == night_of(copy, day) == nightly(config, log, day, copy)
    assert record["verdict"] == "REFUSE" and record["trained_on"] == []
    assert record["left_out"] == day and [*record["refused"]] == [day]
    assert not (copy / "nights" / day / "examples").exists()
    assert current(copy) == before
    assert left_out(nights_of(copy)) == [DATES[POISONED], day]


def test_a_new_feature_and_a_new_task_are_carried_into_an_old_store(
    store, days, tmp_path, capsys
):
    copy = shutil.copytree(store, tmp_path / "store")
    document = yaml.safe_load(yaml.safe_dump(CONFIG))
    document["features"].append({"name": "number", "kind": "numeric"})
    document["tasks"].append({"name": "again", "column": "click"})
    document["gates"]["auc"]["again"] = {"min": 0.6, "min_gain": 0}
    document["gates"]["drift"] = {"max_psi": 99}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    flags = ["--config", tmp_path / "c.yaml", "--data", days, "--store", copy]
    command = ["nightly", *map(str, flags), "--day", DATES[5]]
    assert not cli.app(command, standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert f"fresh weights, not those of {DATES[4]}: features.number is new" in said
    night = night_of(copy, DATES[5])
    assert night["verdict"] == "PASS" and night["fresh"] == "features.number is new"
    assert night["base"] == DATES[4] and current(copy)["content"] == night["content"]
    # all that there is, but the day that was left out
    assert night["trained_on"] == [*DATES[:3], DATES[4]]
    path = copy / "nights" / DATES[5] / "evaluation" / "metrics.json"
    metrics = json.loads(path.read_text())
    assert metrics["baseline"]["scored_on"] == "raw rows"
    assert {*metrics["baseline"]["tasks"]} == {"click"}
    bases = {task: found["base"] for task, found in night["tasks"].items()}
    assert bases.pop("click") > 0.7 and {*bases.values()} == {None}
    gates = json.loads((path.parent / "verdict.json").read_text())["gates"]
    judged = {(gate["gate"], gate["task"], gate["rule"]) for gate in gates}
    assert judged >= {("auc", "again", "min 0.6"), ("drift", "click", "max_psi 99")}
    assert not any("again" == g["task"] for g in gates if "gain" in g["rule"])


@pytest.mark.parametrize(
    ("changes", "afresh", "fresh"),
    [
        ({}, "", ""),
        ({"train": {"batch_size": 128}}, "", ""),
        ({"model": {"trunk": "fm"}}, "", "model.trunk is 'fm', and was 'lr'"),
        ({"features": CONFIG["features"][:1]}, *["features.item is gone"] * 2),
        ({"features": CONFIG["features"][::-1]}, *["features are in another order"] * 2),
        (
            {"tasks": [{"name": "click", "at_least": 1}]},
            *["tasks.click.at_least is 1.0, and was None"] * 2,
        ),
    ],
)
def test_what_cannot_be_taken_over_is_said(store, changes, afresh, fresh):
    config, base = parse_config({**CONFIG, **changes}, "c"), store / "nights" / DATES[4]
    assert why_afresh(config, base / "examples") == afresh
    assert module._why_fresh(config, base) == fresh


def test_examples_of_an_earlier_format_are_made_afresh(store, config, tmp_path):
    base = shutil.copytree(store / "nights" / DATES[4], tmp_path / "night")
    path = base / "examples" / "schema.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    assert module._why_fresh(config, base) == "its examples are of format 1"


def test_a_night_that_died_leaves_no_trace(store, days, config, monkeypatch):
    """Killed after training, then between the night and its release."""
    before, day = contents(store), DATES[5]

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "preprocess", killed)
        with pytest.raises(KeyboardInterrupt):
            nightly(config, days, day, store)
    left = store / "nights" / f".{day}.partial-1"
    (left / "train.partial").mkdir(parents=True)
    assert contents(store) == before
    with monkeypatch.context() as patch:
        patch.setattr(module, "release", killed)
        with pytest.raises(KeyboardInterrupt):
            nightly(config, days, day, store)
    assert not left.exists()
    assert len(current(store)["releases"]) == 2
    record = nightly(config, days, day, store)
    assert record["verdict"] == "PASS" and record["base"] == DATES[4]
    assert current(store)["content"] == record["content"]

    # What an operator takes back stays back, and the next night starts from before it.
    roll_back(store / "served")
    nightly(config, days, day, store)
    assert current(store)["content"] == night_of(store, DATES[4])["content"]
    assert blessed(store, nights_of(store)).name == DATES[4]


@pytest.mark.parametrize("store", ["file", "file/store", "/proc/store"])
def test_a_store_that_cannot_be_is_named(tmp_path, days, config, store):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f"cannot write .*{store}: "):
        nightly(config, days, DATES[2], tmp_path / store)
