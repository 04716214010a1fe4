"""A worker pool that does not come up is told of, and may be tried again."""

import contextlib
import json
import socket
import threading

import pytest

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.preprocess import pools
from steadyrank.pipeline.preprocess.engines import options_of
from steadyrank.pipeline.preprocess.pools import require_pool


def options(address: str):
    flags = ["--runner=PortableRunner", "--job_endpoint=embed"]
    flags += ["--environment_type=EXTERNAL", f"--environment_config={address}"]
    return options_of(flags)


@pytest.fixture
def address():
    with socket.create_server(("localhost", 0)) as server:
        yield f"localhost:{server.getsockname()[1]}"


def worker(monkeypatch, comes_up):
    """In place of a job: what its worker does."""

    @contextlib.contextmanager
    def pipeline(options):
        yield Steps()
        comes_up()

    class Steps:
        def __or__(self, _):
            return self

    monkeypatch.setattr(pools.beam, "Pipeline", pipeline)


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
    def ends():
        raise RuntimeError("Traceback\nModuleNotFoundError: No module named 'steadyrank'\n")

    worker(monkeypatch, ends)
    with pytest.raises(PassingError, match="came up .*: ModuleNotFoundError: No module"):
        require_pool(options(address))


def test_a_worker_that_never_comes_up_is_not_waited_for(monkeypatch, address):
    monkeypatch.setattr(pools, "COME_UP_S", 0.2)
    came = threading.Event()
    worker(monkeypatch, lambda: came.wait(20))
    try:
        with pytest.raises(PassingError, match="within 0.2 s: what the pool printed"):
            require_pool(options(address))
    finally:
        came.set()


def test_a_worker_that_comes_up_lets_the_job_begin(monkeypatch, address):
    worker(monkeypatch, lambda: pools.came_up(None))
    require_pool(options(address))
    require_pool(options(json.dumps({"url": address})))
