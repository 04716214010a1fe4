"""Parts of a split by the values of features: where a model could fail unseen.

A slice is all rows that share the values of the named features.  Slices below the
smallest size are counted and named, not judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steadyrank.models.features import CLOCKS, Feature
from steadyrank.models.ids import MISSING_ID
from steadyrank.pipeline.examples.example_set import vocab_path

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAMED = 20  # of the slices that are too small


@dataclass(frozen=True)
class Slice:
    """A part of the rows.

    Attributes:
        values: Feature -> its value in words.
        rows: int ``[n]``, the numbers of its rows, rising.
    """

    values: dict[str, str]
    rows: np.ndarray


def slices_of(
    features: Sequence[Feature], columns: Mapping[str, np.ndarray], vocab: Path
) -> list[Slice]:
    """The slices of all rows by some features, the largest first.

    Args:
        features: Those to slice by: categorical ones of one value, or bucketized ones.
        columns: Feature name -> encoded values ``[rows]``.
        vocab: Folder of the vocabulary files.

    Returns:
        The slices that have rows.
    """
    codes = np.stack([encode(f, columns[f.name]) for f in features], 1)
    values, number = np.unique(codes, axis=0, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(number.ravel(), minlength=len(values)))
    parts = np.split(order, ends[:-1]) if len(values) else []
    words = [names_of(f, vocab) for f in features]
    names = [f.name for f in features]
    slices = [
        Slice({n: w(c) for n, w, c in zip(names, words, code, strict=True)}, rows)
        for code, rows in zip(values.tolist(), parts, strict=True)
    ]
    return sorted(slices, key=lambda part: -len(part.rows))


def encode(feature: Feature, values: np.ndarray) -> np.ndarray:
    """A feature's values as small integers: ids, or bucket numbers and 0 where missing."""
    if feature.kind != "numeric":
        return values.astype(np.int64)
    bucket = 1 + np.searchsorted(np.float32(feature.boundaries), values, "right")
    return np.where(np.isnan(values), 0, bucket)


def names_of(feature: Feature, vocab: Path):
    """A function from a code of ``encode`` to words."""
    if feature.kind == "numeric":
        return lambda code: bucket_name(feature.boundaries, code)
    if feature.kind in CLOCKS:
        return lambda code: clock_name(feature.kind, code)
    lines = vocab_path(vocab, feature.name).read_text(encoding="utf-8").split("\n")

    def name(code: int) -> str:
        if code == MISSING_ID:
            return "(missing)"
        known = feature.ids.line_of(code)
        return lines[known] if known >= 0 else "(unknown)"

    return name


def clock_name(kind: str, code: int) -> str:
    """An hour or a weekday in words, from its id: 0 missing, then 0 o'clock, or Monday."""
    if code == MISSING_ID:
        return "(missing)"
    return f"{code - 1}:00" if kind == "hour" else WEEKDAYS[code - 1]


def bucket_name(boundaries: Sequence[float], code: int) -> str:
    """A bucket in words, from its number: 0 missing, 1 below the first boundary."""
    if code == 0:
        return "(missing)"
    if code == 1:
        return f"below {boundaries[0]:g}"
    if code == len(boundaries) + 1:
        return f"from {boundaries[-1]:g}"
    return f"{boundaries[code - 2]:g} to {boundaries[code - 1]:g}"


def summary_of(small: Sequence[Slice]) -> dict:
    """What is said of slices that are too small to judge."""
    rows = sum(len(part.rows) for part in small)
    named = [part.values for part in small[:NAMED]]
    return {"slices": len(small), "rows": rows, "names": named}


def columns_within(columns: Mapping, rows: np.ndarray) -> dict:
    """Some of the rows of a dictionary of columns, which may be nested or None."""

    def part(content):
        if isinstance(content, Mapping):
            return {name: part(inner) for name, inner in content.items()}
        return None if content is None else content[rows]

    return part(columns)


def large_enough(slices: list[Slice], least: int) -> Iterator[Slice]:
    return (part for part in slices if len(part.rows) >= least)
