"""Does every signature of an export answer as the encoded one, which is judged?

Raw rows go through those that take them.  Candidates are asked for as one row's user and
the items of all rows, and held to what those rows get one by one.  Differences are
relative where values are above 1.
"""

from collections.abc import Callable, Collection, Mapping

import numpy as np

from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.raw_rows import kept_files
from steadyrank.pipeline.export.signatures import (
    CANDIDATES,
    ENCODED,
    RAW,
    SERIALIZED,
    TF_EXAMPLE,
)
from steadyrank.pipeline.export.warmup import serialize_rows

CHECKED_ROWS = 5000  # at most, over all files of a split
USERS = 20  # of a file, of whom each scores all rows as candidates


def measure_skew(export, examples: ExampleSet, split: str) -> dict:
    """Largest differences on the rows that were kept raw.

    Args:
        export: The ``Export``.
        examples: The example set.
        split: The split; of ``"train"`` no rows are kept raw.

    Returns:
        ``rows``, ``max_difference`` (NaN: none, or a signature gave one), and
        ``signatures`` and ``outputs``, name -> largest difference; and ``nonfinite``,
        signature -> the outputs that it gave as NaN or infinite.
    """
    rows, found = 0, {}
    for raw, encoded in kept_files(export, examples, split):
        rows += len(next(iter(raw.values())))
        by_signature = differences(export.call, raw, encoded, export.shared)
        for signature, gaps in by_signature.items():
            found[signature] = _larger(found.get(signature, {}), gaps)
        if rows >= CHECKED_ROWS:
            break
    outputs = {}
    for gaps in found.values():
        outputs = _larger(outputs, gaps)
    return {
        "rows": rows,
        "max_difference": largest(outputs) if outputs else float("nan"),
        "signatures": {signature: largest(gaps) for signature, gaps in found.items()},
        "outputs": outputs,
        "nonfinite": {
            signature: bad
            for signature, gaps in found.items()
            if (bad := [name for name, gap in gaps.items() if not np.isfinite(gap)])
        },
    }


def differences(
    call: Mapping[str, Callable], raw: dict, encoded: dict, shared: Collection[str]
) -> dict[str, dict]:
    """Every other signature's largest difference from the encoded one, and of candidates
    from the raw one, which is compared with it.

    Args:
        call: Signature -> function of NumPy arrays by name.
        raw: Feature name -> NumPy array of raw values.
        encoded: The same rows encoded.
        shared: Names of the features that candidates share.

    Returns:
        Signature -> output -> difference.
    """
    wanted = call[ENCODED](encoded)
    found = {RAW: _gaps(call[RAW](raw), wanted)}
    if TF_EXAMPLE in call:
        answer = call[TF_EXAMPLE]({SERIALIZED: serialize_rows(raw)})
        found[TF_EXAMPLE] = _gaps(answer, wanted)
    if CANDIDATES in call:
        found[CANDIDATES] = {}
        rows = len(next(iter(raw.values())))
        for user in range(min(USERS, rows)):
            gaps = _of_candidates(call, raw, shared, user=user)
            found[CANDIDATES] = _larger(found[CANDIDATES], gaps)
    return found


def largest(gaps: Mapping[str, float]) -> float:
    """The largest of some differences; NaN if there is one."""
    return float(np.max(list(gaps.values())))


def _of_candidates(call, raw: dict, shared, *, user: int) -> dict:
    one = slice(user, user + 1)
    asked = {n: v[one] if n in shared else v for n, v in raw.items()}
    rows = len(next(iter(raw.values())))
    same = {n: np.repeat(v[one], rows, 0) if n in shared else v for n, v in raw.items()}
    return _gaps(call[CANDIDATES](asked), call[RAW](same))


def _gaps(found: Mapping, wanted: Mapping) -> dict[str, float]:
    gaps = {}
    for name, values in wanted.items():
        values = np.asarray(values)
        gap = np.abs(np.asarray(found[name]) - values) / np.maximum(1.0, np.abs(values))
        gaps[name] = float(np.max(gap, initial=0.0))
    return gaps


def _larger(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    # np.maximum, unlike max, lets a NaN through to the gate
    return {name: float(np.maximum(a.get(name, 0.0), gap)) for name, gap in b.items()}
