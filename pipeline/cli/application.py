"""The application that the commands join, and what becomes of their errors."""

import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from typer.core import TyperCommand

from steadyrank import __version__
from steadyrank.components.environment import leave
from steadyrank.pipeline.cli import terminal
from steadyrank.pipeline.cli.json_console import LogFormat
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    InputError,
    PassingError,
    foreseen,
)
from steadyrank.pipeline.files.lifeline import end_with_parent
from steadyrank.pipeline.files.printable import printable

REFUSED, BAD_INPUT, DIVERGED = 1, 2, 3
BROKEN, PASSING, INTERRUPTED = 70, 75, 130  # sysexits.h: internal, temporary; SIGINT


class WithBeamFlags(TyperCommand):
    """A command of which what follows ``--``, and nothing else, goes to Beam.

    The flags are the context's ``args``.
    """

    def parse_args(self, ctx, args):
        cut = args.index("--") if "--" in args else len(args)
        super().parse_args(ctx, args[:cut])
        ctx.args = args[cut + 1 :]
        return ctx.args


BEAM = {"cls": WithBeamFlags, "options_metavar": "[OPTIONS] [-- BEAM FLAGS]"}
app = typer.Typer(
    name="steadyrank",
    help="Raw engagement logs in; a multitask ranking model that passed its gates out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def say_version(wanted: bool) -> None:
    """Print the version, and end, where it is asked for."""
    if wanted:
        terminal.console.print(f"steadyrank {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    log_format: Annotated[
        LogFormat, typer.Option(help="json: a JSON object a line, on stdout.")
    ] = LogFormat.text,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=say_version, is_eager=True, help="Say it, and end."
        ),
    ] = False,
):
    """Raw engagement logs in; a multitask ranking model that passed its gates out."""
    terminal.write_as(log_format, context.invoked_subcommand)


def be_quiet() -> None:
    """Keep the noise of others off the terminal; errors and our own words stay."""
    warnings.filterwarnings("ignore", module="(?!steadyrank)")
    for name in ("root", "apache_beam", "tensorflow", "absl"):
        logging.getLogger(None if name == "root" else name).setLevel(logging.ERROR)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """What ends a container ends a command as Ctrl-C does.

    A container's first process is not ended by a signal that it has no handler for.
    """

    def end(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit status."""
    be_quiet()
    end_with_parent()
    try:
        with ended_by_sigterm():
            status = app(arguments, standalone_mode=False) or 0
        if status == INTERRUPTED:  # some versions of typer catch it themselves
            raise KeyboardInterrupt
    except InputError as error:
        status = terminal.fail(str(error), BAD_INPUT)
    except PassingError as error:
        status = terminal.fail(str(error), PASSING)
    except DivergenceError as error:
        status = terminal.fail(str(error), DIVERGED)
    except (typer.Abort, KeyboardInterrupt):
        status = terminal.fail(
            "interrupted; where a command has --resume, that goes on", INTERRUPTED
        )
    except Exception as error:
        if told := foreseen(error):
            passing = isinstance(told, PassingError)
            status = terminal.fail(str(told), PASSING if passing else BAD_INPUT)
        elif hasattr(error, "format_message"):  # click's usage errors
            status = terminal.fail(error.format_message(), BAD_INPUT)
        else:
            sys.stderr.write(printable(traceback.format_exc()))
            status = BROKEN  # what ends here may end well at the next try
    leave(status)
