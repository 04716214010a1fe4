"""Worker pools outside of this process (``--environment_type=EXTERNAL``): are they there?

Beam waits for minutes, and silently, where none answers or its workers end as they start.
An engine elsewhere asks the pools of its own machines: their addresses mean nothing here.
"""

import json
import socket

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineState

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.preprocess.engines import is_elsewhere

ANSWER_S, COME_UP_S = 10, 40
START = "python -m steadyrank.pipeline.preprocess.worker_pool --port PORT"


def require_pool(options: PipelineOptions) -> None:
    """Raise where a job names a pool whose workers do not come up.

    Raises:
        InputError: What is named is no address.
        PassingError: Nothing answers there, or no worker came up within a minute.
    """
    address = _address(options)
    if address is None:
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), ANSWER_S):
            pass
    except ValueError:
        raise InputError(
            "--environment_config must be the HOST:PORT of a worker pool. Received: "
            f"{address!r}."
        ) from None
    except OSError as error:
        raise PassingError(
            f"no worker pool answers at {address}: {error}. Start one there, with a Python "
            f"that has this package: {START}"
        ) from None
    _require_worker(address, options)


def _address(options: PipelineOptions) -> str | None:
    portable = options.view_as(PortableOptions)
    external = (portable.environment_type or "").upper() == "EXTERNAL"
    if not external or is_elsewhere(options):
        return None
    text = portable.environment_config or portable.lookup_environment_option(
        "external_service_address"
    )
    text = text or ""
    if text.startswith("{"):
        text = json.loads(text).get("url", "")
    return text.removeprefix("http://")


def _require_worker(address: str, options: PipelineOptions) -> None:
    """Let a worker do next to nothing, and give it a while.

    Not in a thread of its own: runners that start a job server must be in the main one.
    """
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | beam.Create([None]) | beam.Map(came_up)
    said = "what the pool printed says why"
    try:
        job = pipeline.run()
        if job.wait_until_finish(duration=1000 * COME_UP_S) == PipelineState.DONE:
            return
        job.cancel()
    except Exception as error:  # of any kind: what it says is all that is asked for
        said = (
            str(error).strip().splitlines()[-1][:300] if str(error).strip() else repr(error)
        )
    raise PassingError(
        f"no worker of the pool at {address} came up within {COME_UP_S} s: {said}. It "
        "must start a Python that has this package."
    )


def came_up(_) -> None:
    """What a worker is asked first: whether it has this package."""
    import steadyrank.pipeline.preprocess.beam_job  # noqa: F401
