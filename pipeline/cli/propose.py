"""The command that writes a first config."""

from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline import api
from steadyrank.pipeline.cli.application import app
from steadyrank.pipeline.cli.terminal import Shown
from steadyrank.pipeline.cli.words import tell


@app.command()
def init(
    input: Annotated[
        list[str],
        typer.Option(help="A file, a folder or a pattern of the log. Repeatable."),
    ],
    output: Annotated[Path, typer.Option(help="Where the config shall stand.")] = Path(
        "config.yaml"
    ),
):
    """Look at a log, and write a config for it that runs as it is.

    Example: ``steadyrank init --input 'log/*.parquet' --output config.yaml``
    """
    tell(api.init(input=input, output=output, progress=Shown()))
