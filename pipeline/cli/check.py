"""What can be known before a run begins."""

from steadyrank.pipeline import api
from steadyrank.pipeline.cli.application import app
from steadyrank.pipeline.cli.options import (
    Baseline,
    ConfigPath,
    DataFolder,
    Inputs,
    Settings,
    place,
)
from steadyrank.pipeline.cli.words import Said
from steadyrank.pipeline.files.urls import Url


@app.command()
def check(
    config: ConfigPath,
    data: DataFolder = None,
    input: Inputs = None,
    baseline: Baseline = None,
    *,
    output: place("Where the run will write.", kind=Url | None) = None,
    settings: Settings = None,
):
    """Look at all that can be known before a run: config, gates, log, room.

    Example: ``steadyrank check --config c.yaml --data kuairand --baseline export``
    """
    api.check(
        config,
        data=data,
        input=input,
        baseline=baseline,
        output=output,
        set=settings,
        progress=Said(),
    )
