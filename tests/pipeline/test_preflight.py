"""What can only fail fails in seconds, before the first row, and says why."""

import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from steadyrank.models.features import Task
from steadyrank.pipeline import preflight
from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import Schema
from steadyrank.pipeline.export.latency import require_answers
from steadyrank.pipeline.files import room
from steadyrank.pipeline.files.errors import InputError, RefusedError
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.kinds import preprocess, train
from tests.helpers import tiny

GAIN = {"auc": {"click": {"min": 0.5, "min_gain": 0.0}}}


def with_gates(gates, **changes):
    return parse_config(tiny.config_document(gates=gates, **changes), "tiny")


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        (GAIN, "gates.auc.click.min_gain needs --baseline"),
        ({"drift": {"max_psi": 0.1}}, "gates.drift needs --baseline"),
        (
            {"slices": [{"by": ["country"], "auc": {"like": {"min_gain": 0.0}}}]},
            "gates.slices country.auc.like.min_gain needs --baseline",
        ),
        ({"stability": {"min_margin": 4}}, "gates.stability needs what"),
    ],
)
def test_a_gate_that_can_only_refuse_is_named(gates, said):
    with pytest.raises(InputError, match="no model could pass: ") as raised:
        preflight.require_passable(with_gates(gates), baseline=False, stability=False)
    assert said in str(raised.value)


def test_what_is_given_is_enough():
    gates = {**GAIN, "drift": {"max_psi": 0.1}, "stability": {"min_margin": 4}}
    config = with_gates(gates)
    (said,) = preflight.require_passable(config, baseline=True, stability=True)
    assert said == "gates: auc, drift, stability"
    plain = with_gates({"auc": {"click": {"min": 0.5}}})
    assert preflight.require_passable(plain, baseline=False, stability=False)


def test_every_file_of_the_log_is_opened(tmp_path):
    rows = tiny.make_rows(60)
    tiny.write_log(tmp_path, rows)
    (said, joined) = preflight.require_log(with_gates({}), tmp_path)
    assert said.startswith("log: 1 files, about 60 rows") and "users.parquet" in joined
    half = [{name: v for name, v in row.items() if name != "click"} for row in rows]
    tiny.write_parquet(half, tmp_path / "log.parquet")
    with pytest.raises(InputError, match="no column 'click', which tasks.click needs"):
        preflight.require_log(with_gates({}), tmp_path)


def test_a_place_without_room_or_rights_is_refused(tmp_path, monkeypatch):
    place = tmp_path / "not" / "yet"
    assert "free" in preflight.require_output(place)[0] and not place.parent.exists()
    assert "about 0.0 GB of it" in room.require_room(place, 9, "it")
    with pytest.raises(InputError, match="of it will be written.*Make room"):
        room.require_room(place, 1 << 60, "it")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot write"):
        preflight.require_output(place)
    (tmp_path / "file").touch()
    monkeypatch.undo()
    with pytest.raises(InputError, match="is no folder to write to"):
        preflight.require_output(tmp_path / "file" / "run")


def test_a_url_is_written_to_and_left_as_it_was(monkeypatch):
    stored, done = {}, []
    monkeypatch.setattr(room, "sizes", lambda url: done.append("asked") or stored)
    monkeypatch.setattr(room, "write_bytes", lambda url, _: stored.update({url: 1}))
    monkeypatch.setattr(room, "delete", lambda urls: [stored.pop(url) for url in urls])
    said = preflight.require_output(Url("s3://bucket/run"))
    assert said[0] == "output: s3://bucket/run can be written to"
    assert done == ["asked"] and not stored and "free" in said[1]

    def forbidden(url, _):
        raise InputError(f"{url}: the credentials do not open bucket")

    monkeypatch.setattr(room, "write_bytes", forbidden)
    with pytest.raises(InputError, match="s3://bucket/run/.probe-"):
        preflight.require_output(Url("s3://bucket/run"))


def test_gates_of_raw_rows_can_only_refuse_training_rows():
    gates = {"skew": {"max_difference": 1e-5}, "latency": {"max_p50_ms": 9}}
    config = with_gates(gates)
    given = {"baseline": False, "stability": False}
    preflight.require_passable(config, **given, split="validation")
    with pytest.raises(InputError, match="gates.skew, gates.latency needs raw rows"):
        preflight.require_passable(config, **given, split="train")


def card(folder, kind="ranking", **changes):
    """What stands beside an export, and is all that is read of a baseline here."""
    extra = folder / "1" / "assets.extra"
    extra.mkdir(parents=True, exist_ok=True)
    (folder / "1" / "saved_model.pb").touch()
    schema = Schema((), (Task("click"),), "click", (), False)
    found = {"kind": kind, "schema": schema.to_dict(), "config": {}}
    found |= {"training": {"steps": 1, "versions": {}}} | changes
    (extra / "card.json").write_text(json.dumps(found))
    return folder


def test_a_baseline_that_does_not_fit_is_refused_by_its_card(tmp_path):
    click = card(tmp_path / "click")
    (said,) = preflight.require_baseline_fits(with_gates(GAIN), click)
    assert str(click) in said
    like = {"gauc": {"like": {"min_gain": 0.0}}, "drift": {"max_psi": 0.1}}
    with pytest.raises(InputError, match="predicts click alone") as raised:
        preflight.require_baseline_fits(with_gates(like), click)
    for key in ("gates.gauc.like.min_gain", "gates.drift of like"):
        assert key in str(raised.value)
    assert "drift of click" not in str(raised.value)
    other = card(tmp_path / "next", kind="next_item")
    with pytest.raises(InputError, match="of kind next_item, and this config of kind rank"):
        preflight.require_baseline_fits(with_gates(GAIN), other)
    with pytest.raises(InputError, match="neither an export nor a folder"):
        preflight.require_baseline_fits(with_gates(GAIN), tmp_path)


def test_a_signature_that_an_export_lacks_is_named_before_a_row_is_scored(tmp_path):
    gate = {"signature": "candidates"}
    require_answers({"signatures": ["candidates"]}, gate, tmp_path)
    require_answers({}, gate, tmp_path)  # of an earlier version
    require_answers({"signatures": ["encoded"]}, None, tmp_path)
    with pytest.raises(InputError, match="answers to encoded, serving_default"):
        require_answers({"signatures": ["encoded", "serving_default"]}, gate, tmp_path)


def steadyrank(command, *arguments):
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def test_the_command_says_what_it_looked_at_and_run_refuses_before_it_begins(tmp_path):
    tiny.write_log(tmp_path, tiny.make_rows(60))
    config, output = tmp_path / "c.json", tmp_path / "run"
    config.write_text(json.dumps(tiny.config_document(gates={"size": {"max_mb": 9}})))
    done = steadyrank("check", "--config", config, "--output", output)
    assert done.exit_code == 0, done.output
    for said in ("config: ", "gates: size", "log: 1 files, about 60 rows", "output: "):
        assert said in done.output
    assert not output.exists()
    config.write_text(json.dumps(tiny.config_document(gates=GAIN)))
    for command in ("check", "run"):
        done = steadyrank(command, "--config", config, "--output", output)
        assert isinstance(done.exception, InputError), done.output
        assert "gates.auc.click.min_gain needs --baseline" in str(done.exception)
        assert not (output / "examples").exists()


def test_a_config_of_nights_is_checked_on_all_its_days_and_may_lack_a_baseline(tmp_path):
    for day in ("2024-03-01", "2024-03-02"):
        tiny.write_log(tmp_path, tiny.make_rows(60))
        (tmp_path / "log.parquet").rename(tmp_path / f"log-{day}.parquet")
    split = {"validation": 0.3, "test": "2024-03-05"}
    changes = {"data__input": ["log-{day}.parquet"], "data__split": split}
    said = list(preflight.check(with_gates(GAIN, **changes), tmp_path))
    assert any(line.startswith("log: 2 files, about 120 rows") for line in said)
    first = "gates.auc.click.min_gain needs --baseline: a store's first night leaves it out"
    assert any(line.startswith(first) for line in said)
    ladder = with_gates({"stability": {"min_margin": 4}}, **changes)
    with pytest.raises(InputError, match="gates.stability needs what"):
        list(preflight.check(ladder, tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        ("preprocess", "--output"),
        ("run", "--output"),
        ("train", "--examples", "none", "--output"),
        ("evaluate", "--examples", "none", "--model", "none", "--output"),
        ("sweep", "--examples", "none", "--output"),
        ("stability", "--examples", "none", "--output"),
        ("nightly", "--day", "2024-03-05", "--store"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_cannot_be_written_is_refused_before_anything_is_read(arguments, tmp_path):
    command, *given = arguments
    config, wrong = tmp_path / "c.json", tmp_path / "file" / "out"
    config.write_text(json.dumps(tiny.config_document(gates={"size": {"max_mb": 9}})))
    wrong.parent.touch()
    done = steadyrank(command, "--config", config, *given, wrong)
    assert isinstance(done.exception, InputError), done.output
    assert f"cannot write {wrong}: {wrong.parent} is no folder" in str(done.exception)


def test_a_full_disk_is_told_before_the_first_row_and_before_the_first_step(
    log_folder, examples, tmp_path, monkeypatch
):
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(room.shutil, "disk_usage", lambda _: full)
    config = parse_config(tiny.config_document(), "tiny")
    with pytest.raises(InputError, match="of examples, .* will be written, and 0.0 GB"):
        preprocess(config, log_folder, tmp_path / "examples")
    with pytest.raises(InputError, match="of checkpoints and weights will be written"):
        train(config, examples, tmp_path / "train")
    assert not (tmp_path / "examples").exists() and not (tmp_path / "train").exists()


def test_a_log_without_rows_and_an_output_in_its_place_are_refused(tmp_path):
    tiny.write_log(tmp_path, tiny.make_rows(60))
    config = with_gates({})
    with pytest.raises(InputError, match="--output would take the place of an input"):
        list(preflight.check(config, tmp_path, output=tmp_path))
    tiny.write_parquet([], tmp_path / "log.parquet")
    with pytest.raises(InputError, match="log.parquet: the log holds no rows"):
        list(preflight.check(config, tmp_path))


def looked(document, folder) -> list[str]:
    return list(preflight.check(parse_config(document, "c"), folder))


def test_rows_that_would_be_rejected_are_told_of_before_the_run(log_folder, tmp_path):
    document = tiny.config_document(data__join=[], data__max_rejected=0.01)
    document["features"] = [document["features"][0]]
    watch = {"kind": "regression", "given": "click", "loss": "tweedie"}
    document["tasks"][2] = {"name": "watch", "column": "price", **watch}
    with pytest.raises(InputError, match="max_rejected=0.01 allows.*label watch: below 0"):
        looked(document, log_folder)
    document["data"]["max_rejected"] = 1.0
    (said,) = (line for line in looked(document, log_folder) if "warning" in line)
    assert said.startswith("warning: would be rejected: label watch: below 0")
    document["tasks"] = [{"name": "old", "column": "age"}]
    document["data"]["max_rejected"] = 0.2
    with pytest.raises(InputError, match="of 600 rows .* label old: neither 0 nor 1"):
        looked(document, log_folder)


def days_of_text(folder, days: int, broken=(), rows: int = 40) -> dict:
    """A config of files of CSV, one a day; some of their lines may be broken."""
    for day in range(days):
        lines = [f"{day + 1}000000000,u{n},{n % 2}" for n in range(rows)]
        for place, line in broken[day] if day < len(broken) else ():
            lines[place] = line
        (folder / f"{day:02}.csv").write_text("\n".join(["at,user,click", *lines]) + "\n")
    split = {"validation": "1970-02-01", "test": "1970-03-01"}
    return {
        "data": {"input": ["*.csv"], "time": "at", "split": split},
        "features": [{"name": "user", "kind": "categorical"}],
        "tasks": [{"name": "click"}],
        "model": {"trunk": "dcn_v2"},
    }


def test_every_kind_of_row_that_would_be_rejected_is_counted_in_the_sample(tmp_path):
    broken = [((3, "1,u3"), (5, "noon,u5,1"), (7, "1000000000,u7,maybe"))]
    document = days_of_text(tmp_path, 10, broken)
    said = looked(document, tmp_path)
    assert "rows: 400 looked at, 3 would be rejected" in said
    first = tmp_path / "00.csv"
    for why in (
        f'CSV line has 2 columns instead of 3: 1, such as "1,u3" in line 5 of {first}',
        f'at: no readable time: 1, such as "noon" in line 7 of {first}',
        f'label click: not a number: 1, such as "maybe" in line 9 of {first}',
    ):
        assert any(s.startswith(f"warning: would be rejected: {why}") for s in said), said
    document = days_of_text(tmp_path, 10, [broken[0], ((0, "x"), (1, "y"))])
    with pytest.raises(InputError, match="^5 of 400 rows would be rejected, more than"):
        looked(document, tmp_path)


def test_a_column_that_a_file_calls_otherwise_is_said(tmp_path):
    document = days_of_text(tmp_path, 2)
    document["features"].append({"name": "category", "kind": "categorical"})
    for place, name in enumerate(("category", "categorie")):
        file = tmp_path / f"{place:02}.csv"
        first, *lines = file.read_text().splitlines()
        lines = [f"{first},{name}", *(f"{line},c" for line in lines)]
        file.write_text("\n".join(lines) + "\n")
    missing = "warning: column category is missing in "
    (said,) = (line for line in looked(document, tmp_path) if line.startswith(missing))
    assert said.endswith("01.csv: null there (it has 'categorie': a new name?)")


def test_one_bad_file_of_a_sample_does_not_condemn_a_log_but_most_do(tmp_path):
    bad = [(place, "x") for place in range(40)]
    said = looked(days_of_text(tmp_path, 90, [bad]), tmp_path)
    assert "rows: 1,240 looked at, 40 would be rejected" in said
    document = days_of_text(tmp_path, 90, [bad[:1]] * 90)
    with pytest.raises(InputError, match="^31 of 1,240 rows that were looked at would be"):
        looked(document, tmp_path)


def test_a_wrong_cluster_and_a_wrong_exemption_are_refused(log_folder, monkeypatch):
    exempt = tiny.config_document(contract={"exempt": ["nope"]})
    with pytest.raises(InputError, match="contract.exempt: 'nope' is no column"):
        looked(exempt, log_folder)
    monkeypatch.setenv("TF_CONFIG", "nojson")
    with pytest.raises(InputError, match="TF_CONFIG must look like"):
        looked(tiny.config_document(), log_folder)


def test_a_feature_that_tells_a_label_is_warned_of(tmp_path):
    rows = [r | {"number": r["click"] * 7 + r["number"] % 7} for r in tiny.make_rows(600)]
    tiny.write_log(tmp_path, rows)
    document = tiny.config_document()
    document["features"].append({"name": "told", "column": "number", "kind": "numeric"})
    said = [*preflight.check(parse_config(document, "tiny"), tmp_path)]
    (warned,) = [line for line in said if "warning" in line]
    assert warned.startswith("warning: feature told alone tells click with an AUC of 1.0")
    assert "rows: 600 looked at" in said


def test_a_log_is_held_to_the_contract_that_the_config_names(log, rows, first, tmp_path):
    config = tiny.config_on(tiny.DATES[5], contract={"against": str(first)})
    said = [*preflight.check(config, log)]
    assert f"data contract: PASS, {tiny.DATES[4]}, {tiny.DATES[5]}" in said
    late = [r | {"price": (r["price"] or 1) * 1000} for r in rows[300:]]
    tiny.write_log(tmp_path, [*rows[:300], *late])
    with pytest.raises(RefusedError, match="feature price: numbers are") as error:
        list(preflight.check(config, tmp_path))
    assert error.value.days == (tiny.DATES[5],)
