"""A pool that starts Beam's workers with this Python, and answers this machine alone.

    python -m steadyrank.pipeline.preprocess.worker_pool --port 50000

Beam's own (``apache_beam.runners.worker.worker_pool_main``) starts whatever ``python`` is
first in the ``PATH``, and listens on every network: whoever reaches its port can have
code run.  An engine's task managers ask the pool of their own machine; two of them count
their workers each for itself, so that Beam's pool ends the worker of one where the other
asks for an end.  Here a worker ends when whoever asked for it hangs up.
"""

import argparse
import atexit
import subprocess
import sys
import threading
from collections import deque

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

# what its workers need is imported here, so that a pool that cannot serve does not start
import steadyrank.pipeline.preprocess.beam_job  # noqa: F401

HOST = "127.0.0.1"
ENDS_AT_ONCE_S = 1.5  # a worker that cannot import what it needs
WORKER = (
    "import sys; from apache_beam.runners.worker.sdk_worker import SdkHarness; "
    "SdkHarness(sys.argv[1], worker_id=sys.argv[2]).run()"
)


class Pool(BeamFnExternalWorkerPoolServicer):
    """Starts workers as Beam's pool does; says why one ended that ended at once."""

    def __init__(self):
        super().__init__(use_process=True)
        self._workers: list[subprocess.Popen] = []

    def StartWorker(self, start_worker_request, unused_context):
        asked = start_worker_request
        command = [sys.executable, "-c", WORKER, asked.control_endpoint.url]
        worker = subprocess.Popen(
            [*command, asked.worker_id], stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self._workers = [each for each in self._workers if each.poll() is None]
        self._workers.append(worker)
        last: deque[str] = deque(maxlen=1)
        relay = threading.Thread(target=_relay, args=(worker.stderr, last), daemon=True)
        relay.start()
        try:
            status = worker.wait(ENDS_AT_ONCE_S)
        except subprocess.TimeoutExpired:
            return beam_fn_api_pb2.StartWorkerResponse()
        relay.join(ENDS_AT_ONCE_S)
        said = f"its worker ended with status {status}: {''.join(last).strip()}"
        return beam_fn_api_pb2.StartWorkerResponse(error=said)

    def StopWorker(self, stop_worker_request, unused_context):
        return beam_fn_api_pb2.StopWorkerResponse()

    def end(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.terminate()


def _relay(lines, last: deque[str]) -> None:
    """What a worker says goes where the pool's own words go; the last line is kept."""
    with lines:
        for line in lines:
            sys.stderr.write(line)
            if line.strip():
                last.append(line)


def start(port: int) -> tuple[str, grpc.Server]:
    """Start a pool; its address, and what to stop.

    Args:
        port: 0: any that is free.

    Raises:
        RuntimeError: Something listens there already.
    """
    settings = [("grpc.http2.max_pings_without_data", 0)]
    settings += [("grpc.http2.max_ping_strikes", 0), ("grpc.so_reuseport", 0)]
    server = grpc.server(shared_unbounded_instance(), options=settings)
    address = f"{HOST}:{server.add_insecure_port(f'{HOST}:{port}')}"
    pool = Pool()
    atexit.register(pool.end)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.start()
    return address, server


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser("worker_pool", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=50000, help="0: any that is free")
    address, _ = start(parser.parse_args().port)
    print(f"workers are started at {address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
