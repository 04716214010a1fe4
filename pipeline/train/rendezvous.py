"""Machines of a cluster wait here until all of them are there.

TensorFlow waits for an hour, names nobody, and hears no signal meanwhile.  So each machine
opens its port first, calls all others and says which it is, until it has reached each of
them or was called by it.  Then it leaves its port to TensorFlow.
"""

import contextlib
import errno
import socket
import time
from collections.abc import Callable, Iterator

from steadyrank.pipeline.config.cluster import VARIABLE, Cluster
from steadyrank.pipeline.files.errors import PassingError

JOIN_SECONDS = 600  # machines come one after the other, as pods do
AGAIN_SECONDS = 0.3
ANSWER_SECONDS = 2.0


def await_machines(
    cluster: Cluster,
    told: Callable[[str], None] = lambda text: None,
    seconds: float = JOIN_SECONDS,
) -> None:
    """Wait until every machine of a cluster can be reached.

    Args:
        cluster: All machines, and which of them this is.
        told: Sees for whom it waits, whenever that changes.
        seconds: How long at most.

    Raises:
        PassingError: Some did not come, or another process has the port of this one.
    """
    end, own = time.monotonic() + seconds, cluster.index
    missing = {n: a for n, a in enumerate(cluster.addresses) if n != own}
    waited_for: list[str] = []
    with _open(cluster.addresses[own], len(cluster.addresses)) as listening:
        while True:
            for index, address in list(missing.items()):
                if _reached(address, own):
                    del missing[index]
            for index in _callers(listening):
                missing.pop(index, None)
            if not missing:
                return
            if waited_for != [*missing.values()]:
                waited_for = [*missing.values()]
                told(f"waiting for {', '.join(waited_for)}")
            if time.monotonic() > end:
                raise PassingError(
                    f"{', '.join(waited_for)} of the {len(cluster.addresses)} machines of "
                    f"{VARIABLE} did not come within {seconds:,.0f} s. Start all of them; "
                    "each must reach the others' ports."
                )
            time.sleep(AGAIN_SECONDS)


def _reached(address: str, own: int) -> bool:
    """Call a machine, and say which calls."""
    host, _, port = address.rpartition(":")
    try:
        place = host.strip("[]"), int(port)
        with socket.create_connection(place, ANSWER_SECONDS) as call:
            call.sendall(str(own).encode())
    except OSError:  # nobody has that name yet, or nobody listens
        return False
    return True


def _callers(listening: socket.socket) -> Iterator[int]:
    """Who called meanwhile; what is no machine's number is nobody's call."""
    while True:
        try:
            call, _ = listening.accept()
        except OSError:  # nobody, now
            return
        with call, contextlib.suppress(OSError, ValueError):
            call.settimeout(ANSWER_SECONDS)
            yield int(call.recv(16))


@contextlib.contextmanager
def _open(address: str, waiting: int) -> Iterator[socket.socket]:
    """A machine's own port."""
    host, _, port = address.rpartition(":")
    with contextlib.ExitStack() as stack:
        try:
            listening = stack.enter_context(_listener(host.strip("[]"), int(port)))
        except OSError as error:
            raise PassingError(
                f"{VARIABLE}: {address} is this machine's, and cannot be listened on: "
                f"{error.strerror or error}. End what has the port, or name another."
            ) from None
        listening.listen(waiting)
        listening.setblocking(False)
        yield listening


def _listener(host: str, port: int) -> socket.socket:
    """By its own name; on all of its networks where that name is another's for it."""
    try:
        return socket.create_server((host, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise
    return socket.create_server(("", port))
