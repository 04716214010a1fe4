"""Beam's engines: which may run the job, and with which settings none loses a row."""

from collections.abc import Iterable

from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions
from apache_beam.runners import create_runner
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from steadyrank.pipeline.files.errors import InputError, near

LOCAL = "FnApiRunner"  # DirectRunner would download an engine
REFUSED = {
    "DaskRunner": "it routes no tagged outputs, and gave wrong ids without an error",
}
TIME_LIMIT = "data_buffer_time_limit_ms"


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
    options = PipelineOptions(flags)
    _require_safe(options)
    _require_known(options, is_local)
    _never_flush_by_time()
    return options


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
        raise InputError(f"Beam: {error}") from None


def _require_safe(options: PipelineOptions) -> None:
    """Raise where an engine, or a setting of one, is known to lose or mix up rows."""
    runner = options.get_all_options()["runner"].rpartition(".")[2]
    why = {name.lower(): why for name, why in REFUSED.items()}.get(runner.lower())
    if why:
        raise InputError(
            f"--runner={runner} is refused: {why}. Leave it out to run on this machine, or "
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
