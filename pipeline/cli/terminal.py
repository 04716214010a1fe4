"""Where words, tables and progress go: a terminal, or JSON a line.

``console`` and ``errors`` are read as attributes of this module: ``write_as`` sets them.
"""

from contextlib import AbstractContextManager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from steadyrank.pipeline.cli.json_console import JsonConsole, JsonProgress, LogFormat

COLOURS = {"PASS": "green", "HOLD": "yellow", "REFUSE": "red"}

console = Console()
errors = Console(stderr=True)


def write_as(log_format: LogFormat, command: str) -> None:
    """Choose the form of all that follows."""
    global console, errors
    if log_format == LogFormat.json:
        console = errors = JsonConsole(command)
    elif isinstance(console, JsonConsole):  # another command in the same process
        console, errors = Console(), Console(stderr=True)


def say(text: str) -> None:
    """A line."""
    console.print(escape(text), soft_wrap=True, highlight=False)


def verdict(word: str) -> None:
    """PASS, HOLD or REFUSE."""
    console.print(f"[bold {COLOURS[word]}]{word}[/]")


def fail(message: str, status: int) -> int:
    """An error in a line; gives the exit status back."""
    errors.print(f"[bold red]error[/] {escape(message)}", soft_wrap=True, highlight=False)
    return status


def progress() -> Progress | JsonProgress:
    """A bar that counts steps."""
    if isinstance(console, JsonConsole):
        return JsonProgress(console)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def shown(bar: Progress | JsonProgress):
    """What training calls to show how it goes; before its first step there is no bar."""
    tasks = []

    def show(step: int, total: int, text: str):
        if not total:
            bar.console.print(escape(text))
            return
        if not tasks:
            tasks.append(bar.add_task("train", total=None))
        bar.update(tasks[0], completed=step, total=total, description=f"train: {text}")

    return show


def live(what: str) -> Live | AbstractContextManager:
    """Something that is drawn again and again."""
    if isinstance(console, JsonConsole):
        return console.status(what)
    return Live(console=console, refresh_per_second=1)
