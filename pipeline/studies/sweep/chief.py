"""The chief of several workers: KerasTuner's oracle behind gRPC, and who looks after it.

KerasTuner's own server waits for ever for a worker that died, and so do its workers, for an
hour, for a chief that died.  Here a worker that was not heard of for a while loses its
trial to another one; a process that this machine started is replaced at once.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

from steadyrank.pipeline.files import lifeline
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import Fatal
from steadyrank.pipeline.studies.sweep.tuner import FATAL

LEASE_SECONDS = 60.0  # without a sign of life a worker counts as dead
LOOK_SECONDS = 0.5
LEAVE_SECONDS = 10.0  # for workers to hear that all is done
RESTARTS = 3  # of each worker's process
ADDRESS, PORT = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
TUNER_ID = "KERASTUNER_TUNER_ID"


class Servicer(oracle_chief.OracleServicer):
    """KerasTuner's, which notes when each trial's worker was last heard of."""

    def __init__(self, oracle):
        super().__init__(oracle)
        self.heard: dict[str, float] = {}

    def CreateTrial(self, request, context):  # noqa: N802 (gRPC's name)
        answer = super().CreateTrial(request, context)
        self.heard[answer.trial.trial_id] = time.monotonic()
        return answer

    def GetTrial(self, request, context):  # noqa: N802
        self.heard[request.trial_id] = time.monotonic()
        return super().GetTrial(request, context)

    def silent(self, lease: float) -> list[str]:
        """Workers with a trial that were not heard of for ``lease`` seconds."""
        late = time.monotonic() - lease
        ongoing = list(self.oracle.ongoing_trials.items())
        return [who for who, t in ongoing if self.heard.get(t.trial_id, late) <= late]


class Worker:
    """A worker's process on this machine, in a group with what it starts.

    Args:
        name: KerasTuner's id of it.
        command: What to start.
        environment: For KerasTuner.
        log: What it says goes here.
    """

    def __init__(self, name: str, command: Sequence, environment: dict, log: Path):
        self.name, self.command, self.log = name, list(map(str, command)), log
        self.environment = {**os.environ, **environment, TUNER_ID: name}
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.starts += 1
        with self.log.open("a", encoding="utf-8") as file:
            self.process = lifeline.start(
                self.command,
                self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def end(self) -> None:
        """End it and the training that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def serve(
    oracle,
    output: Path,
    workers: Sequence[Worker] = (),
    look: Callable[[], None] = lambda: None,
    *,
    lease: float = LEASE_SECONDS,
) -> None:
    """Answer workers until all trials have ended.

    Args:
        oracle: From ``make_oracle``.
        output: The sweep's folder.
        workers: Those of this machine; others may come by themselves.
        look: Called twice a second.
        lease: Seconds after which a silent worker counts as dead.

    Raises:
        InputError: A trial's config or input was refused, the address is taken, or all
            workers of this machine are dead.
    """
    servicer, server = _start(oracle)
    try:
        while not (servicer.stop_triggered and not oracle.ongoing_trials):
            time.sleep(LOOK_SECONDS)
            look()
            _stop_if_fatal(output)
            for name in servicer.silent(lease):
                oracle.give_up(name)
            for worker in workers:
                _revive(worker, oracle)
            _stop_if_all_died(workers)
        _let_leave(oracle, workers)
    finally:
        for worker in workers:
            worker.end()
        server.stop(grace=1)


def _start(oracle):
    servicer = Servicer(oracle)
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    address = f"{os.environ[ADDRESS]}:{os.environ[PORT]}"
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        raise InputError(
            f"cannot listen at {address}, from {ADDRESS} and {PORT}: it is taken, or not "
            f"an address of this machine. Set {PORT} to a free port."
        ) from None
    server.start()
    return servicer, server


def _stop_if_fatal(output: Path) -> None:
    if (output / FATAL).exists():
        raise InputError(read_json(output / FATAL, "a sweep", Fatal)["message"])


def _revive(worker: Worker, oracle) -> None:
    """Give a dead worker's trial to another, and start the worker again."""
    status = worker.process.poll()
    if status in (None, 0):
        return
    worker.end()  # the training that it leaves behind
    oracle.give_up(worker.name)
    if worker.starts <= RESTARTS:
        worker.start()


def _stop_if_all_died(workers: Sequence[Worker]) -> None:
    if workers and all(w.process.poll() not in (None, 0) for w in workers):
        raise InputError(
            f"all workers died; {workers[0].log} says why. What is done is kept: go on "
            "with --resume."
        )


def _let_leave(oracle, workers: Sequence[Worker]) -> None:
    """Let workers ask once more, and hear that there is nothing left."""
    until = time.monotonic() + LEAVE_SECONDS
    while oracle.tuner_ids and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    for worker in workers:
        try:
            worker.process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            pass


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
