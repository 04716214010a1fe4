"""Options that several commands have, and the config that they name."""

from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.urls import Url, locate, within


def place(help: str, *names: str, kind=Path):
    """An option that takes a local path or a URL."""
    return Annotated[kind, typer.Option(*names, help=help, parser=locate, metavar="PATH")]


def local(*places: Path) -> None:
    """Refuse URLs, for what needs the locks, links and renames of a local folder.

    Raises:
        InputError: A place is a URL.
    """
    for found in places:
        if not isinstance(found, Path):
            raise InputError(f"this works in local folders only. Received: {found}.")


def keep_apart(output: Path | Url, *inputs: Path | Url | None) -> None:
    """Refuse an output in whose place the working folder stands, or an input.

    Raises:
        InputError: It is the working folder, is or holds an input, or has no name.
    """
    if isinstance(output, Path) and (
        output.name in ("", "..") or Path.cwd().is_relative_to(output.resolve())
    ):
        raise InputError(
            "--output must be a folder of its own, and neither the working folder nor "
            f"one that holds it. Received: {output}. Name one in it: {output / 'out'}."
        )
    for place in inputs:
        if place and f"{_absolute(place)}/".startswith(f"{_absolute(output)}/"):
            raise InputError(
                f"--output would take the place of an input, {place}. Received: {output}. "
                "Choose another --output."
            )


def _absolute(place: Path | Url) -> str:
    return str(place.resolve()) if isinstance(place, Path) else place.rstrip("/")


def log_of(config, folder: Path | Url) -> list[Path | Url]:
    """What preprocessing reads: the patterns of the log, and its side tables."""
    joined = [join.input for join in getattr(config.data, "join", ())]
    return [locate(within(folder, path)) for path in (*config.data.input, *joined)]


ConfigPath = place("The run's YAML file.", "--config")
Output = place("Where the result shall stand.")
Examples = place("What `preprocess` wrote.")
Model = place("An export, or a folder of versions.")
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")]
DataFolder = place(
    "What the config's paths are relative to. Default: its folder.", kind=Path | None
)
Baseline = place("The export that min_gain compares with.", kind=Path | None)
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key: train.batch_size=65536. Repeatable."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="Instead of the config's data.input. Repeatable."),
]


def load_any(path: Path, settings: list[str] | None, inputs: list[str] | None = None):
    """A config of any kind of model."""
    from steadyrank.pipeline.config import load_any_config

    overrides = list(settings or [])
    if inputs:
        paths = [locate(text) for text in inputs]
        absolute = [str(p.absolute()) if isinstance(p, Path) else str(p) for p in paths]
        overrides.append(f"data.input={absolute}")
    with Staging() as staging:
        return load_any_config(staging.read_file(path), overrides)
