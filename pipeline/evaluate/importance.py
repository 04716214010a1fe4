"""How much each feature of a ranking model matters, on some of the rows of a split.

In: an example set and an export that knows its ids.  Out: what each task loses where the
values of a feature are exchanged, with paired 95 % intervals.

    steadyrank importance --examples DIR --model DIR
"""

from collections.abc import Mapping, Sequence

import numpy as np

from steadyrank.components.metrics import bootstrap
from steadyrank.pipeline.examples.damage import naming_damage
from steadyrank.pipeline.examples.dataset import evaluation_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.files.errors import InputError, near
from steadyrank.pipeline.metrics.importance import measure_importance, units_of
from steadyrank.pipeline.metrics.predict import own_groups
from steadyrank.pipeline.metrics.scored import BATCH_ROWS
from steadyrank.pipeline.raw_log.split import SPLITS

GROUP = "group"


def importance_of(
    export: Export,
    examples: ExampleSet,
    split: str,
    *,
    rows: int,
    together: Sequence[Sequence[str]] = (),
    repetitions: int = bootstrap.REPETITIONS,
) -> dict:
    """Measure it; memory is bounded by ``rows``, however many the split has.

    Args:
        export: The model.
        examples: The example set.
        split: Its split.
        rows: At most so many of its rows are looked at, evenly spread.
        together: Names of features that are one unit each.
        repetitions: Samples drawn.

    Returns:
        As ``metrics.importance.measure_importance``, and ``of``, the rows of the split.

    Raises:
        InputError: ``together`` names what is no feature of the model, or the split has
            no rows.
    """
    features = export.schema.features
    names = [feature.name for feature in features]
    for name in (name for unit in together for name in unit):
        if name not in names:
            raise InputError(f"--together: {name!r} is no feature. {near(name, names)}")
    if not examples.rows(split):
        raise InputError(
            f"{examples.path} has no {split} rows to exchange values of. Take another "
            "--split, or preprocess the log with another data.split."
        )
    sample = sample_rows(examples, split, rows, names)
    units = units_of(features, sample["features"], export.columns, together)

    def score(columns: Mapping) -> dict:
        found: list[dict] = []
        for start in range(0, max(len(columns[names[0]]), 1), BATCH_ROWS):
            batch = {n: columns[n][start : start + BATCH_ROWS] for n in names}
            found.append({n: v.numpy() for n, v in export.encoded(batch).items()})
        return {n: np.concatenate([part[n] for part in found]) for n in found[0]}

    measured = measure_importance(
        score, export.schema.tasks, sample, units, repetitions=repetitions
    )
    return {**measured, "of": examples.rows(split)}


def sample_rows(
    examples: ExampleSet, split: str, rows: int, features: Sequence[str]
) -> dict:
    """So many rows of a split, evenly spread, so that all of its days are there.

    Returns:
        ``labels``, ``masks`` and ``features`` by name, and ``groups`` or None.
    """
    every, seen = examples.rows(split), 0
    wanted_rows = min(rows, every)
    parts: list[list[dict]] = [[], [], [], []]
    with naming_damage(examples):
        for batch in evaluation_dataset(examples, split, BATCH_ROWS, extra=True):
            size = len(next(iter(batch[1].values())))
            numbers = np.arange(seen, seen + size + 1) * wanted_rows // every
            kept = np.flatnonzero(np.diff(numbers))
            seen += size
            wanted = ({n: batch[0][n] for n in features}, *batch[1:])
            for part, columns in zip(parts, wanted, strict=True):
                part.append({n: values.numpy()[kept] for n, values in columns.items()})
    columns, labels, masks, extra = (
        {name: np.concatenate([each[name] for each in part]) for name in part[0]}
        for part in parts
    )
    groups = own_groups(extra[GROUP]) if GROUP in extra else None
    return {"labels": labels, "masks": masks, "features": columns, "groups": groups}


def importance(
    examples_path,
    model_path,
    *,
    kind,
    split: str = "test",
    rows: int = 10_000,
    together: Sequence[Sequence[str]] = (),
) -> dict:
    """The stage: see ``importance_of``.

    Raises:
        InputError: Model and examples do not belong together, or what is asked for is
            not there.
    """
    if rows < 1:
        raise InputError(
            f"--rows must be at least 1. Received: {rows}. Leave it out for the default."
        )
    if split not in SPLITS:
        raise InputError(
            f"split must be one of {SPLITS}. Received: split={split!r}. Take 'test'."
        )
    examples = kind.open_examples(examples_path)
    export = kind.open_model(model_path, examples)
    found = importance_of(export, examples, split, rows=rows, together=together)
    return {"model": str(export.path), "split": split, **found}
