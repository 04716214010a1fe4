"""A worker pool that does not come up is told of, and may be tried again."""

import json
import re
import socket
import time
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_fn_api_pb2

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.preprocess import pools, worker_pool
from steadyrank.pipeline.preprocess.engines import options_of
from steadyrank.pipeline.preprocess.pools import require_pool
from steadyrank.pipeline.preprocess.worker_pool import Pool


def options(address: str):
    flags = ["--runner=PortableRunner", "--job_endpoint=embed"]
    flags += ["--environment_type=EXTERNAL", f"--environment_config={address}"]
    return options_of(flags)


@pytest.fixture
def address():
    with socket.create_server(("localhost", 0)) as server:
        yield f"localhost:{server.getsockname()[1]}"


class Trial:
    """In place of a job: what its worker does."""

    def __init__(self, does):
        self.does, self.cancelled = does, False

    def __call__(self, options):
        return self

    def __or__(self, _):
        return self

    def run(self):
        return self

    def wait_until_finish(self, duration):
        return self.does(duration)

    def cancel(self):
        self.cancelled = True


def worker(monkeypatch, does) -> Trial:
    trial = Trial(does)
    monkeypatch.setattr(pools.beam, "Pipeline", trial)
    return trial


def test_engines_without_a_pool_are_asked_for_none(monkeypatch):
    worker(monkeypatch, lambda: pytest.fail("there is none"))
    for flags in ([], ["--direct_running_mode=multi_processing"]):
        require_pool(options_of(flags))


def test_a_pool_that_does_not_answer_may_answer_later():
    with socket.create_server(("localhost", 0)) as server:
        gone = f"localhost:{server.getsockname()[1]}"
    with pytest.raises(PassingError, match=f"no worker pool answers at {gone}: .*refused"):
        require_pool(options(gone))


def test_an_address_that_is_none_is_refused():
    for text in ("localhost", "localhost:x"):
        with pytest.raises(InputError, match=f"HOST:PORT of a worker pool. .*{text!r}"):
            require_pool(options(text))


def test_a_worker_that_ends_is_told_of_by_its_last_line(monkeypatch, address):
    def ends(_):
        raise RuntimeError("Traceback\nModuleNotFoundError: No module named 'steadyrank'\n")

    worker(monkeypatch, ends)
    with pytest.raises(PassingError, match="came up .*: ModuleNotFoundError: No module"):
        require_pool(options(address))


def test_a_worker_that_never_comes_up_is_not_waited_for(monkeypatch, address):
    waited = []
    trial = worker(monkeypatch, lambda duration: waited.append(duration))
    with pytest.raises(PassingError, match="within 40 s: what the pool printed"):
        require_pool(options(address))
    assert waited == [40_000] and trial.cancelled


def test_a_worker_that_comes_up_lets_the_job_begin(monkeypatch, address):
    def comes_up(_):
        pools.came_up(None)
        return "DONE"

    trial = worker(monkeypatch, comes_up)
    require_pool(options(address))
    require_pool(options(json.dumps({"url": address})))
    assert not trial.cancelled


@pytest.mark.parametrize("runner", ["FlinkRunner", "SparkRunner"])
def test_pools_of_other_machines_are_not_asked_for_here(monkeypatch, runner):
    """``localhost`` is, for those who ask there, each of the engine's own machines."""
    worker(monkeypatch, lambda _: pytest.fail("a job was started"))
    flags = [f"--runner={runner}", "--environment_type=EXTERNAL"]
    require_pool(options_of([*flags, "--environment_config=localhost:1"]))


def pool_of(monkeypatch, **with_what) -> Pool:
    for name, value in with_what.items():
        monkeypatch.setattr(worker_pool, name, value)
    return Pool()


def start(pool: Pool, name: str = "1-1"):
    asked = beam_fn_api_pb2.StartWorkerRequest(worker_id=name)
    return pool.StartWorker(asked, None)


def test_a_worker_that_cannot_start_is_told_of_by_its_own_last_line(monkeypatch, capfd):
    broken = "import sys; sys.stderr.write('one\\nno room for 3 GB\\n'); sys.exit(3)"
    pool = pool_of(monkeypatch, WORKER=broken, ENDS_AT_ONCE_S=20)
    assert start(pool).error == "its worker ended with status 3: no room for 3 GB"
    assert "one\nno room for 3 GB\n" in capfd.readouterr().err


def test_two_that_count_their_workers_alike_end_none_of_each_other(monkeypatch):
    """Two task managers of one machine both call their first worker 1-1."""
    waits = "import time; time.sleep(60)"
    pool = pool_of(monkeypatch, WORKER=waits, ENDS_AT_ONCE_S=0.1)
    try:
        assert not start(pool).error and not start(pool).error
        pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), None)
        time.sleep(0.2)
        assert [each.poll() for each in pool._workers] == [None, None]
    finally:
        pool.end()
    assert all(each.wait(10) for each in pool._workers)


def test_a_pool_answers_this_machine_alone():
    address, server = worker_pool.start(0)
    try:
        host, port = address.split(":")
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port)), 5):
            pass
        text = Path("/proc/net/tcp6").read_text() + Path("/proc/net/tcp").read_text()
        listening = re.findall(rf" ([0-9A-F]+):{int(port):04X} 0+:0000 0A", text)
        assert listening and all(each.endswith("0100007F") for each in listening)
        with pytest.raises(RuntimeError, match="bind|Fail"):
            worker_pool.start(int(port))
    finally:
        server.stop(0)


def test_a_job_of_a_pool_whose_workers_cannot_start_ends_soon(monkeypatch):
    """No stand-ins: a pool, an embedded job, and a worker that ends as it starts."""
    monkeypatch.setattr(worker_pool, "WORKER", "raise SystemExit('no room for 3 GB')")
    monkeypatch.setattr(worker_pool, "ENDS_AT_ONCE_S", 20)
    address, server = worker_pool.start(0)
    start = time.monotonic()
    try:
        with pytest.raises(PassingError, match="came up within .*status 1: no room for 3"):
            require_pool(options(address))
    finally:
        server.stop(0)
    assert time.monotonic() - start < 60
