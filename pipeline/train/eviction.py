"""A process that is told to end (SIGTERM) while it trains: it ends between two steps."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def watching() -> Iterator[Callable[[], bool]]:
    """Take notice of SIGTERM; a second one does what the first would have done before.

    Yields:
        A function that says whether the signal came. Outside of the main thread, where
        no handler can be set, it always says no.
    """
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told.is_set
        return
    before = signal.getsignal(signal.SIGTERM)

    def notice(*_):
        told.set()
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, notice)
    try:
        yield told.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
