"""What ends a command with a message instead of a traceback, and with which status."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A configuration, a file or a value that this project cannot work with.

    The command line prints the message and exits with status 2.  A message says what
    is wrong, what is allowed, what was received and how to mend it.
    """


class DivergenceError(RuntimeError):
    """Training diverged and could not recover. The command line exits with status 3."""


def near(name: str, allowed: Iterable[str]) -> str:
    """Say which allowed name was probably meant, and list them all.

    Args:
        name: What was received.
        allowed: What would have been accepted.

    Returns:
        One or two sentences to end an error message with.
    """
    allowed = sorted(allowed)
    close = difflib.get_close_matches(name, allowed, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Allowed: {', '.join(allowed) or 'none'}."
