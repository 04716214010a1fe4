"""What the command line says, as one JSON object a line, for a collector of logs."""

import contextlib
import datetime
import enum
import io
import json
import logging
import re
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from steadyrank.pipeline.files.printable import printable
from steadyrank.pipeline.files.publish import finite

QUIET_SECONDS = 10.0  # between two lines about the progress of one piece of work


class LogFormat(str, enum.Enum):
    """How the command line speaks."""

    text = "text"
    json = "json"


class JsonConsole(Console):
    """A console that writes lines of ``time``, ``level``, ``command`` and ``message``.

    A table becomes ``columns`` and ``rows``.  What is redrawn in place on a terminal, a
    bar or a table of trials, becomes a line now and then.

    Args:
        command: The command that speaks.
    """

    def __init__(self, command: str | None):
        super().__init__(file=io.StringIO())
        self.command, self._last = command, -QUIET_SECONDS
        handler = logging.Handler()
        handler.emit = self._log
        logging.basicConfig(handlers=[handler], force=True, level=logging.ERROR)

    def line(self, message: str, level: str = "info", **more: object) -> None:
        """Write one line."""
        now = datetime.datetime.now(datetime.timezone.utc)
        content = {
            "time": now.isoformat(timespec="milliseconds"),
            "level": level,
            "command": self.command,
            "message": message,
            **{name: value for name, value in more.items() if name != "command"},
        }
        text = json.dumps(finite(content), ensure_ascii=False, default=str)
        sys.stdout.write(printable(text, _in_json) + "\n")
        sys.stdout.flush()

    def print(self, *objects: object, **_: object) -> None:
        """Write each object: a table as rows, all else as a message."""
        for thing in objects:
            if isinstance(thing, Table):
                self.line(_plain(thing.title or ""), **_content(thing))
            else:
                said = _plain(thing)
                word = said.partition(" ")[0]
                if word == "error":
                    self.line(said.removeprefix("error "), word)
                else:
                    self.line(said, "warning" if word == "warning:" else "info")

    def print_json(self, json: str | None = None, *, data=None, **_: object) -> None:
        """Write a document."""
        self.line("result", result=data)

    def now_and_then(self, message: str, **more: object) -> None:
        """Write a line, unless there was one a moment ago."""
        if time.monotonic() - self._last >= QUIET_SECONDS:
            self._last = time.monotonic()
            self.line(message, **more)

    @contextlib.contextmanager
    def status(self, status: object, **_: object) -> Iterator["JsonConsole"]:
        """In place of a spinner: what is done, now and then."""
        self.line(_plain(status))
        yield self

    def update(self, status: object, **_: object) -> None:
        """A word about what is done now."""
        if isinstance(status, Table):
            self.now_and_then(_plain(status.title or ""), **_content(status))
        else:
            self.now_and_then(_plain(status))

    def _log(self, record: logging.LogRecord) -> None:
        self.line(record.getMessage(), record.levelname.lower(), logger=record.name)


class JsonProgress:
    """In place of a bar.

    Args:
        console: Where the lines go.
    """

    def __init__(self, console: JsonConsole):
        self.console = console  # as of Rich's bar

    def __enter__(self) -> "JsonProgress":
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to tidy."""

    def add_task(self, description: str, total: int | None = None) -> int:
        """Begin a piece of work."""
        self.console.line(description)
        return 0

    def update(
        self, task: int, *, description: str, completed: int = 0, total: int | None = None
    ) -> None:
        """How far it is; where nothing is counted, there is no line."""
        if total is None:
            return
        self.console.now_and_then(description, step=completed, steps=total)


def _in_json(character: str) -> str:
    return json.dumps(character)[1:-1]


def _plain(thing: object) -> str:
    return Text.from_markup(str(thing)).plain


NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:e[+-]?\d+)?"
FIGURE = re.compile(rf"({NUMBER})(\*?)(?: ({NUMBER})(?:–| to )({NUMBER}))?")


def _value(cell: str) -> object:
    """A cell of a table: a number as one, a figure with its interval as three."""
    found = FIGURE.fullmatch(cell)
    if not found or not any(map(str.isdigit, found[1])):
        return cell
    value, low, high = (text and _number(text) for text in found.group(1, 3, 4))
    if low is None and not found[2]:
        return value
    told = {"told_from_chance": not found[2]}
    bounds = {} if low is None else {"low": low, "high": high}
    return {"value": value, **bounds, **told}


def _number(text: str) -> int | float:
    plain = text.replace(",", "")
    return int(plain) if plain.lstrip("+-").isdigit() else float(plain)


def _content(table: Table) -> dict:
    columns = [_plain(column.header) for column in table.columns]
    cells = [
        [_value(" ".join(_plain(c).split())) for c in column.cells]
        for column in table.columns
    ]
    return {"columns": columns, "rows": [list(row) for row in zip(*cells, strict=True)]}
