"""Releases and rollbacks in a bucket: two at once, and cut off after any operation."""

import itertools
import json
import os

import pytest

from steadyrank.pipeline.evaluate.release import release, roll_back
from steadyrank.pipeline.files import object_store
from steadyrank.pipeline.files.errors import PassingError
from steadyrank.pipeline.files.object_store import read_bytes, sizes
from steadyrank.pipeline.files.publish import hash_folder
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.files.whole_folders import exists, versions_at

server = pytest.importorskip("moto.server", reason="pip install 'steadyrank[test]'")
OPERATIONS = ("sizes", "read", "write", "delete", "read_tagged", "write_if")


class Killed(BaseException):
    """What ends a process at once: no handler of ours may catch it."""


@pytest.fixture(scope="module")
def bucket():
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
        boto3.client("s3").create_bucket(Bucket="served")
        yield Url("s3://served")
    thread.stop()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Exports that passed, each with its evaluation."""
    found = []
    for number in (1, 2, 3):
        folder = tmp_path_factory.mktemp("models")
        (folder / "export/variables").mkdir(parents=True)
        (folder / "export/saved_model.pb").write_text(f"model {number}")
        (folder / "export/variables/data").write_text(f"weights {number}")
        (folder / "evaluation").mkdir()
        content = hash_folder(folder / "export", "assets.extra")
        metrics = {"content": content, "split": "test", "tasks": {}, "fingerprint": "f"}
        (folder / "evaluation/metrics.json").write_text(json.dumps(metrics))
        (folder / "evaluation/verdict.json").write_text('{"verdict": "PASS", "gates": []}')
        found.append(folder)
    return found


def do_release(model, to):
    with Staging() as staging, staging.served(to) as local:
        return release(model / "export", model / "evaluation", local)


def do_roll_back(to):
    with Staging() as staging, staging.served(to) as local:
        return roll_back(local)


def state(to) -> dict:
    """What is served, what is named, and what was withdrawn: content by version."""
    served = {v: read_bytes(to / str(v) / "variables/data") for v in versions_at(to)}
    blessed = json.loads(read_bytes(to / "blessed.json"))
    named = [(e["version"], e["content"]) for e in blessed["releases"]]
    withdrawn = versions_at(to / "withdrawn")
    gone = {v: read_bytes(to / f"withdrawn/{v}/variables/data") for v in withdrawn}
    return {"current": blessed["current"], "served": served, "named": named, "gone": gone}


def breaking(patch, at: int):
    """Let the process die just after the operation of a number, so before the next."""
    count = itertools.count()

    def wrap(done):
        def operation(self, *arguments):
            turn = next(count)
            result = done(self, *arguments)
            if turn == at:
                raise Killed
            return result

        return operation

    for name in OPERATIONS:
        patch.setattr(
            object_store._S3Files, name, wrap(getattr(object_store._S3Files, name))
        )


@pytest.mark.parametrize("act", ["release", "rollback"])
def test_cut_off_anywhere_the_same_command_ends_it(bucket, models, act):
    start = bucket / f"{act}-start"
    for model in models[:2]:
        do_release(model, start)

    import boto3

    client, keys = boto3.client("s3"), list(sizes(start))

    def prepare(name):
        """The same objects below another name."""
        for key in keys:
            source = f"served/{act}-start/{key}"
            client.copy_object(Bucket="served", Key=f"{name}/{key}", CopySource=source)
        return bucket / name

    def do(to):
        return do_roll_back(to) if act == "rollback" else do_release(models[2], to)

    whole = prepare(f"{act}-whole")
    do(whole)
    wanted = state(whole)
    for turn in itertools.count():
        to = prepare(f"{act}-{turn}")
        with pytest.MonkeyPatch.context() as patch:
            breaking(patch, turn)
            try:
                do(to)
                break  # there is no operation of that number
            except Killed:
                pass
        first = state(to)
        assert first["current"] in first["served"], turn  # what is named is there, whole
        if act == "rollback" and first["current"] == wanted["current"]:
            # it had been named: the same command must not go back once more
            if first != wanted:
                do(to)
            assert state(to) == wanted, turn
            continue
        do(to)
        found = state(to)
        assert found["served"][found["current"]] == wanted["served"][wanted["current"]]
        assert max(found["served"]) == found["current"], turn
        assert {v for v, _ in found["named"]} == set(found["served"]), turn
        every = {**found["served"], **found["gone"]}
        assert set(wanted["served"].values()) <= set(every.values()), turn
    assert turn > 8


def test_of_two_releases_at_once_one_is_told_to_try_again(bucket, models):
    to = bucket / "race"
    do_release(models[0], to)
    with Staging() as one, Staging() as two:
        with pytest.raises(PassingError, match="another release takes version 2"):
            with one.served(to) as slow:
                with two.served(to) as fast:
                    release(models[1] / "export", models[1] / "evaluation", fast)
                release(models[2] / "export", models[2] / "evaluation", slow)
    assert state(to)["served"] == {1: b"weights 1", 2: b"weights 2"}
    do_release(models[2], to)
    found = state(to)
    assert found["served"] == {1: b"weights 1", 2: b"weights 2", 3: b"weights 3"}
    assert found["current"] == 3


def test_a_rollback_between_a_release_and_its_naming_is_not_overwritten(bucket, models):
    to = bucket / "between"
    for model in models[:2]:
        do_release(model, to)
    with Staging() as one, Staging() as two:
        with pytest.raises(PassingError, match="came first"):
            with one.served(to) as slow:
                with two.served(to) as fast:
                    roll_back(fast)
                release(models[2] / "export", models[2] / "evaluation", slow)
    assert state(to)["current"] == 1
    do_release(models[2], to)  # what was sent and never named is withdrawn
    found = state(to)
    assert found["served"] == {1: b"weights 1", 4: b"weights 3"}
    assert found["gone"] == {2: b"weights 2", 3: b"weights 3"}


def test_an_answer_that_was_lost_is_looked_at(bucket):
    url, tag = bucket / "lost/blessed.json", object_store.ABSENT
    assert object_store.write_bytes_if(url, b"ours", tag)
    assert object_store.write_bytes_if(url, b"ours", tag)  # the service says: it exists
    assert not object_store.write_bytes_if(url, b"another's", tag)
    assert object_store.read_tagged(url)[0] == b"ours"
    assert object_store.read_tagged(bucket / "nothing") == (None, object_store.ABSENT)
    assert not exists(bucket / "lost") and len(sizes(bucket / "lost")) == 1
    assert "AWS_ENDPOINT_URL" in os.environ
