"""What a stage writes takes the place of nothing it should not, and stays whole."""

import pytest

from steadyrank.pipeline.cli import app
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.places import keep_apart
from steadyrank.pipeline.files.publish import PARTIAL, publish
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.kinds import preprocess
from tests.helpers import tiny
from tests.helpers.log_on_disk import ROWS, run, write_config


@pytest.fixture
def folder(tmp_path):
    tiny.write_log(tmp_path / "in", ROWS)
    return tmp_path / "in"


def test_an_output_that_exists_is_refused_and_replaced_when_asked(folder):
    run(folder)
    before = (folder / "out" / "manifest.json").read_bytes()
    config = parse_config(tiny.config_document(), "c")
    with pytest.raises(InputError, match="exists already.*--overwrite"):
        preprocess(config, folder, folder / "out")
    assert (folder / "out" / "manifest.json").read_bytes() == before
    tiny.write_parquet(ROWS[:200], folder / "log.parquet")
    split = {"validation": "2024-03-03", "test": "2024-03-04"}
    config = parse_config(tiny.config_document(data__split=split), "c")
    assert preprocess(config, folder, folder / "out", overwrite=True)["rows"]["read"] == 200
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["log.parquet", "out", "users.parquet"]


def test_an_interrupted_stage_leaves_what_was_there(tmp_path):
    path = tmp_path / "out"
    for overwrite in (False, True):
        with pytest.raises(KeyboardInterrupt):
            with publish(path, overwrite) as partial:
                (partial / "half").write_text("x")
                assert not (path / "half").exists()
                raise KeyboardInterrupt
        if not overwrite:
            assert list(tmp_path.iterdir()) == []
            with publish(path) as partial:
                (partial / "train.json").write_text("y")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert [p.name for p in path.iterdir()] == ["train.json"]


@pytest.mark.parametrize("name", ["log.parquet", "a/train.json"])
def test_what_no_stage_wrote_is_not_replaced(tmp_path, name):
    path = tmp_path / "out"
    (path / name).parent.mkdir(parents=True)
    (path / name).write_text("")
    for output in (path, path / name):
        with pytest.raises(InputError, match="not what a stage wrote"):
            with publish(output, overwrite=True):
                pass
    (path / name).unlink()
    assert not [p for p in path.rglob(".*")]


def test_what_another_job_published_meanwhile_stays(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(InputError, match="out exists already"):
        with publish(path) as partial:
            (partial / "ours").write_text("x")
            path.mkdir()
            (path / "train.json").write_text("y")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "train.json"]
    with publish(path, overwrite=True) as partial:
        (partial / "ours").write_text("x")
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "ours"]


def test_jobs_of_one_process_id_do_not_share_what_is_half_done(tmp_path):
    """In containers each is process 1."""
    path = tmp_path / "out"
    with pytest.raises(InputError, match="out exists already"):
        with publish(path) as first:
            (first / "a").write_text("x")
            with publish(path) as second:
                (second / "b").write_text("y")
            assert [p.name for p in first.iterdir()] == ["a"]
    assert [p.name for p in path.iterdir()] == ["b"]
    assert first.match(PARTIAL)  # which nightly removes


def test_an_output_that_cannot_be_written_is_named(folder):
    config = parse_config(tiny.config_document(), "c")
    (folder / "file").write_text("x")
    with pytest.raises(InputError, match="cannot write .*file/out"):
        preprocess(config, folder, folder / "file" / "out")


@pytest.mark.parametrize("output", [".", "..", "/", "log", "log/..", "log.parquet"])
@pytest.mark.parametrize("flag", [[], ["--overwrite"]])
def test_an_output_takes_the_place_of_nothing_that_is_needed(
    folder, output, flag, monkeypatch
):
    (folder / "log").mkdir()
    (folder / "log.parquet").rename(folder / "log" / "log.parquet")
    (folder / "log" / "manifest.json").write_text("{}")  # as if a stage had written it
    write_config(folder, data__input=["log/log.parquet"])
    monkeypatch.chdir(folder)
    command = ["preprocess", "--config", "c.yaml", "--output", output, *flag]
    if output == "log.parquet":
        command = ["train", "--config", "c.yaml", "--examples", output, "--output", output]
    with pytest.raises(
        InputError, match="--output (must be a folder of its|would take the)"
    ):
        app(command, standalone_mode=False)
    assert (folder / "log" / "log.parquet").exists()


def test_an_output_in_a_bucket_is_kept_apart_too():
    keep_apart(Url("s3://b/log"), Url("s3://b/logs/*.parquet"), Url("s3://b/l"), None)
    with pytest.raises(InputError, match=r"an input, s3://b/log/\*.parquet"):
        keep_apart(Url("s3://b/log/"), Url("s3://b/log/*.parquet"))
