"""Engines of this machine: what is asked of them, and what happens where they are not."""

import os
import subprocess
import sys
import zipfile

import pytest

from benchmarks.engines import __main__ as engines
from benchmarks.engines import jars
from benchmarks.engines.clusters import until


def test_without_java_it_says_so_and_fails_nothing(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(engines, "write_log", lambda *_: None)
    engines.main(["--rows", "100"])
    assert capsys.readouterr().out == "skipped: engines were not run, there is no java.\n"


def test_what_maven_cannot_fetch_is_told_of(monkeypatch, tmp_path):
    said = "[INFO] x\n[ERROR] Could not find artifact org.apache.beam:x\n[ERROR] more\n"
    failed = subprocess.CompletedProcess([], 1, stdout=said)
    monkeypatch.setattr(jars.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(jars.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(jars, "ROOT", tmp_path)
    with pytest.raises(jars.NotAtHand, match="flink cannot be fetched: Could not find"):
        jars.classes_of("flink")


def test_jars_of_these_versions_are_fetched_once(monkeypatch, tmp_path):
    calls = []

    def fetch(command, **_):
        calls.append(command)
        folder.mkdir(parents=True)
        return subprocess.CompletedProcess([], 0)

    folder = tmp_path / "build" / "engines" / "spark" / "jars"
    monkeypatch.setattr(jars.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(jars.subprocess, "run", fetch)
    monkeypatch.setattr(jars, "ROOT", tmp_path)
    assert jars.classes_of("spark") == jars.classes_of("spark") == folder
    assert len(calls) == 1
    (folder / "whole").write_bytes(b"other versions")
    jars.classes_of("spark")
    assert len(calls) == 2


def test_a_job_servers_jar_names_all_others(tmp_path):
    names = [f"{'long-name-' * 9}{number}.jar" for number in range(3)]
    for name in names:
        (tmp_path / name).touch()
    path = jars.job_server(tmp_path, "org.Main", tmp_path / "server")
    with zipfile.ZipFile(path) as file:
        text = file.read("META-INF/MANIFEST.MF").decode()
    assert max(map(len, text.split("\r\n"))) <= 72  # what Java reads
    whole = text.replace("\r\n ", "")
    assert "Main-Class: org.Main\r\n" in whole
    assert all(f"{tmp_path}/{name}" in whole for name in names)


def test_versions_are_those_of_the_file():
    assert {"beam", "flink", "job.service"} == {*jars.versions("flink")}
    assert jars.versions("spark")["spark"].startswith("3.5")


@pytest.mark.parametrize(
    "status, made, expected",
    [
        (0, {"a": "1"}, "whole"),
        (0, {"a": "2"}, "WRONG"),
        (75, None, "refused, status 75"),
        (75, {"a": "1"}, "WRONG"),
    ],
)
def test_a_run_that_lost_a_worker_is_whole_or_refused(
    monkeypatch, tmp_path, status, made, expected
):
    class Job:
        def __init__(self, *_, **__):
            self.waits = [subprocess.TimeoutExpired("", 1), status]

        def wait(self, _):
            found = self.waits.pop(0)
            if isinstance(found, Exception):
                raise found
            return found

        def kill(self):
            killed.append(self)

    killed, output = [], tmp_path / "out"
    if made:
        output.mkdir()
    cluster = type("C", (), {"workers": [Job()], "flags": lambda self: []})()
    monkeypatch.setattr(engines.subprocess, "Popen", Job)
    monkeypatch.setattr(engines, "contents", lambda _: made)
    found = engines.with_a_kill(tmp_path, output, cluster, 0, {"a": "1"})
    assert found == expected and cluster.workers[0] in killed
    kinds = {"equal": True, "bucket_equal": True, "killed": found}
    assert engines.is_right(kinds) == (expected != "WRONG")
    assert not engines.is_right(kinds | {"bucket_equal": False})


def test_what_ends_before_it_is_up_is_no_cluster(tmp_path):
    process = subprocess.Popen(["false"])
    process.log = tmp_path / "log"
    process.log.write_text("no room for the heap")
    process.wait()
    with pytest.raises(RuntimeError, match="ended with 1: no room for the heap"):
        until(lambda: False, process)


ALONE = """
import socket
from benchmarks.engines.network import leave_networks
if leave_networks():
    names = [name for _, name in socket.if_nameindex()]
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 5).close()
    print(*names)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="it wants root's rights")
def test_engines_are_on_no_network_but_their_own_loopback():
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=jars.ROOT, capture_output=True, text=True
    )
    assert done.stdout in ("lo\n", ""), done.stderr
    assert done.returncode == 0, done.stderr
