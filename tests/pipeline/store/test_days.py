"""Days that are passed over, cannot be, or are at work; who is to blame."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import (
    InputError,
    PassingError,
    RefusedError,
)
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.gates.nights import blame
from steadyrank.pipeline.nightly import nightly
from steadyrank.pipeline.preprocess.plan import Addition
from steadyrank.pipeline.store import days as days_module
from steadyrank.pipeline.store.begun import clear
from steadyrank.pipeline.store.contract import without_refused
from tests.helpers import tiny
from tests.helpers.nights import CONFIG, rows_of
from tests.helpers.tiny import DATES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nightly")
    for day, date in enumerate(DATES):
        tiny.write_parquet(rows_of(day), folder / f"{date}.parquet")
    return folder


@pytest.fixture(scope="module")
def config():
    return parse_config(CONFIG, "nightly")


@pytest.mark.parametrize(
    ("last", "trained_on"),
    [(1, DATES[3:5]), (2, DATES[3:5]), (3, DATES[2:5]), (None, DATES[:5])],
)
def test_no_day_since_the_base_is_passed_over(first, second, tmp_path, last, trained_on):
    """Two days were added: the night between was refused, or never ran."""
    (tmp_path / "examples").symlink_to(first)
    settings = tiny.config_on(DATES[5], nightly={"train_days": last})
    found = days_module.windows_of(settings, ExampleSet.open(second), tmp_path)
    assert found == tuple(trained_on)


def test_days_without_files_are_passed_over(first, tmp_path):
    """All but the one to judge on, whose files are missed in reading."""
    addition = Addition(first, DATES[5])  # which trains up to the third day
    inputs = ["{day}.parquet", "more-{day}.csv", "all.parquet"]
    for name in (f"{DATES[2]}.parquet", f"more-{DATES[4]}.csv", "all.parquet"):
        (tmp_path / name).touch()
    config = tiny.config_on(DATES[0], data__input=inputs)
    settings, missing = days_module.on_day(config, tmp_path, DATES[5], addition)
    assert missing == [DATES[3]]
    read = {path for path in settings.data.input if DATES[3] in path}
    assert not read and "all.parquet" in settings.data.input
    assert {f"{day}.parquet" for day in (DATES[2], *DATES[4:])} < {*settings.data.input}


def test_a_night_goes_on_without_an_earlier_day_that_is_refused():
    asked = []

    def make(addition):
        asked.append(addition.without)
        if len(asked) == 1:
            raise RefusedError("no", [DATES[1]], [f"{DATES[1]}: too few rows"])
        return "made"

    why = {DATES[1]: [f"{DATES[1]}: too few rows"]}
    addition = Addition(None, DATES[4], (DATES[3],))
    assert without_refused(make, addition) == ("made", why)
    assert asked == [(DATES[3],), (DATES[3], DATES[1])]
    asked.clear()
    assert without_refused(make, Addition(None, DATES[1])) == (None, why)


HOLD = """
import sys, time
from pathlib import Path
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.gates.nights import blame

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_night_at_a_time_and_a_dead_one_holds_nothing(tmp_path, days, config):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(PassingError, match=f"in use by process {process.pid} on"):
            nightly(config, days, DATES[2], tmp_path)
        process.kill()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == process.pid
    with locked(tmp_path / "lock"):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()


def test_what_is_hidden_and_not_a_nights_own_stays(tmp_path):
    for name in ("served/.gitkeep", "served/.3.partial-7/x", "nights/.cache/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clear(tmp_path)
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == [".gitkeep", "x"] and not (tmp_path / "served/.3.partial-7").exists()


@pytest.mark.parametrize(
    ("changes", "day", "said"),
    [
        ({}, "yesterday", "--day must be a date"),
        ({"split": {"validation": "2024-03-01", "test": "2024-03-02"}}, DATES[2], "frac"),
        ({"window": "7d"}, DATES[2], "data.window must be a day"),
    ],
)
def test_what_cannot_be_a_night_is_refused(tmp_path, days, changes, day, said):
    document = {**CONFIG, "data": CONFIG["data"] | changes}
    with pytest.raises(InputError, match=said):
        nightly(parse_config(document, "c"), days, day, tmp_path / "store")


@pytest.mark.parametrize(
    ("theirs", "gate", "blamed"),
    [
        (0.4, "auc", DATES[2]),  # the blessed model does not do well on the day either
        (0.8, "auc", DATES[1]),  # the new one alone does not
        (0.8, "latency", None),  # and that is no day's fault
    ],
)
def test_who_is_to_blame(theirs, gate, blamed):
    gates = {"auc": {"click": {"min": 0.6}}, "gauc": {"click": {"min_gain": 0.1}}}
    gates["auc"]["new"] = {"min": 0.6}  # a task that the blessed model does not have
    gates["calibration"] = {"click": {"deciles": {"max_error": 0.5}}}
    tasks = [*CONFIG["tasks"], {"name": "new", "column": "click"}]
    config = parse_config({**CONFIG, "gates": gates, "tasks": tasks}, "c")
    found = {"rows": 100, "auc": theirs, "gauc": theirs}
    result = {
        "gates": [{"gate": gate, "verdict": "REFUSE"}],
        "metrics": {"baseline": {"tasks": {"click": found}}, "where": "test (a day)"},
    }
    told = blame(config, result, DATES[2], tuple(DATES[:2]))
    assert told["left_out"] == blamed
    if blamed == DATES[2]:
        said = "fails there as well: AUC of click on test (a day): 0.4000 is below 0.6"
        assert said in told["left_out_because"]
    # with fresh weights for a new feature, say: that may be to blame, and no earlier day
    wanted = None if blamed == DATES[1] else blamed
    assert blame(config, result, DATES[2], ())["left_out"] == wanted
