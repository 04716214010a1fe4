"""The command that writes a first config."""

from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline.cli import terminal
from steadyrank.pipeline.cli.application import app
from steadyrank.pipeline.files.errors import InputError


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

    Example: `steadyrank init --input 'log/*.parquet' --output config.yaml`
    """
    from steadyrank.pipeline.propose.stage import propose

    if output.exists():
        raise InputError(f"{output} exists already. Choose another --output.")
    with terminal.console.status("init"):
        text, choice = propose([str(Path(i).absolute()) for i in input], output.parent)
    output.write_text(text, encoding="utf-8")
    for key, why in choice.why.items():
        terminal.say(f"{key}: {why}")
    for name, (label, auc) in choice.leaks.items():
        terminal.say(
            f"warning: {name} alone tells {label} with an AUC of {auc:.3f}: it is no "
            "feature, unless it is known before the engagement"
        )
    terminal.say(
        f"{len(choice.features)} features, {len(choice.labels)} tasks, in {output}"
    )
