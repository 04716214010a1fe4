"""What is measured of an export of a next-item model: over its whole catalogue."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.examples.records import BLOCK_ROWS
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.signatures import ENCODED
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema, SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import TASK
from steadyrank.pipeline.kinds.next_item.learner import EVALUATION_CELLS, ranks_of
from steadyrank.pipeline.kinds.next_item.references import Popularity, Transitions
from steadyrank.pipeline.kinds.next_item.scored import learned, samples_of, summarise
from steadyrank.pipeline.kinds.next_item.serving import HISTORY, SCORES, visible

VALIDATION = "validation"
SAME = 1e-5  # of the largest score: what batches of other sizes round otherwise
FLAT = 1e-3  # between the scores of a history: no item is likelier by a thousandth


class NextItemExport(Export):
    """A SavedModel of a next-item model; items that came since are unknown to it."""

    SCHEMA: ClassVar = SequenceSchema

    def encoded(self, features: dict) -> dict:
        """Score encoded histories, by its own ids."""
        return self._loaded.signatures[ENCODED](**features)

    def scores(self, history) -> tf.Tensor:
        """Scores of all items that it knows, of histories by its own ids."""
        return self.encoded({HISTORY: history})[SCORES]

    def follow(self, examples: SequenceSet) -> None:
        """Nothing is to be remembered: ``own_ids`` says it all."""

    def own_ids(self, rows: np.ndarray) -> np.ndarray:
        """Ids of sequences by its own vocabulary, of which theirs is a longer one."""
        return np.minimum(rows, self.schema.unknown)


def open_model(path: Path, examples: SequenceSet, role: str = "model") -> NextItemExport:
    """An export that knows the ids of the sequences, or of some that they grew from."""
    export = NextItemExport(path)
    export.require(examples, role)
    return export


def open_baseline(path: Path, examples: SequenceSet, split: str) -> NextItemExport:
    """Another."""
    return open_model(path, examples, "baseline")


def measure(
    config: SequenceConfig, examples: SequenceSet, export, *, baseline, split: str
) -> dict:
    """All that is measured on the sequences: model, baseline, and rankings by counts."""
    rows, groups = examples.read(split)
    settings = {"repetitions": config.gates.repetitions}
    hides, counts = config.serving.exclude_seen, examples.counts()
    by_counts = {
        "popularity": Popularity(counts),
        "transitions": Transitions(once(*examples.training()), counts),
    }
    references = {
        name: scored(_served(score, hides), rows, examples.schema.items).ranks
        for name, score in by_counts.items()
    }
    others = {f"gain_over_{name}": found for name, found in references.items()}
    if baseline is not None:
        others["gain"] = scored_by(baseline, rows).ranks
    ours = scored_by(export, rows)
    held, users = examples.read(VALIDATION)
    validated = scored_by(export, held)
    popular = _served(by_counts["popularity"], hides)
    task = learned(
        validated.ranks,
        scored(popular, held, examples.schema.items).ranks,
        validated.visible,
        users,
        targets=held[:, -1],
        repetitions=config.gates.repetitions,
        varies=validated.varies,
    )
    found = {
        "finite": {
            "rows": {split: len(rows), VALIDATION: len(held)},
            "nonfinite": {
                split: {SCORES: ours.nonfinite},
                VALIDATION: {SCORES: validated.nonfinite},
            },
            "weights": export.nonfinite_weights(),
        },
        "learned": {"where": examples.span(VALIDATION), "tasks": {TASK: task}},
        "where": examples.span(split),
        "trained_on": examples.span("train"),
        "identity": examples.manifest["identity"].get(split),
        "rows": len(rows),
        "tasks": {TASK: summarise(ours.ranks, groups, others, **settings)},
        "samples": samples_of(ours.ranks, groups, config.gates.repetitions),
        **{n: summarise(found, groups, {}, **settings) for n, found in references.items()},
        "baseline": None,
    }
    if baseline is not None:
        theirs = summarise(others["gain"], groups, {}, **settings)
        found["baseline"] = {"model": original(baseline.path), "tasks": {TASK: theirs}}
    return found


def once(rows: np.ndarray, own: np.ndarray) -> Iterator[np.ndarray]:
    """Sequences from the item before their own, some at a time: each pair comes once.

    Args:
        rows: int32 ``[N, length]``, padded with 0 on the left.
        own: int32 ``[N]``, how many of the last items are the sequence's own.
    """
    place = np.arange(rows.shape[1])
    for start in range(0, len(rows), BLOCK_ROWS):
        some, ends = rows[start : start + BLOCK_ROWS], own[start : start + BLOCK_ROWS]
        yield np.where(place < len(place) - 1 - ends[:, np.newaxis], 0, some)


@dataclass(frozen=True)
class Ranked:
    """What the scores of some sequences amount to.

    Attributes:
        ranks: Of each one's last item among all known ones, int32 ``[N]``.
        visible: Items that it was ranked among, int32 ``[N]``; 0: it was left out itself,
            or is not known.
        nonfinite: Rows with a score that is NaN or infinite; -infinity is what items
            that are left out have.
        varies: Whether any two histories are told apart, and any two items.
    """

    ranks: np.ndarray
    visible: np.ndarray
    nonfinite: int
    varies: bool


def scored_by(export: NextItemExport, rows: np.ndarray) -> Ranked:
    """What ``scored`` gives, of an export's answers: a target unknown to it is missed."""
    return scored(export.scores, rows, export.schema.items, own_ids=export.own_ids)


def scored(
    score: Callable, rows: np.ndarray, items: int, *, own_ids: Callable = np.asarray
) -> Ranked:
    """Rank the last item of each sequence by scores of the others.

    Args:
        score: Histories int32 ``[B, length - 1]`` -> scores ``[B, V]``.
        rows: int32 ``[N, length]``.
        items: V, the known items.
        own_ids: Sequences -> the same by the ids of whoever scores them.
    """
    found, among, spoiled = [], [], 0
    size, first = max(1, EVALUATION_CELLS // items), None
    differ = apart = False
    for start in range(0, len(rows), size):
        batch = tf.constant(own_ids(rows[start : start + size]))
        scores = score(batch[:, :-1])
        bad = tf.math.is_nan(scores) | (scores == np.inf)
        spoiled += int(tf.math.count_nonzero(tf.reduce_any(bad, axis=1)))
        found.append(ranks_of(scores, batch[:, -1], items).numpy())
        among.append(_visible_items(scores, batch[:, -1], items).numpy())
        first = scores[:1] if first is None else first
        differ = differ or _differ(scores, first)
        apart = apart or _tells_items(scores)
    none = [np.zeros(0, np.int32)]
    ranked = np.concatenate(found or none), np.concatenate(among or none)
    return Ranked(*ranked, spoiled, differ and apart)


def _visible_items(scores, targets, items: int):
    """How many items were not left out; 0 where the target was, or is not known."""
    seen = scores[:, :items] > -np.inf
    own = tf.gather(seen, tf.minimum(targets, items) - 1, batch_dims=1)
    count = tf.math.count_nonzero(seen, axis=1, dtype=tf.int32)
    return tf.where(own & (targets <= items), count, 0)


def _differ(scores, first) -> bool:
    """Whether a row's scores are others than the first's, where neither left out an item.

    By more than rounding; of rows that are no numbers nothing is said.
    """
    both = tf.math.is_finite(scores) & tf.math.is_finite(first)
    gap = tf.reduce_max(tf.where(both, tf.abs(scores - first), 0.0))
    largest = tf.reduce_max(tf.where(both, tf.abs(first), 0.0))
    return bool(gap > SAME * largest)


def _tells_items(scores) -> bool:
    """Whether any history makes one item likelier than another: scores are logits."""
    known = tf.math.is_finite(scores)
    high = tf.reduce_max(tf.where(known, scores, scores.dtype.min), axis=1)
    low = tf.reduce_min(tf.where(known, scores, scores.dtype.max), axis=1)
    return bool(tf.reduce_any(high - low > FLAT))


def _served(by_counts: Callable, exclude_seen: bool) -> Callable:
    """Scores of the known items under the rules of the export."""

    def score(history):
        scores = tf.constant(by_counts(history.numpy()))
        return visible(scores, history if exclude_seen else None)

    return score
