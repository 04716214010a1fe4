"""What a command came to, as one JSON object: the last line of JSON logs, and for --notify.

Words on a terminal, or in a pipe, stay as they are: people read them, and pipe them on.
A script asks for ``--log-format json``, where every line is such an object already, or
takes it from the standard input of its own ``--notify`` command.
"""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator

from steadyrank import __version__
from steadyrank.pipeline.files.publish import finite

NOTIFY_SECONDS = 60.0  # that a command that is told may take
VERDICTS = {"PASS", "HOLD", "REFUSE", "DIVERGED"}


class Summary:
    """Gathers what is known of a command while it works."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.command: str | None = None
        self.notify: str | None = None
        self.error: str | None = None
        self.result: object = None

    def document(self, status: int) -> dict:
        """All of it, when the command ends.

        Args:
            status: Its exit status.
        """
        found = self.result
        reasons = list(_reasons(found)) or [self.error] * (self.error is not None)
        verdict = getattr(found, "verdict", None)
        output = getattr(found, "output", None)
        return {
            "command": self.command,
            "status": status,
            "verdict": verdict if verdict in VERDICTS else None,
            "reasons": reasons,
            "version": getattr(found, "version", None),
            "output": None if output is None else str(output),
            "seconds": round(time.monotonic() - self.began, 1),
            "steadyrank": __version__,
        }

    def tell(self, status: int) -> str | None:
        """Hand it to the command that wants to know; gives what went wrong with that.

        Args:
            status: The exit status, which stays what it is.
        """
        if self.notify is None:
            return None
        text = json.dumps(finite(self.document(status)), ensure_ascii=False) + "\n"
        try:
            ended = subprocess.run(
                shlex.split(self.notify),
                input=text.encode(),
                timeout=NOTIFY_SECONDS,
                env={**os.environ, "STEADYRANK_STATUS": str(status)},
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            return f"--notify {self.notify}: {error}"
        failed = ended.returncode != 0
        return f"--notify {self.notify}: ended with {ended.returncode}" if failed else None


def _reasons(result: object) -> Iterator[str]:
    """Why what was judged did not pass."""
    record = getattr(result, "record", None)
    if record is not None:
        yield from record.get("reasons", ())
    for gate in getattr(getattr(result, "evaluate", result), "gates", ()):
        if not gate["passed"]:
            yield f"{gate['gate']} {gate['task'] or ''}: {gate['reason']}".replace(
                " :", ":"
            )


summary = Summary()  # of the command that this process runs
