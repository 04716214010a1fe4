"""Processes that end with the one that started them, however that ended.

The child holds the end of a pipe whose other end its parent alone holds: when the parent
dies, the kernel closes it, and the child can read that.
"""

import contextlib
import os
import signal
import stat
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping, Sequence

VARIABLE = "STEADYRANK_LIFELINE"  # the child's descriptor
GRACE_SECONDS = 30.0  # to save what was done


def start(
    command: Sequence[str], env: Mapping[str, str], **options
) -> subprocess.Popen[bytes]:
    """Start a command line of ours that ends when this process does.

    Args:
        command: The command.
        env: Its environment.
        options: Of ``subprocess.Popen``.
    """
    theirs, ours = os.pipe()
    try:
        told = {**env, VARIABLE: str(theirs)}
        process = subprocess.Popen(command, env=told, pass_fds=(theirs,), **options)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    weakref.finalize(process, os.close, ours)
    return process


def end_with_parent() -> None:
    """Watch for the end of the process that started this one, if ``start`` did.

    Then this one is told to end (SIGTERM), and ends at the latest ``GRACE_SECONDS`` later.
    """
    with contextlib.suppress(KeyError, ValueError, OSError):
        descriptor = int(os.environ.pop(VARIABLE))
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.set_inheritable(descriptor, False)
            threading.Thread(target=_watch, args=(descriptor,), daemon=True).start()


def _watch(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
