"""How long an export takes to answer, on this machine."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.files.errors import InputError

REPEATS = 300  # of a gate: the 99th percentile stands on the 3 slowest of them


def require_answers(card: dict, gate: dict | None, path: Path) -> None:
    """Raise unless an export has the signature that the latency gate times.

    Raises:
        InputError: It has not; what it has is named.
    """
    known = card.get("signatures")  # of an earlier version: it is not noted
    if gate and known and gate["signature"] not in known:
        raise InputError(
            f"no model could pass: gates.latency.signature is {gate['signature']}, and "
            f"{path} answers to {', '.join(known)}. Take one of these, or export again."
        )


def measure_latency(
    path: Path, gate: dict | None, requests: Callable[[int], dict]
) -> dict | None:
    """Time the requests that the latency gate asks for.

    Args:
        path: The export.
        gate: The gate; None: nothing is timed.
        requests: Rows -> signature -> inputs; InputError where no rows were kept raw.

    Returns:
        ``signature``, ``rows``, ``requests``, ``p50_ms``, ``p99_ms`` and
        ``rows_per_second``; None without a gate, where the export lacks the signature,
        and where no rows were kept raw.
    """
    if gate is None:
        return None
    name, rows = gate["signature"], gate["rows"]
    call = signatures_of(path)
    if name not in call:
        return None
    try:
        request = requests(rows)[name]
    except InputError:  # of the training split, or of no rows at all
        return None
    found = timed(call[name], request, rows, REPEATS)
    return {"signature": name, "rows": rows, "requests": REPEATS, **found}


def signatures_of(path: Path) -> dict[str, Callable]:
    """An export's signatures: NumPy arrays by name in, NumPy arrays by name out."""
    return calls_of(tf.saved_model.load(str(path)))


def calls_of(loaded) -> dict[str, Callable]:
    """The same of a loaded export."""

    def calling(function):
        _, accepted = function.structured_input_signature

        def call(inputs: dict) -> dict:
            tensors = {
                name: tf.constant(values, accepted[name].dtype)
                for name, values in inputs.items()
            }
            return {name: v.numpy() for name, v in function(**tensors).items()}

        setattr(call, "owner", loaded)  # noqa: B010 (or its variables would be gone)
        return call

    return {name: calling(function) for name, function in loaded.signatures.items()}


def timed(call: Callable, inputs: dict, rows: int, repeats: int) -> dict:
    """Latency of one signature, NumPy to NumPy: ``p50_ms``, ``p99_ms``, rows a second."""
    for _ in range(5):
        call(inputs)
    seconds = np.zeros(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        call(inputs)
        seconds[i] = time.perf_counter() - start
    return {
        "p50_ms": 1e3 * float(np.percentile(seconds, 50)),
        "p99_ms": 1e3 * float(np.percentile(seconds, 99)),
        "rows_per_second": rows / float(np.percentile(seconds, 50)),
    }
