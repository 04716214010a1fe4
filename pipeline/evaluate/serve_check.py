"""Does an export serve what was judged, and how fast?

In: an example set with the raw rows that preprocessing kept, and an export.  Raw rows go
through every signature that takes them; scores must be those of the encoded signature,
within 1e-5.  Candidate requests are made of each raw row's user and the items around it.
Then every signature is timed at some sizes.

    steadyrank serve-check --examples DIR --model DIR
"""

from pathlib import Path

from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.latency import signatures_of, timed
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.raw_rows import kept_rows, requests_of
from steadyrank.pipeline.export.signatures import ENCODED
from steadyrank.pipeline.export.skew import differences, largest
from steadyrank.pipeline.files.urls import original

LIMIT = 1e-5
SIZES = (1, 100, 500)
REPEATS = 50


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
    shared = export.shared
    raw, encoded = kept_rows(export, examples, split)
    call = signatures_of(export.path)
    found = differences({**call, ENCODED: export.encoded}, raw, encoded, shared)
    gaps = {signature: largest(of_outputs) for signature, of_outputs in found.items()}
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
        "differences": gaps,
        # a NaN is no number below the limit
        "passed": all(gap <= LIMIT for gap in gaps.values()),
        "latency": latency,
    }
