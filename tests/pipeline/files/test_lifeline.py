"""A child ends with its parent, however that ended, and is told to first."""

import os
import subprocess
import sys
import time

import pytest

from steadyrank.pipeline.files import lifeline

CHILD = """
import signal, sys, time
from pathlib import Path
from steadyrank.pipeline.files import lifeline
lifeline.GRACE_SECONDS = float(sys.argv[2])
lifeline.end_with_parent()
def told(*_):
    Path(sys.argv[1], "told").touch()
    if sys.argv[3] == "heeds":
        raise SystemExit(75)
signal.signal(signal.SIGTERM, told)
Path(sys.argv[1], "ready").touch()
while True:
    time.sleep(0.05)
"""
PARENT = """
import os, sys, time
from steadyrank.pipeline.files import lifeline
child = lifeline.start([sys.executable, "-c", *sys.argv[1:]], os.environ)
print(child.pid, flush=True)
time.sleep(60)
"""


def _wait_for(is_so, seconds=10):
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("heeds", "grace"), [("heeds", 60), ("does not", 0.1)])
def test_a_child_ends_with_a_parent_that_was_killed(tmp_path, heeds, grace):
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path), str(grace), heeds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        _wait_for((tmp_path / "ready").exists)
        assert _lives(child) and not (tmp_path / "told").exists()
        parent.kill()
    _wait_for(lambda: not _lives(child))
    assert (tmp_path / "told").exists()


def test_descriptors_go_with_the_child_and_its_variable_does_not_go_on():
    before = len(os.listdir("/proc/self/fd"))
    code = (
        "import os; from steadyrank.pipeline.files import lifeline as l;"
        "l.end_with_parent(); raise SystemExit(l.VARIABLE in os.environ)"
    )
    process = lifeline.start([sys.executable, "-c", code], os.environ)
    assert process.wait() == 0
    del process
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("value", ["", "x", "1", "12345"])
def test_a_variable_that_means_nothing_is_passed_over(monkeypatch, value):
    monkeypatch.setenv(lifeline.VARIABLE, value)
    told = []
    monkeypatch.setattr(lifeline, "_watch", told.append)
    lifeline.end_with_parent()
    assert not told
