"""Does an export serve what was judged, and how fast?

In: an example set with the raw rows that preprocessing kept, and an export.  Raw rows go
through every signature that takes them; scores must be those of the encoded signature,
within 1e-5.  Candidate requests are made of each raw row's user and the items around it.
Then every signature is timed at some sizes.

    steadyrank serve-check --examples DIR --model DIR
"""

from pathlib import Path

import numpy as np

from pipeline.evaluate import Export
from pipeline.example_set import ExampleSet
from pipeline.latency import signatures_of, timed
from pipeline.object_storage import original
from pipeline.raw_rows import kept_rows, requests_of
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
    sizes: tuple[int, ...] = SIZES,
    repeats: int = REPEATS,
) -> dict:
    """Replay raw rows through an export and time it.

    Args:
        examples_path: The example set.
        model_path: An export, or a folder of versions, of which the latest is taken.
        split: ``"test"`` or ``"validation"``: of them raw rows are kept.
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
    shared = export.card["config"].get("serving", {}).get("shared", [])
    raw, encoded = kept_rows(examples, export.schema.features, split)
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
        "model": original(export.path),
        "rows": len(next(iter(raw.values()))),
        "limit": LIMIT,
        "differences": differences,
        # a NaN is no number below the limit
        "passed": all(gap <= LIMIT for gap in differences.values()),
        "latency": latency,
    }


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
