"""What can be known before a run begins."""

from steadyrank.pipeline.cli import terminal
from steadyrank.pipeline.cli.application import app
from steadyrank.pipeline.cli.options import (
    Baseline,
    ConfigPath,
    DataFolder,
    Inputs,
    Settings,
    load_any,
    place,
)
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.urls import Url


@app.command()
def check(
    config: ConfigPath,
    data: DataFolder = None,
    input: Inputs = None,
    baseline: Baseline = None,
    output: place("Where the run will write.", kind=Url | None) = None,
    settings: Settings = None,
):
    """Look at all that can be known before the first row: config, gates, log, room.

    Example: `steadyrank check --config c.yaml --data kuairand --baseline export`
    """
    from steadyrank.pipeline.preflight import check as look

    loaded = load_any(config, settings, input)
    terminal.say(f"config: {config}")
    with Staging() as staging:
        theirs = staging.read_model(baseline)
        folder = data or config.parent
        for said in look(loaded, folder, baseline=theirs, output=output):
            terminal.say(said)
