"""Commands that look: at signatures, a batch, runs side by side, a folder."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from steadyrank.pipeline.cli import tables, terminal
from steadyrank.pipeline.cli.application import REFUSED, app
from steadyrank.pipeline.cli.options import (
    ConfigPath,
    Examples,
    Model,
    Settings,
    load_any,
    local,
    place,
)
from steadyrank.pipeline.files.publish import finite, make_room, write_json
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.urls import locate
from steadyrank.pipeline.files.whole_folders import exists


@app.command("serve-check")
def serve_check(
    examples: Examples,
    model: Model,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    output: place("Write the result as JSON.", kind=Path | None) = None,
):
    """Replay raw rows through an export and time it; exit status 1 if scores differ.

    Example: `steadyrank serve-check --examples examples --model export`
    """
    from steadyrank.pipeline.kinds import serve_check as stage

    if output:
        local(output)
        make_room(output)
    with terminal.console.status("serve-check"), Staging() as staging:
        folders = staging.read_examples(examples), staging.read_model(model)
        result = stage(*folders, split=split)
    terminal.console.print(tables.latency_table(result))
    if output:
        write_json(output, result)
    if not result["passed"]:
        terminal.say(
            f"scores differ from the encoded signature's by more than {result['limit']}"
        )
        raise typer.Exit(REFUSED)


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Folders that `run` wrote.")],
    output: place("The page.") = "compare.html",  # a text, as from the command line
):
    """Write one page that shows several runs side by side.

    Example: `steadyrank compare runs/a runs/b --output compare.html`
    """
    from steadyrank.pipeline.studies.compare import compare as stage

    folders = [locate(run) for run in runs]
    local(*folders, output)
    stage(folders, output)
    terminal.say(f"{len(runs)} runs in {output}")


@app.command()
def replay(
    config: ConfigPath,
    examples: Examples,
    train: place("What `train` wrote, or its .partial."),
    epoch: Annotated[int, typer.Option(min=0, help="As in log.jsonl.")],
    batch: Annotated[int, typer.Option(min=0, help="As in log.jsonl.")],
    phase: Annotated[
        int | None, typer.Option(min=0, help="As in log.jsonl; else the last.")
    ] = None,
    settings: Settings = None,
):
    """Look again at one batch of a training run: tasks, layers, features, ids.

    Example: `steadyrank replay --config c.yaml --examples examples --train train
    --epoch 0 --batch 137`
    """
    from steadyrank.pipeline.kinds import replay as stage

    loaded, place = load_any(config, settings), {"epoch": epoch, "batch": batch}
    with Staging() as staging:
        folders = staging.read_examples(examples), staging.read(train)
        result = stage(loaded, *folders, **place, phase=phase)
    terminal.console.print_json(data=finite(result))


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A folder of any stage.", parser=locate)],
):
    """Say what an example set, a trained model, an export or an evaluation holds."""
    from steadyrank.pipeline.cli.inspect import describe

    with Staging() as staging:
        whole = exists(path) and staging.read_examples(path)
        described = describe(whole or staging.read_model(path))
    for title, rows in described.items():
        table = Table(title=escape(title), title_justify="left", show_header=False)
        for name, value in rows:
            table.add_row(escape(str(name)), escape(str(value)))
        terminal.console.print(table)
