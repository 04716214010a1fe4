"""What is measured of an export of a ranking model, on the rows of a split."""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from steadyrank.models.features import Feature
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.features import is_dropped
from steadyrank.pipeline.evaluate.baseline import (
    ENCODED,
    RAW,
    require_baseline,
    score_baseline,
)
from steadyrank.pipeline.evaluate.importance import importance_of
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.raw_rows import kept_rows, requests_of
from steadyrank.pipeline.files.urls import original
from steadyrank.pipeline.metrics.drift import measure_drift
from steadyrank.pipeline.metrics.scored import (
    Scored,
    compare,
    measure_slices,
    score_split,
    sliced_features,
)
from steadyrank.pipeline.metrics.soundness import (
    count_nonfinite,
    measure_learned,
    varies,
)
from steadyrank.pipeline.metrics.standard_slices import (
    id_features,
    measure_standard_slices,
    weekdays_of,
)

VALIDATION = "validation"


def open_model(path: Path, examples: ExampleSet) -> Export:
    """An export that knows the examples' ids."""
    export = Export(path)
    export.require(examples, "model")
    return export


def open_baseline(path: Path, examples: ExampleSet, split: str) -> Export:
    """Any export that can be scored on the rows of the split."""
    baseline = Export(path)
    require_baseline(baseline.path, examples, split)
    baseline.follow(examples)
    return baseline


def requests(export: Export, examples: ExampleSet, split: str) -> Callable:
    """Rows -> a request of so many to each signature, made of rows that were kept raw."""
    raw, encoded = kept_rows(export, examples, split)
    return partial(requests_of, raw, encoded, export.shared, names=tuple(export.call))


def measure(
    config: Config, examples: ExampleSet, export: Export, *, baseline, split: str
) -> dict:
    """All that is measured on the rows of the split, of the model and the baseline."""
    tasks, by_name = export.schema.tasks, {f.name: f for f in export.schema.features}
    ids = id_features(export.schema.features, export.columns, config.data.group)
    sliced = list(dict.fromkeys([*sliced_features(config.gates), *ids]))
    biases = [f for f in examples.schema.features if f.reference is not None]
    sliced += [feature.name for feature in biases if feature.name not in sliced]
    scored = score_split(export.encoded, examples, split, sliced)
    before = scored
    if split != VALIDATION:
        before = score_split(export.encoded, examples, VALIDATION, sliced)
    theirs = baseline and score_baseline(baseline, examples, split, scored)
    ours, validation = (at_references(rows, biases) for rows in (scored, before))
    if theirs is not None and biases:
        theirs = dataclasses.replace(theirs, masks=ours.masks)
    results, base, samples = compare(ours, theirs, tasks, config.gates)
    found = {
        "where": examples.span(split) + _at(config, scored, ours),
        "trained_on": examples.span("train"),
        "rows": examples.rows(split),
        "identity": examples.manifest["identity"].get(split),
        "data": _data_counts(examples.manifest["rows"]),
        "tasks": results,
        "samples": samples,
        "scored": scored,
        "score": export.schema.score,
        "baseline": None,
    }
    places = {examples.span(split): ours, examples.span(VALIDATION): validation}
    found["finite"] = {
        "rows": {place: rows.rows for place, rows in places.items()},
        "nonfinite": {
            place: count_nonfinite(rows.outputs) for place, rows in places.items()
        },
        "weights": export.nonfinite_weights(),
        "score_varies": {p: varies(rows.outputs["score"]) for p, rows in places.items()},
    }
    means: dict = examples.label_means()
    if biases:  # the mean of the log is none of the rows that are judged
        means = dict.fromkeys(means)
    repetitions = config.gates.repetitions
    learned = measure_learned(tasks, vars(validation), means, repetitions)
    where = examples.span(VALIDATION) + _at(config, before, validation)
    found["learned"] = {"where": where, "tasks": learned}
    found["slices"] = measure_slices(ours, theirs, examples, config.gates)
    standard = ([by_name[name] for name in ids], weekdays_of(config, examples, split))
    found["standard_slices"] = measure_standard_slices(
        ours, theirs, *standard, gates=config.gates, tasks=tasks
    )
    wanted = config.importance
    if wanted.rows and found["rows"]:
        found["importance"] = importance_of(
            export,
            examples,
            split,
            rows=wanted.rows,
            together=wanted.together,
            repetitions=repetitions,
        )
    if theirs is not None:
        found["baseline"] = {
            "model": original(baseline.path),
            "tasks": base,
            "scored_on": ENCODED if examples.has_ids_of(baseline.schema) else RAW,
        }
        names = [*(task.name for task in tasks), "score"]
        outputs = {name: ours.outputs[name] for name in names}
        stands = {
            task.name: ours.stands_for(task) for task in tasks if task.negative_rate < 1
        }
        how = {"groups": ours.groups, "repetitions": repetitions}
        found["drift"] = measure_drift(outputs, theirs.outputs, stands, **how)
    return found


def at_references(scored: Scored, biases: Iterable[Feature]) -> Scored:
    """Rows of which those alone count that have what served rows are taken to have.

    Of others the log says what came of another position, which no export foretells.

    Args:
        scored: Rows with the encoded ``biases`` among their features.
        biases: Features with a ``reference``.

    Returns:
        The same rows, all other masks 0; as they are where none, or all, would be left.
    """
    inside = np.ones(scored.rows, bool)
    for feature in biases:
        values = scored.features[feature.name]
        inside &= values == values.dtype.type(feature.reference)
    if inside.all() or not inside.any():
        return scored
    masks = {name: np.where(inside, mask, 0.0) for name, mask in scored.masks.items()}
    return dataclasses.replace(scored, masks=masks)


def _at(config: Config, scored: Scored, judged: Scored) -> str:
    """What is said of the rows that are judged, where these are not all."""
    if judged is scored:
        return ""
    values = {f.name: f.serving.drop for f in config.features if is_dropped(f)}
    return " where " + " and ".join(f"{name} is {v}" for name, v in values.items())


def _data_counts(rows: dict) -> dict:
    return {
        "rows_in": rows["read"],
        "rows_out": rows["written"],
        "rejected": sum(rows["rejected"].values()),
        "duplicates": rows["duplicates"],
    }
