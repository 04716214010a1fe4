"""An export of a next-item model, its sequences and its gates to a verdict.

In: a set of sequences and a SavedModel.  Out: ``metrics.json``, ``verdict.json`` and
``report.html``.  What is scored is the export itself, over its whole catalogue.

    steadyrank evaluate --config C --examples DIR --model DIR --output DIR
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.evaluate.stage import VALIDATION, forced_record, size_mb
from steadyrank.pipeline.export.card import CARD, EXTRA, find_version
from steadyrank.pipeline.export.signatures import ENCODED
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import (
    hash_folder,
    publish,
    read_json,
    refuse_existing,
    write_json,
)
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.files.versions import versions
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema, SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import TASK, judge_sequences
from steadyrank.pipeline.kinds.next_item.learner import EVALUATION_CELLS, ranks_of
from steadyrank.pipeline.kinds.next_item.report import write_report
from steadyrank.pipeline.kinds.next_item.scored import learned, summarise
from steadyrank.pipeline.kinds.next_item.serving import HISTORY, SCORES, visible
from steadyrank.pipeline.kinds.next_item.skew import measure_skew
from steadyrank.pipeline.raw_log.split import SPLITS
from steadyrank.pipeline.train.log import LOG_FILE, divergence_of, read_lines

NEXT_ITEM_EXPORT = "an export of a next-item model"


class NextItemExport:
    """A SavedModel, loaded with TensorFlow alone.

    Attributes:
        path: Its folder.
        schema: Its schema.
        signatures: What it answers to.
    """

    def __init__(self, path: Path, examples: SequenceSet, role: str):
        self.path = find_version(path)
        card = read_json(self.path / EXTRA / CARD, NEXT_ITEM_EXPORT)
        self.schema = SequenceSchema.from_dict(card["schema"], self.path / EXTRA / CARD)
        found, wanted = self.schema.fingerprint, examples.schema.fingerprint
        if found != wanted:
            raise InputError(
                f"{role} {self.path} was trained on sequences with fingerprint "
                f"{found[:12]}; {examples.path} has {wanted[:12]}. Ids would mean other "
                "items: evaluate on the sequences it was trained with."
            )
        try:
            self._loaded = tf.saved_model.load(str(self.path))
        except (OSError, tf.errors.OpError, ValueError) as error:
            raise InputError(f"{self.path} cannot be loaded: {error}") from None
        self.signatures = self._loaded.signatures

    def scores(self, history) -> tf.Tensor:
        """Scores of all known items, of encoded histories."""
        return self.signatures[ENCODED](**{HISTORY: history})[SCORES]


def evaluate(
    config: SequenceConfig,
    examples_path: Path,
    model_path: Path,
    output: Path,
    *,
    baseline_path: Path | None = None,
    stability_path: Path | None = None,
    split: str = "test",
    force: str | None = None,
    overwrite: bool = False,
) -> dict:
    """Measure an export and judge it; see ``pipeline.evaluate.stage``.

    Args:
        config: The run's config, of which the gates judge.
        examples_path: The set of sequences.
        model_path: An export, or a folder of versions, of which the latest is taken.
        output: Where the evaluation shall stand.
        baseline_path: Another export, on the same sequences, that gains are over.
        stability_path: Must be None: there is no such study of a next-item model.
        split: The split to measure on.
        force: Why the model may be released whatever the verdict.
        overwrite: Whether an evaluation that is there may be replaced.

    Returns:
        What ``verdict.json`` holds, and ``metrics``.

    Raises:
        InputError: Model and sequences do not belong together, or one is not whole.
    """
    refuse_existing(Path(output), overwrite)
    if split not in SPLITS:
        raise InputError(f"split must be one of {SPLITS}. Received: split={split!r}.")
    if force is not None and not force.strip():
        raise InputError("--force must say why. Received: an empty reason.")
    if stability_path is not None:
        raise InputError("--stability is for ranking models; leave it out.")
    examples = SequenceSet.open(examples_path)
    export = NextItemExport(model_path, examples, "model")
    theirs = baseline_path and NextItemExport(baseline_path, examples, "baseline")
    lines, gates = (
        list(read_lines(export.path / EXTRA / LOG_FILE)),
        config.gates.model_dump(),
    )
    metrics = {
        "split": split,
        "where": split,
        "model": original(export.path),
        "content": hash_folder(export.path, EXTRA),
        "fingerprint": examples.schema.fingerprint,
        "size_mb": size_mb(export.path),
        **_measure(config, examples, export, theirs or None, split),
        "skew": measure_skew(export, examples, split),
        "divergence": divergence_of(lines, export.card["training"]["steps"]),
    }
    verdict = {**judge_sequences(metrics, gates), "forced": forced_record(force)}
    with publish(output, overwrite) as partial:
        write_json(partial / "metrics.json", metrics)
        write_json(partial / "verdict.json", verdict)
        write_report(
            partial / "report.html",
            metrics=metrics,
            verdict=verdict,
            log=lines,
            config=config.model_dump(mode="json"),
            manifest=examples.manifest,
            versions=versions(),
        )
    return {**verdict, "metrics": metrics}


def _measure(config, examples: SequenceSet, export, baseline, split: str) -> dict:
    """All that is measured on the sequences: model, baseline and popularity."""
    rows, groups = examples.read(split)
    settings = {
        "confidence": config.gates.confidence,
        "repetitions": config.gates.repetitions,
    }
    counts = examples.counts().astype(np.float32)
    popular = ranks(_popularity(counts, config.serving.exclude_seen), rows, examples)
    others = {"gain_over_popularity": popular}
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
        "rows": len(rows),
        "tasks": {TASK: ours},
        "popularity": summarise(popular, groups, {}, **settings),
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


def _popularity(counts: np.ndarray, exclude_seen: bool) -> Callable:
    """Scores by how often an item was seen in training, under the rules of the export."""
    all_counts = tf.constant(np.append(counts, 0.0), tf.float32)

    def score(history):
        scores = tf.tile(all_counts[tf.newaxis], [tf.shape(history)[0], 1])
        return visible(scores, history if exclude_seen else None)

    return score
