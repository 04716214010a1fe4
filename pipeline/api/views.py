"""Looks: at what an export serves, runs side by side, one batch, what a folder holds."""

import os
from collections.abc import Iterable
from typing import Any

from steadyrank.pipeline.api.results import (
    CompareResult,
    ImportanceResult,
    InspectResult,
    ReplayResult,
    ServeCheckResult,
)
from steadyrank.pipeline.config.given import GivenConfig, Overrides, any_config
from steadyrank.pipeline.files.places import GivenPlace, local_path, place_of
from steadyrank.pipeline.files.publish import make_room, write_json
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.whole_folders import exists
from steadyrank.pipeline.run import SILENT, Progress


def serve_check(
    *,
    examples: GivenPlace,
    model: GivenPlace,
    split: str = "test",
    output: GivenPlace | None = None,
    progress: Progress = SILENT,
) -> ServeCheckResult:
    """Replay raw rows through an export and time it.

    Args:
        examples: What ``preprocess`` wrote.
        model: An export, or a folder of versions, of which the latest is taken.
        split: ``"test"`` or ``"validation"``.
        output: A local file for the result as JSON; None: none is written.
        progress: Sees the check begin and end.

    Returns:
        How far each signature's scores are off, and its times.

    Raises:
        InputError: Model and examples do not belong together, or hold no raw rows.

    Example:
        ``steadyrank.serve_check(examples="examples", model="export").passed``
    """
    from steadyrank.pipeline.kinds import serve_check as stage

    file = None if output is None else make_room(local_path(output))
    with progress.stage("serve-check"), Staging() as staging:
        folders = (
            staging.read_examples(place_of(examples)),
            staging.read_model(place_of(model)),
        )
        result = stage(*folders, split=split)
    if file is not None:
        write_json(file, result)
    return ServeCheckResult(**result)


def importance(
    *,
    examples: GivenPlace,
    model: GivenPlace,
    split: str = "test",
    rows: int = 10_000,
    together: Iterable[str] | None = None,
    output: GivenPlace | None = None,
    progress: Progress = SILENT,
) -> ImportanceResult:
    """Exchange the values of each feature among rows, and say what each task loses.

    Args:
        examples: What ``preprocess`` wrote.
        model: An export, or a folder of versions, of which the latest is taken.
        split: ``"test"``, ``"validation"`` or ``"train"``.
        rows: At most so many of its rows are looked at, evenly spread.
        together: Features to exchange as one, with commas between them: ``"author,tag"``.
        output: A local file for the result as JSON; None: none is written.
        progress: Sees the work begin and end.

    Returns:
        The features, the most important first.

    Raises:
        InputError: Model and examples do not belong together, or a name is no feature.

    Example:
        ``steadyrank.importance(examples="examples", model="export").units[0]``
    """
    from steadyrank.pipeline.kinds import importance as stage

    named = [together] if isinstance(together, str) else together or ()
    units = [[name.strip() for name in unit.split(",")] for unit in named]
    file = None if output is None else make_room(local_path(output))
    with progress.stage("importance"), Staging() as staging:
        folders = (
            staging.read_examples(place_of(examples)),
            staging.read_model(place_of(model)),
        )
        result = stage(*folders, split=split, rows=rows, together=units)
    if file is not None:
        write_json(file, result)
    return ImportanceResult(**result)


def compare(
    runs: Iterable[GivenPlace], *, output: GivenPlace = "compare.html"
) -> CompareResult:
    """Write one page that shows several runs side by side.

    Args:
        runs: At least two folders that ``run`` wrote.
        output: The page.

    Returns:
        Which run is better at which task, where the page is, and each run's name there.

    Raises:
        InputError: There are fewer than two, one is not whole, or the page has no place.

    Example:
        ``steadyrank.compare(["runs/a", "runs/b"], output="compare.html").verdicts``
    """
    from steadyrank.pipeline.studies.compare import compare as stage

    named = [runs] if isinstance(runs, str | os.PathLike) else runs
    folders, page = [local_path(run) for run in named], local_path(output)
    found = stage(folders, page)
    return CompareResult(
        output=page,
        runs=tuple(run["name"] for run in found),
        verdicts=tuple(run["said"] for run in found[1:]),
        differences={run["name"]: run["against"] for run in found[1:]},
    )


def replay(
    config: GivenConfig,
    *,
    examples: GivenPlace,
    train: GivenPlace,
    epoch: int,
    batch: int,
    phase: int | None = None,
    set: Overrides | None = None,
) -> ReplayResult:
    """Look again at one batch of a training run: tasks, layers, features, ids.

    Args:
        config: As for ``preprocess``.
        examples: What ``preprocess`` wrote.
        train: What ``train`` wrote, or its ``.partial``.
        epoch: Number of the pass, as in ``log.jsonl``.
        batch: Number of the batch in the pass, as in ``log.jsonl``.
        phase: Of a run in phases, its number, as in ``log.jsonl``; None: the last.
        set: Keys of the config to override.

    Returns:
        What the batch held and how it pulled at the model.

    Raises:
        InputError: There is no such batch, or no model of this config.

    Example:
        ``steadyrank.replay("c.yaml", examples="examples", train="train", epoch=0,
        batch=137).diagnosis["tasks"]``
    """
    from steadyrank.pipeline.kinds import replay as stage

    loaded = any_config(config, set)
    with Staging() as staging:
        folders = (
            staging.read_examples(place_of(examples)),
            staging.read(place_of(train)),
        )
        found: dict[str, Any] = stage(
            loaded, *folders, epoch=epoch, batch=batch, phase=phase
        )
    return ReplayResult(epoch=epoch, batch=batch, diagnosis=found)


def inspect(path: GivenPlace) -> InspectResult:
    """Say what a folder holds that a command wrote.

    Args:
        path: The folder: of a stage, a run, nights, releases, scores, a study.

    Returns:
        Names and values, under a title for each folder; of a store its nights, too.

    Raises:
        InputError: The folder is missing, is none of these, or is not whole.

    Example:
        ``steadyrank.inspect("examples").parts``
    """
    from steadyrank.pipeline.api.describe import describe
    from steadyrank.pipeline.store.records import is_store
    from steadyrank.pipeline.store.table import rows_of

    place = place_of(path)
    with Staging() as staging:
        whole = staging.read_examples(place) if exists(place) else None
        local = whole or staging.read_model(place)
        nights = rows_of(local) if is_store(local) else []
        return InspectResult(
            parts=describe(local), nights=tuple(row.plain for row in nights)
        )
