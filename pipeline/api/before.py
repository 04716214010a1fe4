"""Before a run begins: a first config, and what can be known of a run."""

from pathlib import Path

from steadyrank.pipeline.api.results import CheckResult, InitResult
from steadyrank.pipeline.config.given import (
    GivenConfig,
    Inputs,
    Overrides,
    any_config,
    as_inputs,
    folder_of,
    source_of,
)
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.places import GivenPlace, local_path, place_of
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.run import SILENT, Progress

CONFIG = Path("config.yaml")


def init(
    *,
    input: Inputs,
    output: GivenPlace = CONFIG,
    progress: Progress = SILENT,
) -> InitResult:
    """Look at a log, and write a config for it that runs as it is.

    Args:
        input: Files, folders or patterns of the log.
        output: Where the config shall stand, a local file.
        progress: Sees the look begin and end.

    Returns:
        What was chosen, and why.

    Raises:
        InputError: The log cannot be read or has nothing to predict, or the output is
            there already.

    Example:
        ``steadyrank.init(input=["log/*.parquet"], output="config.yaml").why``
    """
    from steadyrank.pipeline.propose.stage import as_written, propose

    file = local_path(output)
    if file.exists():
        raise InputError(f"{file} exists already. Choose another --output.")
    with progress.stage("init"):
        text, choice = propose(as_written(as_inputs(input), file.parent), file.parent)
    file.write_text(text, encoding="utf-8")
    return InitResult(
        output=file,
        features=tuple(column.name for column in choice.features),
        tasks=choice.tasks,
        why=choice.why,
        leaks=choice.leaks,
    )


def check(
    config: GivenConfig,
    *,
    data: GivenPlace | None = None,
    input: Inputs | None = None,
    baseline: GivenPlace | None = None,
    output: GivenPlace | None = None,
    set: Overrides | None = None,
    progress: Progress = SILENT,
) -> CheckResult:
    """Look at all that can be known before a run: config, gates, log, room.

    Args:
        config: As for ``preprocess``.
        data: What the config's paths are relative to; None: as for ``preprocess``.
        input: Paths and patterns in place of the config's ``data.input``.
        baseline: The export that gains and drift are measured from.
        output: Where the run will write.
        set: Keys of the config to override.
        progress: Sees a line about each thing that was looked at.

    Returns:
        What was looked at.

    Raises:
        InputError: The first thing that cannot go well.

    Example:
        ``steadyrank.check("c.yaml", data="log", baseline="export").looked_at``
    """
    from steadyrank.pipeline.preflight import check as look

    loaded, looked_at = any_config(config, set, input), []

    def note(said: str) -> None:
        looked_at.append(said)
        progress.step(len(looked_at), 0, said)

    note(f"config: {source_of(config)}")
    with Staging() as staging:
        theirs = staging.read_model(place_of(baseline))
        folder, place = folder_of(config, data), place_of(output)
        for said in look(loaded, folder, baseline=theirs, output=place):
            note(said)
    return CheckResult(looked_at=tuple(looked_at))
