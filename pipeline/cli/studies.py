"""Commands that train many times: the edge of divergence, the best settings."""

from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline import api
from steadyrank.pipeline.cli.application import app
from steadyrank.pipeline.cli.options import (
    ConfigPath,
    Examples,
    Output,
    Overwrite,
    Resume,
    Settings,
)
from steadyrank.pipeline.cli.terminal import Shown
from steadyrank.pipeline.cli.words import tell


@app.command()
def stability(
    config: ConfigPath,
    examples: Examples,
    output: Output,
    methods: Annotated[
        str,
        typer.Option(
            help="To compare with the config's own; with a threshold: norm=0.1,agc=0.01."
        ),
    ] = "clippy,none,norm,agc",
    *,
    windows: Annotated[
        int, typer.Option(min=1, help="Training windows, the last ones.")
    ] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps in a window, at most.")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="Probes of each learning rate.")] = 1,
    settings: Settings = None,
    overwrite: Overwrite = False,
):
    """Find the learning rate at which training diverges, with each clipping method.

    Example: ``steadyrank stability --config c.yaml --examples examples --output stability``
    """
    tell(
        api.stability(
            config,
            examples=examples,
            output=output,
            methods=methods,
            windows=windows,
            steps=steps,
            seeds=seeds,
            set=settings,
            overwrite=overwrite,
            progress=Shown(),
        )
    )


@app.command()
def sweep(
    config: ConfigPath,
    examples: Examples,
    output: Output,
    sweep: Annotated[
        Path | None, typer.Option(help="A file with the sweep, such as configs/sweeps.")
    ] = None,
    *,
    train: Annotated[
        Path | None, typer.Option(help="For a score: what `train` wrote.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at once.")] = 1,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Try settings, and write the best as a config; ``--resume`` keeps the finished trials.

    Example: ``steadyrank sweep --config c.yaml --sweep configs/sweeps/clipping.yaml
    --examples examples --output sweep --workers 2``
    """
    result = api.sweep(
        config,
        examples=examples,
        output=output,
        sweep=sweep,
        train=train,
        workers=workers,
        set=settings,
        resume=resume,
        overwrite=overwrite,
        progress=Shown(),
    )
    if result is not None:  # else it worked for a chief, who says it
        tell(result)
