"""Commands that look: at signatures, runs side by side, a batch, a folder."""

from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline import api
from steadyrank.pipeline.cli.application import REFUSED, app
from steadyrank.pipeline.cli.options import ConfigPath, Examples, Model, Settings, place
from steadyrank.pipeline.cli.terminal import Shown
from steadyrank.pipeline.cli.words import tell
from steadyrank.pipeline.files.urls import locate


@app.command("serve-check")
def serve_check(
    examples: Examples,
    model: Model,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    output: place("Write the result as JSON.", kind=Path | None) = None,
):
    """Replay raw rows through an export and time it; exit status 1 if scores differ.

    Example: ``steadyrank serve-check --examples examples --model export``
    """
    result = api.serve_check(
        examples=examples, model=model, split=split, output=output, progress=Shown()
    )
    tell(result)
    if not result.passed:
        raise typer.Exit(REFUSED)


@app.command()
def importance(
    *,
    examples: Examples,
    model: Model,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    rows: Annotated[
        int, typer.Option(min=1, help="Of the split, at most; evenly spread.")
    ] = 10_000,
    together: Annotated[
        list[str] | None,
        typer.Option(help="Features to exchange as one: author,tag. Repeatable."),
    ] = None,
    output: place("Write the result as JSON.", kind=Path | None) = None,
):
    """Exchange the values of each feature among rows, and say what each task loses.

    Example: ``steadyrank importance --examples examples --model export``
    """
    tell(
        api.importance(
            examples=examples,
            model=model,
            split=split,
            rows=rows,
            together=together,
            output=output,
            progress=Shown(),
        )
    )


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Folders that `run` wrote.")],
    output: place("The page.") = "compare.html",  # a text, as from the command line
):
    """Write one page that shows several runs side by side.

    Example: ``steadyrank compare runs/a runs/b --output compare.html``
    """
    tell(api.compare(runs, output=output))


@app.command()
def replay(
    config: ConfigPath,
    examples: Examples,
    train: place("What `train` wrote, or its .partial."),
    epoch: Annotated[int, typer.Option(min=0, help="As in log.jsonl.")],
    *,
    batch: Annotated[int, typer.Option(min=0, help="As in log.jsonl.")],
    phase: Annotated[
        int | None, typer.Option(min=0, help="As in log.jsonl; else the last.")
    ] = None,
    settings: Settings = None,
):
    """Look again at one batch of a training run: tasks, layers, features, ids.

    Example: ``steadyrank replay --config c.yaml --examples examples --train train
    --epoch 0 --batch 137``
    """
    tell(
        api.replay(
            config,
            examples=examples,
            train=train,
            epoch=epoch,
            batch=batch,
            phase=phase,
            set=settings,
        )
    )


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="What any command wrote.", parser=locate)],
):
    """Say what a folder holds that a command wrote: a run, nights, an export, scores."""
    tell(api.inspect(path))
