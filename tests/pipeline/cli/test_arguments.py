"""Wrong options and files end a command with one message and status 2."""

import re
import shutil

import pytest
from typer.testing import CliRunner

from steadyrank.pipeline.cli import app
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.beam_job import run_job
from tests.helpers import tiny
from tests.helpers.command_line import in_this_process, steadyrank
from tests.helpers.log_on_disk import ROWS, write_config


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--direct_num_worker=4"], "no --direct_num_worker. Did you mean '--direct_num_w"),
        (["--qqqqq=1"], r"Beam has no --qqqqq\.$"),
        (["--runner=FlnkRunner"], "Unexpected pipeline runner: FlnkRunner"),
        (["--runner=no.such.Runner"], "No module named 'no'"),
    ],
)
def test_a_flag_that_beam_does_not_know_is_refused(tmp_path, flags, said):
    with pytest.raises(InputError, match=said):
        run_job([], None, tmp_path, flags)


# What later TensorFlows say while they are loaded, whatever TF_CPP_MIN_LOG_LEVEL is.
LOADED = re.compile(r"WARNING: All log messages before absl|[IW]\d{4} .*\.cc:\d+\] ")


def one_message(said: str) -> str:
    assert "Traceback" not in said
    assert said.count("error") >= 1
    lines = said.strip().splitlines()
    assert len([line for line in lines if not LOADED.match(line)]) <= 3
    return said


def test_the_command_line_ends_with_one_message_and_status_2(folder, capsys):
    def failed(*arguments) -> str:
        assert in_this_process(*arguments) == 2
        return one_message(capsys.readouterr().err)

    path = write_config(folder)
    flags = ["--config", path, "--output", folder / "out"]
    item = [{"name": "itm", "kind": "categorical"}]
    message = failed("preprocess", *flags, "--set", f"features={item}")
    assert "Did you mean 'item'?" in message
    (folder / "log.parquet").write_bytes((folder / "log.parquet").read_bytes()[:-9])
    assert "log.parquet" in failed("preprocess", *flags)


def test_the_command_line_names_a_truncated_record_file(folder, config, examples):
    copy = shutil.copytree(examples, folder / "examples")
    path = sorted(copy.glob("train/*.tfrecord"))[0]
    path.write_bytes(path.read_bytes()[:-5])
    flags = ["--config", write_config(folder), "--examples", copy]
    done = steadyrank("train", *flags, "--output", folder / "train")
    assert done.returncode == 2, done.stderr
    assert str(path) in one_message(done.stderr)


@pytest.mark.parametrize(
    "command",
    [
        ["nightly", "--config", "c.yaml", "--day", "2024-03-05", "--store", "s3://b/s"],
        ["sweep", "--config", "c.yaml", "--examples", "s3://b/e", "--output", "o"],
        ["compare", "s3://b/run", "--output", "page.html"],
    ],
)
def test_what_needs_local_folders_says_so(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"local folders only. Received: s3://b/"):
        app(command, standalone_mode=False)
    assert not list(tmp_path.iterdir())


READING = {
    "preprocess": ["--config", "c.yaml", "--output", "out"],
    "run": ["--config", "c.yaml", "--output", "out"],
    "nightly": ["--config", "c.yaml", "--day", "2024-03-05", "--store", "store"],
}


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize(
    ("stray", "said"),
    [
        (["--sets", "train.epochs=3"], "No such option: --sets .*--set"),
        (["--runner=DirectRunner"], "No such option: --runner"),
        (["stray", "--", "--streaming"], r"unexpected extra argument.* \(stray\)"),
    ],
)
def test_a_misspelt_option_is_refused(name, stray, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [name, *READING[name], *stray], standalone_mode=False)
    assert re.search(said, done.exception.format_message())


@pytest.mark.parametrize("name", READING)
def test_what_follows_two_dashes_goes_to_beam(name, folder, monkeypatch):
    split = {"validation": 0.3, "test": "2024-03-05"}
    taken, path = [], write_config(folder, data__split=split)

    def take(config, folder, output, beam_flags, **more):
        taken.extend(beam_flags)
        raise InputError("that will do")

    monkeypatch.setattr("steadyrank.pipeline.preprocess.stage.preprocess", take)
    monkeypatch.setattr("steadyrank.pipeline.nightly.preprocess", take)
    monkeypatch.chdir(path.parent)
    with pytest.raises(InputError, match="that will do"):
        app([name, *READING[name], "--", "--runner=X", "--y", "z"], standalone_mode=False)
    assert taken == ["--runner=X", "--y", "z"]
