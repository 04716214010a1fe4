"""Many trainings: the edge of divergence, the best settings."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from steadyrank.pipeline.api.results import StabilityResult, SweepResult
from steadyrank.pipeline.config.given import (
    GivenConfig,
    Overrides,
    any_config,
    document_of,
    file_of,
    source_of,
)
from steadyrank.pipeline.files.places import (
    GivenPlace,
    keep_apart,
    local_path,
    place_of,
)
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.preflight import require_output
from steadyrank.pipeline.run import SILENT, Progress


def stability(
    config: GivenConfig,
    *,
    examples: GivenPlace,
    output: GivenPlace,
    methods: str | Iterable[str] = "clippy,none,norm,agc",
    windows: int = 4,
    steps: int = 100,
    seeds: int = 1,
    set: Overrides | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> StabilityResult:
    """Find the learning rate at which training diverges, with each clipping method.

    Args:
        config: As for ``preprocess``.
        examples: What ``preprocess`` wrote.
        output: Where the result shall stand.
        methods: To compare with the config's own; with a threshold: ``"norm=0.1"``.
        windows: Training windows, the last ones.
        steps: Steps in a window, at most.
        seeds: Probes of each learning rate.
        set: Keys of the config to override.
        overwrite: Whether a result that is there may be replaced.
        progress: Sees a line about each probe.

    Returns:
        How far the rate in use is from the edge, and what to change.

    Raises:
        InputError: The examples do not suit, or the output is there already.

    Example:
        ``steadyrank.stability("c.yaml", examples="examples", output="stability").advice``
    """
    from steadyrank.pipeline.studies.short_runs import method_of
    from steadyrank.pipeline.studies.stability import stability as stage

    source, place = place_of(examples), place_of(output)
    keep_apart(place, source)
    require_output(place)
    loaded = any_config(config, set)
    names = methods.split(",") if isinstance(methods, str) else methods
    wanted = [method_of(name) for name in names]
    with progress.stage("stability"), Staging() as staging:
        result = stage(
            loaded,
            staging.read_examples(source),
            staging.write(place, overwrite),
            wanted,
            windows=windows,
            steps=steps,
            seeds=seeds,
            overwrite=overwrite,
            progress=lambda text: progress.step(0, 0, text),
        )
    return StabilityResult(
        output=place,
        rate_in_use=result["rate_in_use"],
        margin=result["margin"],
        advice=result["advice"],
        methods=result["methods"],
    )


def sweep(
    config: GivenConfig,
    *,
    examples: GivenPlace,
    output: GivenPlace,
    sweep: GivenPlace | None = None,
    train: GivenPlace | None = None,
    workers: int = 1,
    set: Overrides | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> SweepResult | None:
    """Try settings, and write the best as a config.

    Args:
        config: As for ``preprocess``.
        examples: What ``preprocess`` wrote, in a local folder.
        output: The sweep's folder, a local one.
        sweep: A file with the sweep, such as those in ``configs/sweeps``.
        train: For a score: what ``train`` wrote.
        workers: Trials at once.
        set: Keys of the config to override.
        resume: Whether to keep the finished trials of a sweep that is there.
        overwrite: Whether a sweep that is there may be replaced.
        progress: Sees a row a trial.

    Returns:
        The best settings; None from a worker that the environment gives to a chief.

    Raises:
        InputError: Something does not suit, or a trial's config was refused.
        PassingError: Another process sweeps there.
        DivergenceError: Every trial diverged.

    Example:
        ``steadyrank.sweep("c.yaml", sweep="configs/sweeps/clipping.yaml",
        examples="examples", output="sweep", workers=2).best_value``
    """
    from steadyrank.pipeline.studies.sweep import read_sweep, worker_command
    from steadyrank.pipeline.studies.sweep import sweep as stage

    file = file_of(config)
    folder = Path() if file is None else local_path(file).parent
    source, place = local_path(examples), local_path(output)
    trained = None if train is None else local_path(train)
    space_file = None if sweep is None else local_path(sweep)
    require_output(place)
    document = document_of(config, set)
    space = read_sweep(document, space_file, folder, source_of(config))
    with _as_file(document) as path, progress.stage("sweep"):
        arguments = ["--config", path, "--examples", source, "--output", place]
        found = stage(
            space,
            source,
            place,
            train_path=trained,
            command=worker_command(arguments + ["--train", trained] * bool(trained)),
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            progress=progress.trials,
        )
    if found is None:
        return None
    return SweepResult(
        output=place,
        objective=found["objective"],
        told=found["told"],
        verdict=found["verdict"],
        best_value=found["best_value"],
        own_value=found["own_value"],
        results=found,
    )


@contextlib.contextmanager
def _as_file(document: dict[str, Any]) -> Iterator[Path]:
    """A config's content in a file, while other processes need it."""
    with tempfile.TemporaryDirectory(prefix="steadyrank-") as folder:
        path = Path(folder) / "config.yaml"
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        yield path
