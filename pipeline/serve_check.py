"""Does an export serve what was judged, and how fast?

In: an example set with the raw rows that preprocessing kept, and an export.  Raw rows go
through every signature that takes them; scores must be those of the encoded signature,
within 1e-5.  Candidate requests are made of each raw row's user and the items around it.
Then every signature is timed at some sizes.

    steadyrank serve-check --config C --examples DIR --model DIR
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

from pipeline.dataset import file_dataset
from pipeline.errors import InputError
from pipeline.evaluate import Export, raw_features, raw_path
from pipeline.example_set import ExampleSet
from pipeline.serving import CANDIDATES, ENCODED, RAW, SERIALIZED, TF_EXAMPLE
from pipeline.warmup import serialize_rows

LIMIT = 1e-5
SIZES = (1, 100, 500)
REPEATS = 50
USERS = 20  # of whom each scores all rows as candidates


def serve_check(
    examples_path: Path,
    model_path: Path,
    *,
    split: str = "test",
    shared: list[str] | None = None,
    sizes: tuple[int, ...] = SIZES,
    repeats: int = REPEATS,
) -> dict:
    """Replay raw rows through an export and time it.

    Args:
        examples_path: The example set.
        model_path: An export, or a folder of versions, of which the latest is taken.
        split: ``"test"`` or ``"validation"``: of them raw rows are kept.
        shared: Features that candidates share; None: those of the export's own config.
        sizes: Rows of the timed requests.
        repeats: Timed requests of each size.

    Returns:
        ``rows``, ``limit``, ``passed``, ``differences`` (signature -> largest), and
        ``latency``: one entry for each signature and size, with ``p50_ms``, ``p99_ms``
        and ``rows_per_second``.

    Raises:
        InputError: Model and examples do not belong together, or hold no raw rows.
    """
    examples, export = ExampleSet.open(examples_path), Export(model_path)
    export.require(examples, "model")
    if shared is None:
        shared = export.card["config"].get("serving", {}).get("shared", [])
    raw, encoded = kept_rows(examples, export, split)
    call = signatures_of(export.path)
    differences = _compare(call, raw, encoded, shared)
    requests = {
        n: requests_of(raw, encoded, shared, n, tuple(call)) for n in dict.fromkeys(sizes)
    }
    latency = [
        {"signature": name, "rows": n, **timed(call[name], inputs, n, repeats)}
        for n, by_name in requests.items()
        for name, inputs in by_name.items()
    ]
    return {
        "model": str(export.path),
        "rows": len(next(iter(raw.values()))),
        "limit": LIMIT,
        "differences": differences,
        # a NaN is no number below the limit
        "passed": all(gap <= LIMIT for gap in differences.values()),
        "latency": latency,
    }


def signatures_of(path: Path) -> dict[str, Callable]:
    """An export's signatures: NumPy arrays by name in, NumPy arrays by name out."""
    loaded = tf.saved_model.load(str(path))

    def calling(function):
        _, accepted = function.structured_input_signature

        def call(inputs: dict) -> dict:
            tensors = {
                name: tf.constant(values, accepted[name].dtype)
                for name, values in inputs.items()
            }
            return {name: v.numpy() for name, v in function(**tensors).items()}

        call.owner = loaded  # or its variables would be gone
        return call

    return {name: calling(function) for name, function in loaded.signatures.items()}


def kept_rows(examples: ExampleSet, export: Export, split: str) -> tuple[dict, dict]:
    """The raw rows of a split's first file that has some, and the same rows encoded."""
    for path in [path for paths in examples.windows(split).values() for path in paths]:
        kept = raw_path(examples, path)
        if not kept.exists() or not (table := pq.read_table(kept)).num_rows:
            continue
        features = export.schema.features
        encoded, _, _ = next(iter(file_dataset(examples, [path], len(table))))
        raw = raw_features(table, features)
        return (
            {f.name: raw[f.name].numpy() for f in features},
            {f.name: encoded[f.name].numpy() for f in features},
        )
    raise InputError(
        f"{examples.path} kept no raw rows of {split!r}. Received: split={split!r}; "
        "take test or validation."
    )


def _compare(call: dict, raw: dict, encoded: dict, shared: list[str]) -> dict:
    wanted = call[ENCODED](encoded)
    serialized = {SERIALIZED: serialize_rows(raw)}
    gaps = {RAW: _gap(call[RAW](raw), wanted)}
    if TF_EXAMPLE in call:
        gaps[TF_EXAMPLE] = _gap(call[TF_EXAMPLE](serialized), wanted)
    if CANDIDATES in call:
        gaps[CANDIDATES] = max(
            _candidate_gap(call, raw, encoded, shared, user)
            for user in range(min(USERS, len(wanted["score"])))
        )
    return gaps


def _candidate_gap(call: dict, raw: dict, encoded: dict, shared, user: int) -> float:
    one = slice(user, user + 1)
    asked = {n: v[one] if n in shared else v for n, v in raw.items()}
    rows = len(next(iter(encoded.values())))
    same = {n: np.repeat(v[one], rows, 0) if n in shared else v for n, v in encoded.items()}
    return _gap(call[CANDIDATES](asked), call[ENCODED](same))


def _gap(found: dict, wanted: dict) -> float:
    """The largest difference, relative where values are above 1; NaN if there is one."""
    gaps = [
        np.max(np.abs(found[n] - w) / np.maximum(1.0, np.abs(w)), initial=0.0)
        for n, w in wanted.items()
    ]
    return float(np.max(gaps))


def requests_of(raw: dict, encoded: dict, shared, rows: int, names) -> dict[str, dict]:
    """One user's request of some size, in the form of each signature.

    Args:
        raw: Rows, which are repeated where they do not suffice.
        encoded: The same rows.
        shared: Features that all rows take from the first one.
        rows: Size of the request.
        names: Signatures that the export has.

    Returns:
        Signature -> inputs.
    """

    def repeated(columns):
        return {
            name: values[np.arange(rows) % len(values) * (name not in shared)]
            for name, values in columns.items()
        }

    whole = repeated(raw)
    requests = {RAW: whole, ENCODED: repeated(encoded)}
    if TF_EXAMPLE in names:
        requests[TF_EXAMPLE] = {SERIALIZED: serialize_rows(whole)}
    if CANDIDATES in names:
        one = {name: v[:1] if name in shared else v for name, v in whole.items()}
        requests[CANDIDATES] = one
    return requests


def timed(call: Callable, inputs: dict, rows: int, repeats: int) -> dict:
    """Latency of one signature, NumPy to NumPy, in milliseconds."""
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
