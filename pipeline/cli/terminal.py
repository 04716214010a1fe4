"""Where words, tables and progress go: a terminal, or JSON a line.

``console`` and ``errors`` are read as attributes of this module: ``write_as`` sets them.
"""

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

COUNTED = ("train", "nightly")  # whose steps are counted


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


def verdict(word: str) -> None:
    """PASS, HOLD or REFUSE."""
    console.print(f"[bold {tables.COLOURS[word]}]{word}[/]")


def fail(message: str, status: int) -> int:
    """An error in a line; gives the exit status back."""
    errors.print(f"[bold red]error[/] {escape(message)}", soft_wrap=True, highlight=False)
    return status


class Shown(Progress):
    """Shows a command while it works: a bar of steps, a table of trials, or a spinner."""

    def __init__(self):
        self._step = self._trials = lambda *_: None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Draw until the stage has ended."""
        if name in COUNTED:
            with _bar() as bar:
                self._step = _counting(bar)
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
        self._step(step, total, text)

    def trials(self, rows: list[dict]) -> None:
        """Draw the table again."""
        self._trials(rows)


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


def _counting(bar: Bar | JsonProgress) -> Callable[[int, int, str], None]:
    """What training calls to show how it goes; before its first step there is no bar."""
    tasks = []

    def show(step: int, total: int, text: str) -> None:
        if not total:
            bar.console.print(escape(text))
            return
        if not tasks:
            tasks.append(bar.add_task("train", total=None))
        bar.update(tasks[0], completed=step, total=total, description=f"train: {text}")

    return show


def _live(what: str) -> Live | AbstractContextManager:
    """Something that is drawn again and again."""
    if isinstance(console, JsonConsole):
        return console.status(what)
    return Live(console=console, refresh_per_second=1)
