"""The process-wide settings that TensorFlow wants, in the one place that makes them.

Importing any of ``components``, ``models`` or ``pipeline`` runs ``configure()``, so
every process that touches this project (the command line, Beam workers, pytest,
tuner trials, containers) agrees on them.  TensorFlow itself is not imported here:
``steadyrank --help`` must not wait for it.
"""

import ctypes
import os
import sys

LEGACY_KERAS = "TF_USE_LEGACY_KERAS"
# Options of glibc's mallopt(3): one arena, no mapping for one block, nothing given back.
M_ARENA_MAX, M_MMAP_MAX, M_TRIM_THRESHOLD = -8, -4, -1
LARGE_BATCH = 1 << 14  # from which one layer's outputs reach the 32 MB


def configure() -> None:
    """Set legacy Keras (``tf_keras``) and quiet TensorFlow's start-up messages.

    Raises:
        ImportError: TensorFlow was imported earlier with Keras 3 behind it.  The
            choice cannot be changed any more in such a process.
    """
    tensorflow_came_first = "tensorflow" in sys.modules
    if tensorflow_came_first and os.environ.get(LEGACY_KERAS) != "1":
        raise ImportError(
            "steadyrank needs Keras 2 (tf_keras), but TensorFlow is already loaded "
            f"with {LEGACY_KERAS}={os.environ.get(LEGACY_KERAS)!r}. Import steadyrank's "
            f"packages before tensorflow, or set {LEGACY_KERAS}=1 in the environment."
        )
    os.environ[LEGACY_KERAS] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault(
        "TF_ENABLE_ONEDNN_OPTS", "0"
    )  # its results change with the thread count


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next step.

    glibc gives blocks above 32 MB back to the system at once, and the next step's has to
    be mapped and cleared page by page again: with batches of 64 K on two cores that took
    a quarter of a training step.  Small ones would pay for the one arena that threads then
    share (some 5 % at 1 K).  Nothing happens where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def leave(status: int) -> None:
    """End the process with ``status``, whatever native libraries would do at exit.

    tensorflow-io's S3 file system aborts in a static destructor ("pure virtual
    method called"), after all work is done, and turns any status into 134.
    ``os._exit`` skips those destructors; the streams are flushed first.  It also spares
    one of several workers the wait for those that were lost.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if "tensorflow_io" in sys.modules or os.environ.get("TF_CONFIG"):
        os._exit(status)
    sys.exit(status)
