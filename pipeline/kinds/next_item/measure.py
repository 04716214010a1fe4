"""What is measured of an export of a next-item model: over its whole catalogue."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.export.card import CARD, EXTRA, find_version
from steadyrank.pipeline.export.signatures import ENCODED
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema, SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import TASK
from steadyrank.pipeline.kinds.next_item.learner import EVALUATION_CELLS, ranks_of
from steadyrank.pipeline.kinds.next_item.references import Popularity, Transitions
from steadyrank.pipeline.kinds.next_item.scored import learned, samples_of, summarise
from steadyrank.pipeline.kinds.next_item.serving import HISTORY, SCORES, visible
from steadyrank.pipeline.train.checkpoints import UNREADABLE

VALIDATION = "validation"
NEXT_ITEM_EXPORT = "an export of a next-item model"


class NextItemExport:
    """A SavedModel, loaded with TensorFlow alone.

    Attributes:
        path: Its folder.
        card: What was written beside it.
        schema: Its schema.
        signatures: What it answers to.
    """

    def __init__(self, path: Path, examples: SequenceSet, role: str):
        self.path = find_version(path)
        self.card = read_json(self.path / EXTRA / CARD, NEXT_ITEM_EXPORT)
        self.schema = SequenceSchema.from_dict(
            self.card["schema"], self.path / EXTRA / CARD
        )
        found, wanted = self.schema.fingerprint, examples.schema.fingerprint
        if found != wanted:
            raise InputError(
                f"{role} {self.path} was trained on sequences with fingerprint "
                f"{found[:12]}; {examples.path} has {wanted[:12]}. Ids would mean other "
                "items: evaluate on the sequences it was trained with."
            )
        try:
            self._loaded = tf.saved_model.load(str(self.path))
        except UNREADABLE as error:
            raise InputError(f"{self.path} cannot be loaded: {error}") from None
        self.signatures = self._loaded.signatures

    def scores(self, history) -> tf.Tensor:
        """Scores of all known items, of encoded histories."""
        return self.signatures[ENCODED](**{HISTORY: history})[SCORES]


def open_model(path: Path, examples: SequenceSet) -> NextItemExport:
    """An export that knows the ids of the sequences."""
    return NextItemExport(path, examples, "model")


def open_baseline(path: Path, examples: SequenceSet, split: str) -> NextItemExport:
    """Another, of the same sequences."""
    return NextItemExport(path, examples, "baseline")


def measure(
    config: SequenceConfig, examples: SequenceSet, export, *, baseline, split: str
) -> dict:
    """All that is measured on the sequences: model, baseline, and rankings by counts."""
    rows, groups = examples.read(split)
    settings = {"repetitions": config.gates.repetitions}
    hides, counts = config.serving.exclude_seen, examples.counts()
    by_counts = {
        "popularity": Popularity(counts),
        "transitions": Transitions(examples.read("train")[0], counts),
    }
    references = {
        name: ranks(_served(score, hides), rows, examples)
        for name, score in by_counts.items()
    }
    others = {f"gain_over_{name}": found for name, found in references.items()}
    if baseline is not None:
        others["gain"] = ranks(baseline.scores, rows, examples)
    ranked, bad = scored(export.scores, rows, examples)
    ours = summarise(ranked, groups, others, **settings)
    held, users = examples.read(VALIDATION)
    validated, spoiled = scored(export.scores, held, examples)
    task = learned(validated, users, examples.schema.items, config.gates.repetitions)
    found = {
        "finite": {
            "rows": {split: len(rows), VALIDATION: len(held)},
            "nonfinite": {split: {SCORES: bad}, VALIDATION: {SCORES: spoiled}},
        },
        "learned": {"where": VALIDATION, "tasks": {TASK: task}},
        "where": split,
        "rows": len(rows),
        "tasks": {TASK: ours},
        "samples": samples_of(ranked, groups, config.gates.repetitions),
        **{n: summarise(found, groups, {}, **settings) for n, found in references.items()},
        "baseline": None,
    }
    if baseline is not None:
        theirs = summarise(others["gain"], groups, {}, **settings)
        found["baseline"] = {"model": original(baseline.path), "tasks": {TASK: theirs}}
    return found


def ranks(score: Callable, rows: np.ndarray, examples: SequenceSet) -> np.ndarray:
    """The first of what ``scored`` gives."""
    return scored(score, rows, examples)[0]


def scored(score: Callable, rows: np.ndarray, examples: SequenceSet):
    """Rank of each sequence's last item among all known ones, by scores of the others.

    Args:
        score: Histories int32 ``[B, length - 1]`` -> scores ``[B, V]``.
        rows: int32 ``[N, length]``.
        examples: The set of sequences.

    Returns:
        int32 ``[N]``, and how many rows have a score that is NaN or infinite; -infinity
        is what items that are left out have.
    """
    items, found, spoiled = examples.schema.items, [], 0
    size = max(1, EVALUATION_CELLS // items)
    for start in range(0, len(rows), size):
        batch = tf.constant(rows[start : start + size])
        scores = score(batch[:, :-1])
        bad = tf.math.is_nan(scores) | (scores == np.inf)
        spoiled += int(tf.math.count_nonzero(tf.reduce_any(bad, axis=1)))
        found.append(ranks_of(scores, batch[:, -1], items).numpy())
    return np.concatenate(found or [np.zeros(0, np.int32)]), spoiled


def _served(by_counts: Callable, exclude_seen: bool) -> Callable:
    """Scores of the known items under the rules of the export."""

    def score(history):
        scores = tf.constant(by_counts(history.numpy()))
        return visible(scores, history if exclude_seen else None)

    return score
