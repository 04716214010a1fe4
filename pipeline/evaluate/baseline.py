"""A baseline on the rows of the model that is judged, whatever the two have in common.

One that knows the examples' ids is scored on the records, which is fast.  Any other is
scored on the raw columns that the examples keep of the same rows, through its own raw
signature: with its own features, vocabularies and trunk.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.events import made_as
from steadyrank.pipeline.config.features import FeatureConfig
from steadyrank.pipeline.examples.example_set import ExampleSet, Schema
from steadyrank.pipeline.examples.kept_rows import kept_schema, raw_files, read_raw
from steadyrank.pipeline.export.card import CARD, EXTRA, columns_of, read_card
from steadyrank.pipeline.export.loaded import Export
from steadyrank.pipeline.export.raw_inputs import require_columns
from steadyrank.pipeline.export.table_scores import TableScorer
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.metrics.scored import BATCH_ROWS, Scored, score_split
from steadyrank.pipeline.preprocess.inputs import columns_read

ENCODED, RAW = "records", "raw rows"  # what a baseline is scored on


def keep_for(config: Config, baseline: Path | None) -> Config:
    """A config of which the examples keep what a baseline reads.

    Args:
        config: The run's config.
        baseline: An export, or a folder of versions; None: there is none.

    Returns:
        The config, with ``data.keep_columns`` where the baseline reads other columns.

    Raises:
        InputError: It is no export of a ranking model, or predicts none of the tasks.
    """
    if baseline is None:
        return config
    card = read_card(baseline)
    _require_common_task(_schema(card, baseline), config.tasks, baseline)
    config = _keeping_what_it_makes(config, card, baseline)
    read = {*columns_read(config), *(item.name for item in config.from_events)}
    further = [name for name in columns_of(card).values() if name not in read]
    if not further:
        return config
    kept = list(dict.fromkeys([*config.data.keep_columns, *further]))
    data = config.data.model_copy(update={"keep_columns": kept})
    return config.model_copy(update={"data": data})


def _keeping_what_it_makes(config: Config, card: dict, baseline: Path) -> Config:
    """A config that makes all features from events that a baseline reads.

    Raises:
        InputError: One of them is made in another way, or cannot be made any more.
    """
    dumped = (item.model_dump(mode="json") for item in config.from_events)
    ours = {item["name"]: made_as(item) for item in dumped}
    held, kept = columns_read(config), []
    for item in card["config"].get("features", ()):
        name, made = item["name"], made_as(item)
        if not made or name in held or ours.get(name) == made:
            continue
        said = f"{baseline} was trained with features.{name} from events, as {made}"
        if name in ours:
            raise InputError(
                f"{said}, and cannot be compared with on what is now called so. Give "
                f"that another name. Received: {ours[name]}."
            )
        names = [f.name for f in config.features if f.kind == "categorical"]
        if item["kind"] == "sequence" and item["of"] not in names:
            raise InputError(
                f"{said}, and there is no feature {item['of']!r} to make it of. Allowed: "
                f"{', '.join(names)}. Keep that feature, or take no baseline."
            )
        kept.append(TypeAdapter(FeatureConfig).validate_python(item))
    return config.keeping(kept) if kept else config


def require_baseline(baseline: Path, examples: ExampleSet, split: str) -> str:
    """Raise unless a baseline can be scored on a split; its model is not loaded.

    Args:
        baseline: An export, or a folder of versions.
        examples: The example set.
        split: Its split.

    Returns:
        What it will be scored on: ``ENCODED`` or ``RAW``.

    Raises:
        InputError: It reads columns that the examples did not keep, or predicts no task
            of theirs; they are named.
    """
    card = read_card(baseline)
    schema = _schema(card, baseline)
    _require_common_task(schema, examples.schema.tasks, baseline)
    if examples.has_ids_of(schema):
        return ENCODED
    role, where = f"baseline {baseline}", f"the {split} rows of {examples.path}"
    kept = kept_schema(examples, split)
    require_columns(schema.features, columns_of(card), kept, role, where=where)
    return RAW


def _schema(card: dict, path: Path) -> Schema:
    return Schema.from_dict(card["schema"], Path(path) / EXTRA / CARD)


def _require_common_task(schema: Schema, tasks: Iterable, path: Path) -> None:
    theirs, ours = [t.name for t in schema.tasks], [t.name for t in tasks]
    if not {*theirs} & {*ours}:
        raise InputError(
            f"baseline {path} predicts {', '.join(theirs)}, and none of the tasks that are "
            f"judged: {', '.join(ours)}. Take a baseline that has one of them."
        )


def score_baseline(
    baseline: Export, examples: ExampleSet, split: str, model: Scored
) -> Scored:
    """All rows of a split, scored by a baseline that ``require_baseline`` let pass.

    Args:
        baseline: The baseline.
        examples: The example set.
        split: Its split.
        model: The same rows, scored by the model: labels and masks are the same.

    Returns:
        The scored rows, in the same order.
    """
    if examples.has_ids_of(baseline.schema):
        return score_split(baseline.encoded, examples, split)
    return dataclasses.replace(model, outputs=score_raw(baseline, examples, split))


def score_raw(export: Export, examples: ExampleSet, split: str) -> dict[str, np.ndarray]:
    """Each output of an export on the raw rows of a split, in the order of the records.

    Raises:
        InputError: A value cannot be read as the export's feature.
        RuntimeError: Rows were lost on the way: a fault of this project.
    """
    scorer, found = TableScorer(export), []
    for file in raw_files(examples, split):
        tables = read_raw(examples, file, BATCH_ROWS, {*scorer.columns.values()})
        found += scorer.score_all(tables)
    outputs = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    rows = {name: len(values) for name, values in outputs.items()}
    if {*rows.values()} != {examples.rows(split)}:
        raise RuntimeError(f"scored {rows} of {examples.rows(split)} rows")
    return outputs
