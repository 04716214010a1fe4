"""Worker pools outside of this process (``--environment_type=EXTERNAL``): are they there?

Beam waits for minutes, and silently, where none answers or its workers end as they start.
"""

import json
import socket
import threading

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from steadyrank.pipeline.files.errors import InputError, PassingError

ANSWER_S, COME_UP_S = 10, 40
START = "python -m apache_beam.runners.worker.worker_pool_main --service_port=PORT"


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
            f"that has this package first in its PATH: {START}"
        ) from None
    _require_worker(address, options)


def _address(options: PipelineOptions) -> str | None:
    portable = options.view_as(PortableOptions)
    if (portable.environment_type or "").upper() != "EXTERNAL":
        return None
    text = portable.environment_config or portable.lookup_environment_option(
        "external_service_address"
    )
    text = text or ""
    if text.startswith("{"):
        text = json.loads(text).get("url", "")
    return text.removeprefix("http://")


def _require_worker(address: str, options: PipelineOptions) -> None:
    """Let a worker do next to nothing, and give it a while."""
    ended: list[str] = []

    def attempt() -> None:
        try:
            with beam.Pipeline(options=options) as pipeline:
                _ = pipeline | beam.Create([None]) | beam.Map(came_up)
            ended.append("")
        except Exception as error:  # of any kind: what it says is all that is asked for
            ended.append(str(error).strip().splitlines()[-1][:300] or repr(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(COME_UP_S)
    said = ended[0] if ended else "what the pool printed says why"
    if not ended or ended[0]:
        raise PassingError(
            f"no worker of the pool at {address} came up within {COME_UP_S} s: {said}. It "
            "starts the first python of its PATH, which must have this package."
        )


def came_up(_) -> None:
    """What a worker is asked first: whether it has this package."""
    import steadyrank.pipeline.preprocess.beam_job  # noqa: F401
