"""How a worker of preprocessing holds memory: it gives back what it no longer needs.

Tables come and go by the hundred megabytes.  Arrow's own pool and malloc's arenas, one a
thread, keep most of what was freed, each for itself.
"""

import ctypes
import functools

import pyarrow as pa

TRIM_ABOVE = 64 << 20  # bytes that are free at the top of the heap
M_TRIM_THRESHOLD, M_ARENA_MAX = -1, -8  # malloc.h


@functools.cache
def give_back_memory() -> None:
    """Set this process up; where there is no glibc, as far as Arrow goes."""
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_TRIM_THRESHOLD, TRIM_ABOVE)
