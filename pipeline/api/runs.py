"""From a log to what is served: a whole run, a night, a release."""

from collections.abc import Iterable
from pathlib import Path

from steadyrank.pipeline import run as stages
from steadyrank.pipeline.api.results import NightResult, PruneResult, ReleaseResult
from steadyrank.pipeline.config.given import (
    GivenConfig,
    Inputs,
    Overrides,
    any_config,
    folder_of,
)
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.places import GivenPlace, local_path, place_of
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.preflight import require_output, require_passable
from steadyrank.pipeline.run import SILENT, Progress, RunResult
from steadyrank.pipeline.tracking.tracked import require_tracking


def run(
    config: GivenConfig,
    *,
    output: GivenPlace,
    data: GivenPlace | None = None,
    input: Inputs | None = None,
    baseline: GivenPlace | None = None,
    set: Overrides | None = None,
    resume: bool = False,
    overwrite: bool = False,
    beam_flags: Iterable[str] = (),
    progress: Progress = SILENT,
) -> RunResult:
    """Do it all: raw log to verdict; a refusal is a result, no error.

    Args:
        config: As for ``preprocess``.
        output: The run's folder: ``examples``, ``train``, ``export``, ``evaluation``.
        data: What the config's paths are relative to; None: as for ``preprocess``.
        input: Paths and patterns in place of the config's ``data.input``.
        baseline: The export that gains and drift are measured from.
        set: Keys of the config to override.
        resume: Whether to keep the stages that are done.
        overwrite: Whether a run that is there may be replaced.
        beam_flags: Passed to Beam.
        progress: Sees each stage begin, get on and end, and what it came to.

    Returns:
        What each stage came to, with the verdict and the metrics.

    Raises:
        InputError: The config or the log does not suit, or what is there is another's.
        PassingError: Another process runs there, or a fault may be gone at the next try.
        DivergenceError: Training diverged and did not recover.

    Example:
        ``steadyrank.run("c.yaml", data="log", output="runs/a", set={"train.epochs": 2})``
    """
    return stages.run(
        any_config(config, set, input),
        place_of(output),
        folder=folder_of(config, data),
        baseline=place_of(baseline),
        resume=resume,
        overwrite=overwrite,
        beam_flags=beam_flags,
        progress=progress,
    )


def nightly(
    config: GivenConfig,
    *,
    day: str,
    store: GivenPlace,
    data: GivenPlace | None = None,
    input: Inputs | None = None,
    set: Overrides | None = None,
    give_up_after: str | None = None,
    beam_flags: Iterable[str] = (),
    progress: Progress = SILENT,
) -> NightResult:
    """One more day: add it, train on from the last blessed model, release or refuse.

    Args:
        config: As for ``preprocess``.
        day: The day to judge on: ``"2022-05-06"``.
        store: The folder of nights and releases, a local one.
        data: What the config's paths are relative to; None: as for ``preprocess``.
        input: Paths and patterns in place of the config's ``data.input``.
        set: Keys of the config to override.
        give_up_after: How long after its end a day's files are waited for, ``"6h"``: until
            then ``PassingError`` says that they have not come, and then the night is put
            on hold; None: they are waited for, for ever.
        beam_flags: Passed to Beam.
        progress: Sees each step of training.

    Returns:
        What was trained on, and the verdict; of a night that was done, what it came to.

    Raises:
        InputError: The day comes before one that was done, or the night was done with
            other settings.
        PassingError: The day's files have not come, another night runs in this store, or
            the log cannot be read now.
        DivergenceError: Training diverged, now or when the night was done.

    Example:
        ``steadyrank.nightly("c.yaml", day="2022-05-06", store="store").verdict``
    """
    from steadyrank.pipeline.nightly import nightly as stage
    from steadyrank.pipeline.store.records import version_of

    place = local_path(store)
    loaded, folder = any_config(config, set, input), folder_of(config, data)
    require_passable(loaded, baseline=True, stability=False)
    require_tracking(loaded)
    require_output(place)
    with progress.stage("nightly"):
        night = stage(
            loaded,
            folder,
            day,
            place,
            beam_flags=beam_flags,
            give_up_after=give_up_after,
            progress=progress.step,
        )
    return NightResult(
        output=place / "nights" / night["day"],
        day=night["day"],
        verdict=night["verdict"],
        record=night,
        version=version_of(place, night),
    )


def release(
    *,
    to: GivenPlace,
    model: GivenPlace | None = None,
    evaluation: GivenPlace | None = None,
    rollback: bool = False,
    reason: str = "",
) -> ReleaseResult:
    """Copy an export that passed its gates to where it is served from, or go back.

    Args:
        to: The folder that is served.
        model: An export, or a folder of versions, of which the latest is taken.
        evaluation: What ``evaluate`` wrote about it.
        rollback: Whether to go back to the version before; without the other two.
        reason: Why to go back, for ``rollbacks`` of ``blessed.json``.

    Returns:
        The version that is served now.

    Raises:
        InputError: The model did not pass, the evaluation is another's, or there is no
            version to go back to.
        PassingError: Another process releases to this folder.

    Example:
        ``steadyrank.release(model="export", evaluation="evaluation", to="served")``
    """
    from steadyrank.pipeline.evaluate import release as stage
    from steadyrank.pipeline.store.page import write_index
    from steadyrank.pipeline.store.records import is_store

    if rollback and (model or evaluation):
        raise InputError(
            "--rollback takes neither --model nor --evaluation: it goes back to a version "
            f"that is there. Received: {model=}, {evaluation=}. Leave them out."
        )
    if not rollback and (model is None or evaluation is None):
        raise InputError(
            "release needs --model and --evaluation, or --rollback. Received: "
            f"{model=}, {evaluation=}. Pass both."
        )
    if reason and not rollback:
        raise InputError(
            "--reason says why to go back: it goes with --rollback. Received: "
            f"{reason=} without it. Leave it out, or pass --rollback."
        )
    place = place_of(to)
    with Staging() as staging, staging.served(place) as local:
        if rollback:
            current = stage.roll_back(local, reason)
        else:
            exported = staging.read_model(place_of(model))
            judged = staging.read(place_of(evaluation))
            current = stage.release(exported, judged, local)
    if isinstance(place, Path) and is_store(place.absolute().parent):
        write_index(place.absolute().parent)
    return ReleaseResult(
        output=place,
        version=current["version"],
        verdict=current["verdict"],
        forced=(current.get("forced") or {}).get("reason"),
        withdrawn=tuple(current["withdrawn"]),
    )


def prune(
    *,
    store: GivenPlace,
    nights: int | None = None,
    releases: int | None = None,
    dry_run: bool = False,
) -> PruneResult:
    """Remove old nights of a store, but for their records, and old releases.

    Args:
        store: What ``nightly`` wrote, a local folder.
        nights: The last ones that stay whole; None: all. What a release that stays was
            made of stays, too.
        releases: The last ones that stay; None: all.
        dry_run: Whether nothing is removed, only told.

    Returns:
        What went, or would go.

    Raises:
        InputError: The folder is no store, or a number is below 1.
        PassingError: A night runs there.

    Example:
        ``steadyrank.prune(store="store", nights=60, dry_run=True).bytes``
    """
    from steadyrank.pipeline.files.lock import locked
    from steadyrank.pipeline.store.page import write_index
    from steadyrank.pipeline.store.prune import prune as stage
    from steadyrank.pipeline.store.records import require_store

    place, keep = local_path(store), {"nights": nights, "releases": releases}
    require_store(place)
    if all(number is None for number in keep.values()):
        raise InputError(
            "prune needs --nights, --releases, or both: how many stay. Received: neither. "
            "Pass --nights 60, for instance."
        )
    for name, number in keep.items():
        if number is not None and number < 1:
            raise InputError(
                f"--{name} must be 1 or more. Received: {number}. Leave it out to keep all."
            )
    with locked(place / "lock"):
        gone = stage(place, **keep, dry_run=dry_run)
        if not dry_run:
            write_index(place)
    return PruneResult(
        output=place,
        nights=gone.nights,
        releases=gone.releases,
        bytes=gone.bytes,
        dry_run=dry_run,
    )
