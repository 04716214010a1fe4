"""Beam's engines: which may run the job, and with which settings none loses a row."""

import re
from collections.abc import Iterable

from apache_beam.options.pipeline_options import (
    DebugOptions,
    PipelineOptions,
    PortableOptions,
)
from apache_beam.runners import create_runner
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from steadyrank.pipeline.files.errors import InputError, PassingError, foreseen, near

LOCAL = "FnApiRunner"  # DirectRunner would download an engine
REFUSED = {
    "DaskRunner": "it routes no tagged outputs, and gave wrong ids without an error",
}
TIME_LIMIT = "data_buffer_time_limit_ms"
OF_THIS_PROCESS = {"fnapirunner", "directrunner", "bundlebaseddirectrunner"}
EMBEDDED = "embed"  # a job endpoint: the process that asks for the job runs it
FRAME = re.compile(r"\s+at |\s*\.\.\. \d+ (more|common)|\s*$|  ")  # of a stack


class _Options(PipelineOptions):
    """Options whose views are made once.

    Building a job asks for hundreds of views, and each builds a parser of its own: much of
    the time that a short log takes.  All views share one dictionary, so that a view that
    was given before says what a new one would.
    """

    def view_as(self, cls):
        views = self.__dict__.setdefault("_views", {})  # options own all other names
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


def options_of(beam_flags: Iterable[str]) -> PipelineOptions:
    """Beam's options, of an engine that keeps every row.

    Args:
        beam_flags: As the command line has them; no ``--runner``: the local one.

    Raises:
        InputError: Beam knows no such runner or flag, or would lose rows with it.
    """
    flags = list(beam_flags)
    is_local = not any(flag.startswith("--runner") for flag in flags)
    if is_local:
        flags.insert(0, f"--runner={LOCAL}")
    options = _Options(flags)
    _require_safe(options)
    _require_known(options, is_local)
    _never_flush_by_time()
    return options


def is_elsewhere(options: PipelineOptions) -> bool:
    """Whether other machines, or other programs of this one, run the job."""
    if _runner(options) in OF_THIS_PROCESS:
        return False
    return options.view_as(PortableOptions).job_endpoint != EMBEDDED


def gave_up(error: Exception, options: PipelineOptions) -> PassingError | None:
    """What an engine elsewhere said of a job that it did not end; None: it was none.

    Args:
        error: What running the job raised.
        options: It was run with.
    """
    told = isinstance(error, InputError | PassingError) or foreseen(error)
    if told or not is_elsewhere(options):
        return None
    lines = [line for line in str(error).splitlines() if not FRAME.match(line)]
    said = (lines or [repr(error)])[-1].strip()[:500]
    return PassingError(
        f"the engine gave the job up: {said}. Its own log says more. Nothing was written; "
        "where a machine was lost, try again."
    )


def _runner(options: PipelineOptions) -> str:
    return options.get_all_options()["runner"].rpartition(".")[2].lower()


def _require_known(options: PipelineOptions, is_local: bool) -> None:
    """Raise where Beam knows no such runner, or would pass over a flag of the local one."""
    known = options.get_all_options()
    found = options.get_all_options(retain_unknown_options=True)
    stray = sorted(f"--{name}" for name in {*found} - {*known})
    if is_local and stray:
        hint = near(stray[0], (f"--{name}" for name in known)).partition("Allowed:")[0]
        raise InputError(f"Beam has no {', '.join(stray)}. {hint}".rstrip())
    try:
        create_runner(known["runner"])
    except (ValueError, ImportError, AttributeError) as error:
        raise InputError(
            f"--runner={known['runner']}: {error}. Name one that this Beam has."
        ) from None


def _require_safe(options: PipelineOptions) -> None:
    """Raise where an engine, or a setting of one, is known to lose or mix up rows."""
    names = {name.lower(): name for name in REFUSED}
    if name := names.get(_runner(options)):
        why = REFUSED[name]
        raise InputError(
            f"--runner={name} is refused: {why}. Leave it out to run on this machine, or "
            "take an engine that docs/engines.md has been run on."
        )
    for setting in options.view_as(DebugOptions).experiments or ():
        name, _, value = setting.partition("=")
        if name == TIME_LIMIT and value.strip() != "0":
            raise InputError(
                f"--experiments={setting} is refused: what a worker writes while Beam "
                "flushes by time is lost. Remove it, or set it to 0."
            )


def _never_flush_by_time() -> None:
    """Keep Beam's local workers from flushing while they write, which loses elements.

    Its stream that flushes by time reads the buffer and clears it in two steps, and does
    not keep the writing thread out in between (2.77, ``data_plane.py``).  Streams that
    flush by size do so in the writing thread itself.
    """
    if not hasattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS"):
        raise RuntimeError(
            "this Beam keeps its time limit of data buffers elsewhere: look there before "
            "rows are trusted to it"
        )
    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0
