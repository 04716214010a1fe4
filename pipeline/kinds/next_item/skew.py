"""Whether the two signatures of an export of a next-item model agree, on raw rows."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.examples.example_set import vocab_path
from steadyrank.pipeline.examples.kept_rows import no_rows, raw_files, read_raw
from steadyrank.pipeline.examples.records import BLOCK_ROWS
from steadyrank.pipeline.export.signatures import ENCODED, MISSING, RAW
from steadyrank.pipeline.kinds.next_item.example_set import (
    ITEM,
    SequenceSchema,
    SequenceSet,
    pad_left,
    read_blocks,
)
from steadyrank.pipeline.kinds.next_item.serving import HISTORY, ITEMS, SCORES


def measure_skew(export, examples: SequenceSet, split: str) -> dict:
    """Largest difference between the two signatures on the rows that were kept raw.

    The answer of the raw one, its scores in their order, is compared with the best of the
    scores of the encoded one, and each answered item's with its own there.

    Args:
        export: A ``NextItemExport``.
        examples: The set of sequences.
        split: The split.

    Returns:
        ``rows``, ``max_difference``, ``signatures`` and ``outputs``, as ``metrics.json``
        has them.
    """
    total, largest = 0, 0.0
    for history, rows in _kept(export, examples, split):
        answer = export.call[RAW]({HISTORY: history})
        scores = export.scores(tf.constant(rows[:, :-1])).numpy()
        largest = np.maximum(largest, _difference(answer, scores, examples))
        total += len(history)
    return {
        "rows": total,
        "max_difference": float(largest) if total else float("nan"),
        "signatures": {RAW: float(largest)} if total else {},
        "outputs": {SCORES: float(largest)} if total else {},
    }


def requests(export, examples: SequenceSet, split: str) -> Callable[[int], dict]:
    """Rows -> a request of so many to each signature, made of rows that were kept raw.

    Raises:
        InputError: None were kept.
    """
    for raw, rows in _kept(export, examples, split):
        histories = {RAW: raw, ENCODED: rows[:, :-1]}
        return lambda size: {
            name: {HISTORY: history[np.arange(size) % len(history)]}
            for name, history in histories.items()
        }
    raise no_rows(examples, split)


def _kept(export, examples: SequenceSet, split: str) -> Iterator[tuple]:
    """Raw histories of each of a split's files that has some, and the same rows' ids."""
    for file in raw_files(examples, split):
        lists = next(read_raw(examples, file, BLOCK_ROWS))["items"].combine_chunks()
        items, lengths, *_ = next(read_blocks(examples, [examples.path / file["path"]]))
        rows = pad_left(items, lengths, examples.schema.length)[: len(lists)]
        yield _padded(lists, export.schema), export.own_ids(rows)


def _padded(lists, schema: SequenceSchema) -> np.ndarray:
    """Raw items before the last of each list, as rows padded on the right."""
    lengths = lists.value_lengths().to_numpy()
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    kept = np.ones(len(flat), bool)
    kept[np.cumsum(lengths) - 1] = False
    rows = np.repeat(np.arange(len(lengths)), lengths - 1)
    place = np.arange(len(rows)) - np.repeat(
        np.cumsum(lengths - 1) - (lengths - 1), lengths - 1
    )
    kind = np.int64 if schema.raw == "integer" else object
    matrix = np.full((len(lengths), schema.length), MISSING[schema.raw], kind)
    matrix[rows, place] = flat[kept]
    return matrix


def _difference(answer: dict, scores: np.ndarray, examples: SequenceSet) -> float:
    text = vocab_path(examples.path / "vocab", ITEM).read_text(encoding="utf-8")
    known = np.array(text.split("\n")[:-1])
    order = np.argsort(known)
    raw, served = answer[ITEMS], answer[SCORES]
    named = np.char.decode(raw.astype(bytes)) if raw.dtype == object else raw.astype(str)
    places = order[np.searchsorted(known, named, sorter=order)]
    own = np.take_along_axis(scores, places, axis=1)
    best = -np.sort(-scores, axis=1)[:, : served.shape[1]]
    return float(np.maximum(_gap(served, own), _gap(served, best)))


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference; two infinite scores are alike, a NaN stays one."""
    with np.errstate(invalid="ignore"):
        return float(np.where(a == b, 0.0, np.abs(a - b)).max(initial=0.0))
