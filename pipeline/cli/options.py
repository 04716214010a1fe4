"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline.files.urls import locate


def place(help: str, *names: str, kind=Path):
    """An option that takes a local path or a URL."""
    return Annotated[kind, typer.Option(*names, help=help, parser=locate, metavar="PATH")]


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
