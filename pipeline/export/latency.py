"""How long an export takes to answer, on this machine."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.files.errors import InputError

REPEATS = 400  # of a gate: the fewest whose slowest bounds their 99th percentile are 368
PERCENTILES = (50, 99)


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
        ``signature``, ``rows``, ``requests``, ``p50_ms``, ``p99_ms``, their
        ``intervals`` and ``rows_per_second``; None without a gate, where the export lacks
        the signature, and where no rows were kept raw.
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
    """Latency of one signature, NumPy to NumPy.

    Returns:
        ``p50_ms``, ``p99_ms``, ``rows_per_second`` at the median, and ``intervals`` of
        the two percentiles; None where so few requests bound none.
    """
    for _ in range(5):
        call(inputs)
    seconds = np.zeros(repeats)
    for i in range(repeats):
        start = time.perf_counter()
        call(inputs)
        seconds[i] = time.perf_counter() - start
    found = {f"p{p}_ms": 1e3 * float(np.percentile(seconds, p)) for p in PERCENTILES}
    return {
        **found,
        "intervals": {
            f"p{p}_ms": percentile_interval(1e3 * seconds, p / 100) for p in PERCENTILES
        },
        "rows_per_second": 1e3 * rows / found["p50_ms"],
    }


def percentile_interval(values: np.ndarray, p: float) -> list[float] | None:
    """The 95 % interval of a percentile, whatever the distribution.

    Its bounds are two of the sorted values: how many of n lie below the percentile is
    binomial, B(n, p), and either bound is passed with at most 2.5 %.

    Args:
        values: ``[n]``, of n independent tries.
        p: In (0, 1).

    Returns:
        Both bounds; None where n is too small for one of them.
    """
    count, values = len(values), np.sort(values)
    logs = np.log(np.arange(1, count + 1, dtype=float))
    factorial = np.concatenate([[0.0], np.cumsum(logs)])
    below = np.arange(count + 1)
    chance = factorial[count] - factorial - factorial[::-1]
    chance += below * np.log(p) + (count - below) * np.log1p(-p)
    at_most = np.cumsum(np.exp(chance))  # [k]: of at most k values below
    low = int(np.searchsorted(at_most, 0.025, "right"))
    high = int(np.searchsorted(at_most, 0.975, "left"))
    if low < 1 or high >= count:
        return None
    return [float(values[low - 1]), float(values[high])]
