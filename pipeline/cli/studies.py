"""Commands that train many times: the edge of divergence, the best settings."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from steadyrank.pipeline.cli import tables, terminal
from steadyrank.pipeline.cli.application import app
from steadyrank.pipeline.cli.options import (
    ConfigPath,
    Examples,
    Output,
    Overwrite,
    Resume,
    Settings,
    keep_apart,
    load_any,
    local,
)
from steadyrank.pipeline.files.staging import Staging


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
    windows: Annotated[
        int, typer.Option(min=1, help="Training windows, the last ones.")
    ] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Steps in a window, at most.")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="Probes of each learning rate.")] = 1,
    settings: Settings = None,
    overwrite: Overwrite = False,
):
    """Find the learning rate at which training diverges, with each clipping method.

    Example: `steadyrank stability --config c.yaml --examples examples --output stability`
    """
    from steadyrank.pipeline.studies.short_runs import method_of
    from steadyrank.pipeline.studies.stability import cells
    from steadyrank.pipeline.studies.stability import stability as stage

    keep_apart(output, examples)
    loaded, wanted = load_any(config, settings), [method_of(m) for m in methods.split(",")]
    with terminal.console.status("stability") as status, Staging() as staging:
        result = stage(
            loaded,
            staging.read_examples(examples),
            staging.write(output, overwrite),
            wanted,
            windows=windows,
            steps=steps,
            seeds=seeds,
            overwrite=overwrite,
            progress=lambda text: status.update(escape(f"stability: {text}")),
        )
    rows = [cells(row) for row in result["methods"]]
    terminal.console.print(tables.methods_table(result["rate_in_use"], rows))
    terminal.say(result["advice"])
    terminal.say(f"plot: {output / 'stability.html'}")


@app.command()
def sweep(
    config: ConfigPath,
    examples: Examples,
    output: Output,
    sweep: Annotated[
        Path | None, typer.Option(help="A file with the sweep, such as configs/sweeps.")
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="For a score: what `train` wrote.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at once.")] = 1,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Try settings, and write the best as a config; `--resume` keeps the finished trials.

    Example: `steadyrank sweep --config c.yaml --sweep configs/sweeps/clipping.yaml
    --examples examples --output sweep --workers 2`
    """
    from steadyrank.pipeline.studies.sweep import read_sweep, worker_command
    from steadyrank.pipeline.studies.sweep import sweep as stage

    local(config, examples, output)
    space = read_sweep(config, sweep, settings or [])
    command = ["--config", config, "--examples", examples, "--output", output]
    command += ["--sweep", sweep] if sweep else []
    command += ["--train", train] if train else []
    command += [part for text in settings or [] for part in ("--set", text)]
    with terminal.live("sweep") as live:
        found = stage(
            space,
            examples,
            output,
            train_path=train,
            command=worker_command(command),
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            progress=lambda rows: live.update(tables.trials_table(rows)),
        )
    if found is None:
        return
    own = found["own_value"]
    beside = "" if own is None else f"; the config's own settings {own:.5f}"
    terminal.say(f"{found['objective']}: best {found['best_value']:.5f}{beside}")
    terminal.say(f"best settings: {output / 'best.yaml'}, report: {output / 'report.html'}")
