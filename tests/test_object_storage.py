"""The whole way with every path on s3://, against a local S3 server, and its errors.

In an environment with tensorflow-io examples are streamed by it, in one without by us.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from steadyrank.pipeline import cli
from steadyrank.pipeline.config import parse_config
from steadyrank.pipeline.files import object_store, staging, whole_folders
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.object_store import sizes
from steadyrank.pipeline.files.urls import Url, locate, within
from steadyrank.pipeline.files.whole_folders import MARKER, fetch, send
from steadyrank.pipeline.kinds import evaluate, export, train
from tests.helpers import tiny

server = pytest.importorskip("moto.server", reason="pip install 'steadyrank[test]'")
ROOT = Path(__file__).resolve().parent.parent
GATES = {
    "divergence": {"max_micro": 100},
    "auc": {"click": {"min": 0.0}},
    "skew": {"max_difference": 1.0e-5},
}
DOCUMENT = tiny.config_document(**tiny.LONG_ENOUGH, gates=GATES)
DOCUMENT["model"] = {"trunk": "lr"}  # compiles fast
# One process does what eight would: each pays for TensorFlow's start.  The last command
# goes through ``main``, which ends the process.
DRIVER = """
import importlib.util, json, sys
from steadyrank.pipeline import cli
from steadyrank.pipeline.files import object_store, staging, whole_folders
from steadyrank.pipeline.cli import application
import tensorflow as tf

# as in conftest.py: weights are compared bit for bit
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

class Killed(BaseException):
    pass

send = staging.Snapshots.__call__

def killed(self, work):
    send(self, work)
    raise Killed

*commands, last = json.loads(sys.stdin.read())
application.be_quiet()
for command in commands:
    kill = command.pop(0) == "killed"
    staging.Snapshots.__call__ = killed if kill else send
    try:
        cli.app(command, standalone_mode=False)
        assert not kill
    except Killed:
        print("killed after a checkpoint")
streams = importlib.util.find_spec("tensorflow_io") is not None
assert streams == ("tensorflow_io" in sys.modules)
cli.main(last[1:])
"""


@pytest.fixture(scope="module")
def s3():
    """A bucket, and what the environment says of it."""
    import boto3

    thread = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield Url("s3://bucket")
    thread.stop()


def commands(s3) -> list[list[str]]:
    at = {name: f"{s3}/{name}" for name in ("log", "examples", "train", "export", "e")}
    told = ["--config", f"{s3}/config.yaml"]
    with_examples = [*told, "--examples", at["examples"]]
    often = ["--set", "train.checkpoint_every=2"]
    train = ["train", *with_examples, "--output", at["train"], *often]
    judge = ["evaluate", *with_examples, "--model", at["export"], "--output", at["e"]]
    given = ["--evaluation", at["e"], "--to", f"{s3}/served"]
    release = ["release", "--model", at["export"], *given]
    return [
        ["", "preprocess", *told, "--data", at["log"], "--output", at["examples"]],
        ["killed", *train],
        ["", *train, "--resume"],
        ["", "export", *told, "--train", at["train"], "--output", at["export"]],
        ["", *judge],
        ["", *release],
        ["", *release],
        ["", "release", "--to", f"{s3}/served", "--rollback"],
        ["", *judge, "--overwrite", "--set", "gates.auc.click.min=0.999"],
    ]


@pytest.fixture(scope="module")
def done(s3, log_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    (folder / "config.yaml").write_text(yaml.safe_dump(DOCUMENT))
    object_store.write_bytes(s3 / "config.yaml", (folder / "config.yaml").read_bytes())
    send(log_folder, s3 / "log")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path += {sys.path!r}\n{DRIVER}"],
        input=json.dumps(commands(s3)),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )


def read(s3, name: str) -> dict:
    return json.loads(object_store.read_bytes(s3 / name))


def test_the_exit_status_is_the_verdicts(done):
    """The last evaluation was refused; tensorflow-io would have made it 134."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "killed after a checkpoint" in done.stdout
    assert "REFUSE" in done.stdout and "Traceback" not in done.stderr


def test_results_are_those_of_local_files(s3, done, examples, tmp_path):
    assert done.returncode == 1, done.stdout + done.stderr
    config, trained = parse_config(DOCUMENT, "c"), tmp_path / "trained"
    train(config, examples, trained)
    exported = export(config, trained, tmp_path / "export")
    for path in sorted(examples.rglob("*.tfrecord")):
        name = path.relative_to(examples).as_posix()
        assert object_store.read_bytes(s3 / "examples" / name) == path.read_bytes()
    fetch(s3 / "train", tmp_path / "train")
    ours, theirs = (
        tf.train.load_checkpoint(str(p / "best" / "weights"))
        for p in (tmp_path / "train", trained)
    )
    keys = [k for k in theirs.get_variable_to_shape_map() if "VARIABLE_VALUE" in k]
    assert len(keys) == 6  # a table, a kernel, three biases, a factor
    for key in keys:
        np.testing.assert_array_equal(ours.get_tensor(key), theirs.get_tensor(key))
    assert not sizes(s3 / "train.partial")
    local = evaluate(config, examples, exported, tmp_path / "evaluation")["metrics"]
    metrics = read(s3, "e/metrics.json")
    for task, found in local["tasks"].items():
        for name in ("rows", "auc", "log_loss", "rmse", "calibration"):
            if name in found:
                assert metrics["tasks"][task][name] == found[name], (task, name)
    blessed = read(s3, "served/blessed.json")
    assert blessed["current"] == 1 and len(blessed["releases"]) == 1
    assert blessed["model"] == metrics["model"] == f"{s3}/export/1"
    found = sizes(s3 / "served")
    assert "1/saved_model.pb" in found and "2/saved_model.pb" not in found
    assert "withdrawn/2/saved_model.pb" in found


def test_a_half_written_folder_is_refused(s3, tmp_path):
    folder = tmp_path / "folder"
    (folder / "part").mkdir(parents=True)
    (folder / "part" / "a").write_bytes(b"1234")
    (folder / "b").write_bytes(b"5")
    send(folder, s3 / "half")
    fetch(s3 / "half", tmp_path / "whole")
    assert (tmp_path / "whole" / "part" / "a").read_bytes() == b"1234"
    object_store.write_bytes(s3 / "half" / "part/a", b"12")
    with pytest.raises(InputError, match=r"half/part/a must hold 4 bytes. Received: 2"):
        fetch(s3 / "half", tmp_path / "x")
    send(folder, s3 / "half")
    marker = object_store.read_bytes(s3 / "half" / MARKER)
    whole_folders.remove(s3 / "half")
    object_store.write_bytes(s3 / "half" / "b", b"5")
    with pytest.raises(InputError, match="holds 1 objects and no _COMPLETE.json"):
        fetch(s3 / "half", tmp_path / "x")
    object_store.write_bytes(s3 / "half" / MARKER, marker)
    with pytest.raises(InputError, match="no such object"):
        fetch(s3 / "half", tmp_path / "x")


def test_sending_writes_the_marker_last_and_removes_it_first(s3, tmp_path, monkeypatch):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    send(folder, s3 / "twice")
    files = object_store._files(s3)

    def broken(source, url):
        raise OSError("the line is cut")

    monkeypatch.setattr(files, "write", broken)
    with pytest.raises(InputError, match="cut"):
        send(folder, s3 / "twice")
    assert not whole_folders.exists(s3 / "twice")


def test_an_interrupted_run_in_a_bucket_is_not_lost(s3, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "log.jsonl").write_text("{}")
    snapshots = staging.Snapshots(s3 / "halfway")
    snapshots.require_none()
    object_store.write_bytes(s3 / "halfway.partial" / "stray" / "x", b"")
    snapshots(tmp_path / "work")
    with pytest.raises(InputError, match="halfway.partial holds an interrupted run"):
        snapshots.require_none()
    told = ["--config", f"{s3}/config.yaml", "--examples", f"{s3}/examples"]
    with pytest.raises(InputError, match="Pass --resume"):
        cli.app(["train", *told, "--output", f"{s3}/halfway"], standalone_mode=False)


def test_a_rollback_withdraws_what_is_served_and_loses_nothing(s3, tmp_path):
    """Version 3 was sent, but its release died before it was named; 4 died on its way."""
    for version in ("1", "2", "3", "4"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").write_text(version)
        send(tmp_path / version, s3 / "store" / version)
    object_store._files(s3).delete([s3 / "store/4" / MARKER])
    entries = [{"version": n, "verdict": "PASS", "content": "c"} for n in (1, 2)]
    blessed = {"current": 2, **entries[-1], "releases": entries}
    object_store.write_bytes(s3 / "store" / "blessed.json", json.dumps(blessed).encode())
    for current in (2, 1):
        cli.app(["release", "--to", f"{s3}/store", "--rollback"], standalone_mode=False)
        assert read(s3, "store/blessed.json")["current"] == current
        assert whole_folders.versions_at(s3 / "store") == list(range(1, current + 1))
    assert not sizes(s3 / "store" / "4")
    for version in ("2", "3", "4"):
        place = s3 / "store/withdrawn" / version
        assert object_store.read_bytes(place / "saved_model.pb") == version.encode()
        assert whole_folders.exists(place) == (version != "4")


def test_a_folder_of_exports_is_no_release_folder(s3, tmp_path):
    exported = s3 / "exports" / "1"
    for name, text in (
        ("saved_model.pb", "1"),
        ("metrics.json", '{"split": "test", "tasks": {}}'),
    ):
        (tmp_path / name).write_text(text)
    (tmp_path / "verdict.json").write_text('{"verdict": "PASS", "gates": []}')
    send(tmp_path, exported)
    told = ["--model", str(exported), "--evaluation", str(tmp_path)]
    with pytest.raises(InputError, match=f"{exported} is an export that no release put"):
        cli.app(["release", *told, "--to", f"{s3}/exports"], standalone_mode=False)
    assert whole_folders.versions_at(s3 / "exports") == [1]


def test_a_missing_bucket_and_wrong_credentials_are_named(s3, monkeypatch):
    with pytest.raises(InputError, match="bucket 'nowhere' does not exist"):
        sizes(Url("s3://nowhere/x"))
    import boto3
    import requests

    endpoint = os.environ["AWS_ENDPOINT_URL"]
    requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        with pytest.raises(InputError, match="credentials do not open bucket 'bucket'"):
            sizes(s3 / "x")
    finally:
        requests.post(f"{endpoint}/moto-api/reset-auth", data=b"Infinity", timeout=10)
    assert boto3.client("s3").list_buckets()["Buckets"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PassingError, match="Could not connect to the endpoint"):
        sizes(s3 / "x")


def test_what_a_path_means():
    assert locate("a/b") == Path("a/b")
    assert locate("s3://a/b") / "c" == "s3://a/b/c"
    assert Url("s3://a/b/").name == "b" and Url("s3://a/b").parent == "s3://a"
    assert within(Url("s3://a"), "log.csv") == "s3://a/log.csv"
    assert within(Path("x"), "s3://a/log.csv") == "s3://a/log.csv"
    with pytest.raises(InputError, match="unknown scheme"):
        locate("ftp://a/b")
