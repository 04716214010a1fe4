"""Does an export serve what was judged, and how fast?

In: an example set with the raw rows that preprocessing kept, and an export.  Raw rows go
through every signature that takes them; scores must be those of the encoded signature,
within 1e-5.  Candidate requests are made of each raw row's user and the items around it.
Then every signature is timed at some sizes.

    steadyrank serve-check --examples DIR --model DIR
"""

from pathlib import Path

from steadyrank.pipeline.export.card import require_unchanged
from steadyrank.pipeline.export.latency import signatures_of, timed
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.kinds.protocol import Kind

LIMIT = 1e-5
SIZES = (1, 100, 500)
REPEATS = 50


def serve_check(
    examples_path: Path,
    model_path: Path,
    *,
    kind: Kind,
    split: str = "test",
    sizes: tuple[int, ...] = SIZES,
    repeats: int = REPEATS,
) -> dict:
    """Replay raw rows through an export and time it.

    Args:
        examples_path: The examples.
        model_path: An export, or a folder of versions, of which the latest is taken.
        kind: Of the model.
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
    examples = kind.open_examples(examples_path)
    export = kind.open_model(model_path, examples)
    require_unchanged(export.path, export.card, "model")
    requests_of = kind.requests(export, examples, split)
    found = kind.skew(export, examples, split)
    gaps, call = found["signatures"], signatures_of(export.path)
    requests = {rows: requests_of(rows) for rows in dict.fromkeys(sizes)}
    latency = [
        {"signature": name, "rows": rows, **timed(call[name], inputs, rows, repeats)}
        for rows, by_name in requests.items()
        for name, inputs in by_name.items()
    ]
    return {
        "model": original(export.path),
        "rows": found["rows"],
        "limit": LIMIT,
        "differences": gaps,
        # a NaN is no number below the limit
        "passed": all(gap <= LIMIT for gap in gaps.values()),
        "latency": latency,
    }
