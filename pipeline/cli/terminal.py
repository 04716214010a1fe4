"""Where words, tables and progress go: a terminal, or JSON a line.

``console`` and ``errors`` are read as attributes of this module: ``write_as`` sets them.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bar
from rich.segment import Segment

from steadyrank.pipeline.cli import tables
from steadyrank.pipeline.cli.json_console import JsonConsole, JsonProgress, LogFormat
from steadyrank.pipeline.files.printable import printable
from steadyrank.pipeline.run import Progress

PIPED_SECONDS = 30.0  # between two lines about a stage, where nothing is drawn
COUNTED = ("train", "nightly")  # whose steps are counted
IN_WORDS = ("machines",)  # stages whose lines are said where nothing is drawn


class Terminal(Console):
    """A console on which text acts only where we say so: colours and cursors are ours."""

    def render(self, renderable, options=None) -> Iterator[Segment]:
        """As Rich does, all else written out."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=printable(segment.text))


console: Console = Terminal()
errors: Console = Terminal(stderr=True)


def write_as(log_format: LogFormat, command: str) -> None:
    """Choose the form of all that follows."""
    global console, errors
    if log_format == LogFormat.json:
        console = errors = JsonConsole(command)
    elif isinstance(console, JsonConsole):  # another command in the same process
        console, errors = Terminal(), Terminal(stderr=True)


def say(text: str) -> None:
    """A line."""
    console.print(escape(text), soft_wrap=True, highlight=False)


LEVELS = {"PASS": "info", "HOLD": "warning"}  # in JSON logs; the others are errors


def verdict(word: str) -> None:
    """PASS, HOLD or REFUSE."""
    if isinstance(console, JsonConsole):
        console.line(word, LEVELS.get(word, "error"), verdict=word)
    else:
        console.print(f"[bold {tables.COLOURS[word]}]{word}[/]")


def warn(text: str) -> None:
    """Something that went wrong beside the work."""
    if isinstance(errors, JsonConsole):
        errors.line(text, "warning")
    else:
        errors.print(f"warning: {escape(text)}", soft_wrap=True, highlight=False)


def conclude(document: dict) -> None:
    """The last line of JSON logs; words say nothing more."""
    if isinstance(console, JsonConsole):
        levels = {0: "info", 1: LEVELS.get(document["verdict"], "error")}
        console.line("ended", levels.get(document["status"], "error"), **document)


def fail(message: str, status: int) -> int:
    """An error in a line; gives the exit status back."""
    errors.print(f"[bold red]error[/] {escape(message)}", soft_wrap=True, highlight=False)
    return status


class Shown(Progress):
    """Shows a command while it works: a bar of steps, a table of trials, or a spinner."""

    def __init__(self):
        self._step = self._trials = lambda *_: None
        self._last = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Draw until the stage has ended."""
        self._last = ""
        with self._heard(name), self._drawn(name):
            yield

    @contextmanager
    def _heard(self, name: str) -> Iterator[None]:
        """Say now and then how a stage goes, where nothing is drawn."""
        if console.is_terminal:
            yield
            return
        ended, began = threading.Event(), time.monotonic()

        def look() -> None:
            while not ended.wait(PIPED_SECONDS):
                at = f", {self._last}" if self._last else ""
                say(f"{name}: {time.monotonic() - began:,.0f} s so far{at}")

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    @contextmanager
    def _drawn(self, name: str) -> Iterator[None]:
        if name in (*COUNTED, *IN_WORDS) and not _draws():
            self._step = _in_words
            yield
        elif name in COUNTED:
            with _bar() as bar:
                self._step = _counting(bar, name)
                yield
        elif name == "sweep":
            with _live(name) as live:
                self._trials = lambda rows: live.update(tables.trials_table(rows))
                yield
        else:
            with console.status(name) as status:
                self._step = lambda *told: status.update(escape(f"{name}: {told[-1]}"))
                yield

    def step(self, step: int, total: int, text: str) -> None:
        """Move the bar, or say what is done now."""
        self._last = f"step {step:,} of {total:,}: {text}" if total else text
        self._step(step, total, text)

    def trials(self, rows: list[dict]) -> None:
        """Draw the table again."""
        self._trials(rows)


def _draws() -> bool:
    """Whether a bar may be drawn: on a terminal, or for a collector, who gets lines."""
    return console.is_terminal or isinstance(console, JsonConsole)


def _in_words(step: int, total: int, text: str) -> None:
    """Where nothing is drawn: what is no step is said, steps now and then (``_heard``)."""
    if not total:
        say(text)


def _bar() -> Bar | JsonProgress:
    """A bar that counts steps."""
    if isinstance(console, JsonConsole):
        return JsonProgress(console)
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _counting(bar: Bar | JsonProgress, name: str) -> Callable[[int, int, str], None]:
    """What training calls to show how it goes; before its first step the bar only moves."""
    task = bar.add_task(name, total=None)

    def show(step: int, total: int, text: str) -> None:
        if total:
            bar.update(task, completed=step, total=total, description=f"train: {text}")
        else:
            bar.update(task, description=name)  # no more that of a step before
            bar.console.print(escape(text))

    return show


def _live(what: str) -> Live | AbstractContextManager:
    """Something that is drawn again and again."""
    if isinstance(console, JsonConsole):
        return console.status(what)
    return Live(console=console, refresh_per_second=1)
