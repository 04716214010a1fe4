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
from typer.core import TyperCommand, TyperGroup

from steadyrank import __version__
from steadyrank.components.environment import leave
from steadyrank.pipeline.cli import terminal
from steadyrank.pipeline.cli.arguments import common_first, going_on
from steadyrank.pipeline.cli.json_console import LogFormat
from steadyrank.pipeline.cli.summary import Summary, summary
from steadyrank.pipeline.config.cluster import require_one_machine
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    ExistsError,
    InputError,
    PassingError,
    RefusedError,
    ToldToEndError,
    foreseen,
)
from steadyrank.pipeline.files.lifeline import end_with_parent
from steadyrank.pipeline.files.printable import printable

REFUSED, BAD_INPUT, DIVERGED = 1, 2, 3
ON_ANY_MACHINE = ("train", "check", "inspect")  # of several that TF_CONFIG names
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


class WithStatuses(TyperGroup):
    """The commands, each of which says in its help how it may end."""

    def get_command(self, ctx, cmd_name):
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.epilog = STATUSES
        return command


STATUSES = (
    "Exit status: 0 done, and the gates passed; 1 held or refused; 2 bad config or input; "
    "3 training diverged; 70 unforeseen; 75 may pass, try again; 130 interrupted. "
    "`--log-format json` and `--notify CMD` may stand anywhere."
)
BEAM = {"cls": WithBeamFlags, "options_metavar": "[OPTIONS] [-- BEAM FLAGS]"}
app = typer.Typer(
    name="steadyrank",
    help="Raw engagement logs in; a multitask ranking model that passed its gates out.",
    cls=WithStatuses,
    epilog=STATUSES,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
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
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="CMD",
            help="Run at the end, with a JSON object on stdin: verdict, status, reasons. "
            "Without a shell: of pipes or variables make a script, or sh -c '...'.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=say_version, is_eager=True, help="Say it, and end."
        ),
    ] = False,
):
    """Raw engagement logs in; a multitask ranking model that passed its gates out."""
    summary.command, summary.notify = context.invoked_subcommand, notify
    if context.invoked_subcommand not in ON_ANY_MACHINE:
        require_one_machine(str(context.invoked_subcommand))
    terminal.write_as(log_format, context.invoked_subcommand)


def be_quiet() -> None:
    """Keep the noise of others off the terminal; errors and our own words stay."""
    warnings.filterwarnings("ignore", module="(?!steadyrank)")
    for name in ("root", "apache_beam", "tensorflow", "absl"):
        logging.getLogger(None if name == "root" else name).setLevel(logging.ERROR)
    # what a worker met is raised, too, and told in our words
    logging.getLogger("apache_beam.runners.common").setLevel(logging.CRITICAL)


class Terminated(BaseException):
    """SIGTERM, which ends a command as Ctrl-C does; typer would take one for the other."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """What ends a container ends a command as Ctrl-C does.

    A container's first process is not ended by a signal that it has no handler for.
    """

    def end(*_):
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit status."""
    be_quiet()
    end_with_parent()
    words = common_first(sys.argv[1:] if arguments is None else arguments)
    summary.__dict__.update(Summary().__dict__)  # of this command alone
    status = _status_of(words)
    if failed := summary.tell(status):
        terminal.warn(failed)
    terminal.conclude(summary.document(status))
    leave(status)


def _status_of(words: list[str]) -> int:
    """Run a command, say what went wrong, and give its exit status."""
    try:
        with ended_by_sigterm():
            status = app(words, standalone_mode=False) or 0
        if status == INTERRUPTED:  # some versions of typer catch it themselves
            raise KeyboardInterrupt
        return status
    except ExistsError as error:
        again = going_on(words)
        more = f" To go on with it: {again}" if again and "--resume" in again else ""
        return _fail(f"{error}{more}", BAD_INPUT)
    except InputError as error:
        return _fail(str(error), BAD_INPUT)
    except ToldToEndError as error:
        return _fail(f"{error} {_onwards(words)}", PASSING)
    except PassingError as error:
        return _fail(str(error), PASSING)
    except RefusedError as error:
        return _fail(str(error), REFUSED)
    except DivergenceError as error:
        return _fail(str(error), DIVERGED)
    except Terminated:
        return _fail(f"told to end (SIGTERM). {_onwards(words)}", INTERRUPTED)
    except (typer.Abort, KeyboardInterrupt):
        return _fail(f"interrupted. {_onwards(words)}", INTERRUPTED)
    except Exception as error:
        if told := foreseen(error):
            passing = isinstance(told, PassingError)
            return _fail(str(told), PASSING if passing else BAD_INPUT)
        if hasattr(error, "format_message"):  # click's usage errors
            return _fail(error.format_message(), BAD_INPUT)
        summary.error = f"{type(error).__name__}: {error}"
        sys.stderr.write(printable(traceback.format_exc()))
        return BROKEN  # what ends here may end well at the next try


def _onwards(words: list[str]) -> str:
    """What to do after a command that was ended."""
    again = going_on(words)
    return f"To go on: {again}" if again else "It left nothing behind."


def _fail(message: str, status: int) -> int:
    summary.error = message
    return terminal.fail(message, status)
