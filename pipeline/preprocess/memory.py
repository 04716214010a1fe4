"""How a process that preprocesses holds memory: it gives back what it no longer needs.

Tables come and go by the hundred megabytes.  Arrow's own pool and malloc's arenas, one a
thread, keep most of what was freed, each for itself.
"""

import contextlib
import ctypes
from collections.abc import Iterator

import pyarrow as pa

TRIM_ABOVE = 64 << 20  # bytes that are free at the top of the heap
# what glibc comes to by itself, with TRIM_ABOVE, once it has freed large pieces
MAPPED_ABOVE = 32 << 20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
_launching = 0


@contextlib.contextmanager
def system_pool() -> Iterator[None]:
    """Freed memory goes back to the system within; for the process that starts a job.

    Within another it changes nothing.

    It may go on to train, so that it gets back what it had: Arrow's pool, arenas, and
    pieces of some megabytes that are not mapped anew each time.
    """
    global _launching
    if _launching:
        yield
        return
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    _tell_malloc(M_TRIM_THRESHOLD, TRIM_ABOVE)
    _launching += 1
    try:
        yield
    finally:
        _launching -= 1
        _tell_malloc(M_MMAP_THRESHOLD, MAPPED_ABOVE)
        pa.set_memory_pool(before)


def give_back_memory() -> None:
    """Set up a worker; of one that is no process of its own, ``system_pool`` sees to it."""
    if _launching:
        return
    pa.set_memory_pool(pa.system_memory_pool())
    _tell_malloc(M_TRIM_THRESHOLD, TRIM_ABOVE)
    _tell_malloc(M_ARENA_MAX, 1)


def trim() -> None:
    """Give back what lies free between what is held; after a load, or a shard."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if malloc_trim:
        malloc_trim(0)


def _tell_malloc(option: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # of glibc
    if mallopt:
        mallopt(option, value)
