"""Commands from a raw log to a release, a stage each, and those that do them all."""

from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline import api
from steadyrank.pipeline.cli.application import BEAM, REFUSED, app
from steadyrank.pipeline.cli.options import (
    Baseline,
    ConfigPath,
    DataFolder,
    Examples,
    Inputs,
    Model,
    Output,
    Overwrite,
    Resume,
    Settings,
    place,
)
from steadyrank.pipeline.cli.terminal import Shown, say
from steadyrank.pipeline.cli.words import Told, tell


@app.command()
def synthesize(
    output: Output,
    rows: Annotated[int, typer.Option(help="Rows of the log.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    overwrite: Overwrite = False,
):
    """Write a realistic engagement log whose true probabilities are known.

    Example: ``steadyrank synthesize --rows 1000000 --seed 1 --output log``
    """
    tell(
        api.synthesize(
            output=output, rows=rows, seed=seed, overwrite=overwrite, progress=Shown()
        )
    )


@app.command(**BEAM)
def preprocess(
    context: typer.Context,
    config: ConfigPath,
    output: Output,
    data: DataFolder = None,
    *,
    input: Inputs = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add to what is there what came since.")
    ] = False,
):
    """Turn a raw log into packed examples with Apache Beam.

    With ``--append``, training windows that --output holds stay as they are, vocabularies
    grow without moving an id, and later windows of the log are read.

    What follows ``--`` goes to Beam:
    ``steadyrank preprocess --config c.yaml --output examples -- --runner=FlinkRunner``
    """
    tell(
        api.preprocess(
            config,
            output=output,
            data=data,
            input=input,
            set=settings,
            overwrite=overwrite,
            append=append,
            beam_flags=context.args,
            progress=Shown(),
        )
    )


@app.command()
def train(
    config: ConfigPath,
    examples: Examples,
    output: Output,
    settings: Settings = None,
    *,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Train a model on examples.

    Example: ``steadyrank train --config c.yaml --examples examples --output train``
    """
    tell(
        api.train(
            config,
            examples=examples,
            output=output,
            set=settings,
            resume=resume,
            overwrite=overwrite,
            progress=Shown(),
        )
    )


@app.command()
def export(
    config: ConfigPath,
    train: place("What `train` wrote."),
    output: Output,
    settings: Settings = None,
):
    """Export a trained model as a SavedModel under the next version number.

    Example: ``steadyrank export --config c.yaml --train train --output export``
    """
    tell(api.export(config, train=train, output=output, set=settings, progress=Shown()))


@app.command()
def evaluate(
    config: ConfigPath,
    examples: Examples,
    model: Model,
    output: Output,
    *,
    baseline: Baseline = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    force: Annotated[
        str | None, typer.Option(help="Exit with 0 whatever the verdict; say why.")
    ] = None,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Write the scored rows, too.")
    ] = False,
    stability: place("What `stability` found, for its gate.", kind=Path | None) = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
):
    """Measure an export and judge it; exit status 1 unless all gates pass.

    Example: ``steadyrank evaluate --config c.yaml --examples examples --model export
    --output evaluation``
    """
    result = api.evaluate(
        config,
        examples=examples,
        model=model,
        output=output,
        baseline=baseline,
        split=split,
        force=force,
        predictions=predictions,
        stability=stability,
        set=settings,
        overwrite=overwrite,
        progress=Shown(),
    )
    tell(result)
    if not result.accepted:
        raise typer.Exit(REFUSED)


@app.command(**BEAM)
def run(
    context: typer.Context,
    config: ConfigPath,
    output: Output,
    data: DataFolder = None,
    *,
    input: Inputs = None,
    baseline: Baseline = None,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Do it all: raw log to verdict. ``--resume`` keeps the stages that are done.

    Example: ``steadyrank run --config configs/kuairand.yaml --data kuairand
    --output runs/kuairand --set train.epochs=2``
    """
    result = api.run(
        config,
        output=output,
        data=data,
        input=input,
        baseline=baseline,
        set=settings,
        resume=resume,
        overwrite=overwrite,
        beam_flags=context.args,
        progress=Told(),
    )
    if not result.evaluate.accepted:
        raise typer.Exit(REFUSED)


@app.command(**BEAM)
def score(
    context: typer.Context,
    model: Model,
    input: Annotated[list[str], typer.Option(help="Raw rows: paths, folders or patterns.")],
    output: Output,
    *,
    data: place("What the model's side tables are relative to.") = ".",
    keep: Annotated[
        str, typer.Option(help="Columns to hand on: user_id,item=video_id, or '*'.")
    ] = "",
    top: Annotated[int | None, typer.Option(help="Rows of each --by, the best.")] = None,
    by: Annotated[str | None, typer.Option(help="A column, such as user_id.")] = None,
    prefix: Annotated[str, typer.Option(help="Of the model's columns: teacher_.")] = "",
    histories: place("The examples that know each user's past.", kind=Path | None) = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Score raw rows with an export: each task, the score, rejected rows with reasons.

    Example: ``steadyrank score --model export --input 'new/*.parquet' --output scores
    --keep user_id,video_id --top 100 --by user_id``
    """
    tell(
        api.score(
            model=model,
            input=input,
            output=output,
            data=data,
            keep=keep,
            top=top,
            by=by,
            prefix=prefix,
            histories=histories,
            resume=resume,
            overwrite=overwrite,
            beam_flags=context.args,
            progress=Shown(),
        )
    )


@app.command(**BEAM)
def nightly(
    context: typer.Context,
    config: ConfigPath,
    day: Annotated[str, typer.Option(help="The day to judge on: 2022-05-06.")],
    store: place("The folder of nights and releases."),
    *,
    data: DataFolder = None,
    input: Inputs = None,
    settings: Settings = None,
    give_up_after: Annotated[
        str | None,
        typer.Option(help="Wait for a day's files so long after its end: 6h, 2d."),
    ] = None,
):
    """One more day: add it, train on from the last blessed model, release or refuse.

    Example: ``steadyrank nightly --config c.yaml --day 2022-05-06 --store store``
    """
    result = api.nightly(
        config,
        day=day,
        store=store,
        data=data,
        input=input,
        set=settings,
        give_up_after=give_up_after,
        beam_flags=context.args,
        progress=Shown(),
    )
    tell(result)
    if not result.accepted:
        raise typer.Exit(REFUSED)


@app.command()
def prune(
    store: place("What `nightly` wrote."),
    nights: Annotated[int | None, typer.Option(help="The last that stay whole.")] = None,
    releases: Annotated[int | None, typer.Option(help="The last that stay.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say it.")] = False,
):
    """Remove old nights of a store, but for their records, and old releases.

    Example: ``steadyrank prune --store store --nights 60 --releases 10 --dry-run``
    """
    tell(api.prune(store=store, nights=nights, releases=releases, dry_run=dry_run))


@app.command()
def release(
    *,
    to: place("The folder that is served."),
    model: place("An export, or a folder of versions.", kind=Path | None) = None,
    evaluation: place("What `evaluate` wrote about it.", kind=Path | None) = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the version before.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why to go back; it is recorded.")] = "",
):
    """Copy an export that passed its gates to where it is served from.

    Example: ``steadyrank release --model export --evaluation evaluation --to served``
    """
    result = api.release(
        to=to, model=model, evaluation=evaluation, rollback=rollback, reason=reason
    )
    tell(result)
    if result.withdrawn:
        why = "" if rollback else ", which no release had named: it was interrupted"
        say(f"withdrawn: {', '.join(map(str, result.withdrawn))}{why}")
