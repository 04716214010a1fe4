"""What ends a command with a message instead of a traceback, and with which status."""

import difflib
import errno
import os
import re
from collections.abc import Iterable


class InputError(ValueError):
    """A configuration, a file or a value that this project cannot work with.

    The command line prints the message and exits with status 2.  A message says what
    is wrong, what is allowed, what was received and how to mend it.
    """


class NoRowsError(InputError):
    """The log holds no rows of what was asked for: of a day, or of a split."""


class NoColumnError(InputError):
    """A column is in no file of a log or of its side tables.

    Attributes:
        column: Its name.
        places: The files, in words.
        hint: Which column was probably meant, and all there are.
    """

    def __init__(self, message: str, column: str = "", *, places: str = "", hint: str = ""):
        super().__init__(message)
        self.column, self.places, self.hint = column, places, hint


class NothingToTrainOnError(InputError):
    """The log holds no rows to train on."""


class ExistsError(InputError):
    """Something stands already where a command is to write: whole, or begun."""


class PassingError(RuntimeError):
    """A fault that may be gone at the next try: no answer, or another at work.

    The command line prints the message and exits with status 75.
    """


class ToldToEndError(PassingError):
    """The process was told to end (SIGTERM), and left whole what it had done."""


class RefusedError(RuntimeError):
    """The data contract refuses days of a log. The command line exits with status 1.

    Attributes:
        days: These days.
        reasons: Why, a sentence each.
    """

    def __init__(self, message: str, days: Iterable[str] = (), reasons: Iterable[str] = ()):
        super().__init__(message)
        self.days, self.reasons = tuple(days), tuple(reasons)


class DivergenceError(RuntimeError):
    """Training diverged and could not recover. The command line exits with status 3."""


# of boto3, botocore, urllib3 and Python, which are not imported for their names
UNANSWERED = {
    "ConnectionError",
    "FlexibleChecksumError",
    "HTTPClientError",
    "IncompleteReadError",
    "PassingError",
    "ProtocolError",
    "RetriesExceededError",
    "TimeoutError",
}
THROTTLED = {"RequestTimeout", "RequestLimitExceeded", "Throttling", "ThrottlingException"}

# as Beam, TensorFlow and pyarrow, whose errors have no errno, write it into theirs
FULL = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


# of the system: what is wrong with the place that was named, whoever asks again
MENDABLE = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
    errno.EPERM,
    errno.EROFS,
}
PASSING = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTUNREACH,
    errno.EINTR,
    errno.EIO,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
ERRNO = re.compile(r"\[Errno (\d+)\]")
# as Beam tells of what a worker met, in an error of its own
WRAPPED = re.compile(r"\w*Error: \[Errno (\d+)\][^']*(?:'([^']*)')?")
NO_MEMORY = {"MemoryError", "ResourceExhaustedError"}  # of Python and Arrow, TensorFlow
# as TensorFlow writes it into errors of its own
FAILED = [
    os.strerror(code)
    for code in (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
]


def foreseen(error: Exception) -> InputError | PassingError | None:
    """What the system could not do, for whatever reason of its own; None: it is not that.

    Args:
        error: What no stage has explained.
    """
    if full := no_space(error):
        return full
    said = " ".join(str(error).split())[:300]
    if any(kind.__name__ in NO_MEMORY for kind in type(error).__mro__):
        return PassingError(
            f"no memory left ({said or 'MemoryError'}). Give it more, or lower "
            "train.batch_size."
        )
    wrapped = WRAPPED.match(said)
    if not isinstance(error, OSError) and not wrapped:
        failed = any(words in said for words in FAILED)
        return _system_failed(said) if failed else None
    code = getattr(error, "errno", None)
    if found := wrapped or ERRNO.search(said):  # shutil tells of several
        code = int(found[1])
    if not isinstance(code, int):
        return None
    if code in MENDABLE:
        name = getattr(error, "filename", None) or (wrapped and wrapped[2])
        return InputError(f"cannot use {_shortened(name)}: {os.strerror(code)}.")
    return _system_failed(said)


def _system_failed(said: str) -> PassingError:
    return PassingError(f"the system failed: {said}. Try again, or look at the disk.")


def unwritable(place: object, error: OSError) -> InputError | PassingError:
    """The error to raise where a folder or file cannot be made."""
    if error.errno in MENDABLE:
        return InputError(f"cannot write {place}: {error.strerror}. Choose another place.")
    return foreseen(error) or PassingError(f"cannot write {place}: {error}. Try again.")


def _shortened(name: object) -> str:
    text = "a file" if name is None else str(name)
    return text if len(text) <= 300 else f"{text[:300]}..."


def no_space(
    error: Exception, place: object = "", mend: str = "choose another --output"
) -> PassingError | None:
    """The error to raise where a disk or a quota is full; None where that is not why.

    Args:
        error: What was raised, by whomever.
        place: What was to be written, if that is known.
        mend: What else to do than to free some.
    """
    said = [line for line in str(error).splitlines() if any(f in line for f in FULL)]
    if not said or isinstance(error, InputError | PassingError):
        return None
    return PassingError(
        f"no space left to write {place or 'a file'} ({said[0].strip()[:300]}). Free some, "
        f"or {mend}."
    )


def fault(message: str, cause: Exception) -> InputError | PassingError:
    """The error to raise: ``PassingError`` where the cause may be gone at the next try.

    Args:
        message: Of the error.
        cause: What a file system raised.
    """
    return (PassingError if passes(cause) else InputError)(message)


def unreadable(path: object, cause: Exception, mend: str) -> InputError | PassingError:
    """The error to raise where a file that a stage wrote cannot be read.

    Args:
        path: The file.
        cause: What its reader raised: of the system, or of what the file holds.
        mend: What to do where it is damaged: ``"Evaluate again."``
    """
    if passes(cause):
        return PassingError(f"{path} cannot be read now: {cause}. Try again.")
    return InputError(f"{path} is corrupt: {cause}. {mend}")


def passes(cause: Exception) -> bool:
    """Whether what a file system raised may be gone at the next try."""
    if no_space(cause) or getattr(cause, "errno", None) in PASSING:
        return True
    parts = getattr(cause, "exception_details", None)  # of Beam, by file
    if isinstance(parts, dict):
        return any(passes(part) for part in parts.values() if part is not cause)
    response = getattr(cause, "response", None)  # of boto3
    response = response if isinstance(response, dict) else {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    status = status or getattr(cause, "code", None)  # of Beam and of Google
    if isinstance(status, int):
        code = response.get("Error", {}).get("Code")
        return status >= 500 or status in (408, 412, 429) or code in THROTTLED
    names = UNANSWERED | NO_MEMORY
    if any(kind.__name__ in names for kind in type(cause).__mro__):
        return True
    return any(words in str(cause) for words in FAILED)


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
