"""The command line: parse, call one stage, say in a few lines how it went.

Exit status: 0 done, and gates passed; 1 a gate refused the model; 2 bad config or
input; 3 training diverged.
"""

import logging
import shutil
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from components.environment import leave
from pipeline.errors import DivergenceError, InputError
from pipeline.storage import finite

REFUSED, BAD_INPUT, DIVERGED = 1, 2, 3

app = typer.Typer(
    name="steadyrank",
    help="Raw engagement logs in; a multitask ranking model that passed its gates out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console()
errors = Console(stderr=True)
BEAM = {"allow_extra_args": True, "ignore_unknown_options": True}

ConfigPath = Annotated[Path, typer.Option("--config", help="The run's YAML file.")]
Output = Annotated[Path, typer.Option(help="Where the result shall stand.")]
Examples = Annotated[Path, typer.Option(help="What `preprocess` wrote.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(help="What the config's paths are relative to. Default: its folder."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key: train.batch_size=65536. Repeatable."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="Instead of the config's data.input. Repeatable."),
]


@app.command()
def synthesize(
    output: Output,
    rows: Annotated[int, typer.Option(help="Rows of the log.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    overwrite: Overwrite = False,
):
    """Write a realistic engagement log whose true probabilities are known.

    Example: `steadyrank synthesize --rows 1000000 --seed 1 --output log`
    """
    from pipeline.synthetic import synthesize as stage

    with console.status("synthesize") as status:
        stage(
            rows,
            seed,
            output,
            overwrite=overwrite,
            progress=lambda done, what: status.update(f"synthesize: {what}"),
        )
    _say(f"{rows:,} rows in {output}")


@app.command(context_settings=BEAM)
def preprocess(
    context: typer.Context,
    config: ConfigPath,
    output: Output,
    data: DataFolder = None,
    input: Inputs = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
):
    """Turn a raw log into packed examples with Apache Beam.

    What follows `--` goes to Beam:
    `steadyrank preprocess --config c.yaml --output examples -- --runner=FlinkRunner`
    """
    loaded = _load(config, settings, input)
    _preprocess(loaded, config, data, output, context.args, overwrite)


@app.command()
def train(
    config: ConfigPath,
    examples: Examples,
    output: Output,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Train a model on examples.

    Example: `steadyrank train --config c.yaml --examples examples --output train`
    """
    _train(_load(config, settings), examples, output, resume, overwrite)


@app.command()
def export(
    config: ConfigPath,
    train: Annotated[Path, typer.Option(help="What `train` wrote.")],
    output: Output,
    settings: Settings = None,
):
    """Export a trained model as a SavedModel under the next version number.

    Example: `steadyrank export --config c.yaml --train train --output export`
    """
    _export(_load(config, settings), train, output)


@app.command()
def evaluate(
    config: ConfigPath,
    examples: Examples,
    model: Annotated[Path, typer.Option(help="An export, or a folder of versions.")],
    output: Output,
    baseline: Annotated[
        Path | None, typer.Option(help="The export that min_gain compares with.")
    ] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    settings: Settings = None,
    overwrite: Overwrite = False,
):
    """Measure an export and judge it; exit status 1 if a gate refuses.

    Example: `steadyrank evaluate --config c.yaml --examples examples --model export
    --output evaluation`
    """
    loaded = _load(config, settings)
    if not _evaluate(loaded, examples, model, output, baseline, split, overwrite):
        raise typer.Exit(REFUSED)


@app.command(context_settings=BEAM)
def run(
    context: typer.Context,
    config: ConfigPath,
    output: Output,
    data: DataFolder = None,
    input: Inputs = None,
    baseline: Annotated[
        Path | None, typer.Option(help="The export that min_gain compares with.")
    ] = None,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Do it all: raw log to verdict. `--resume` keeps the stages that are done.

    Example: `steadyrank run --config configs/kuairand.yaml --data kuairand
    --output runs/kuairand --set train.epochs=2`
    """
    loaded = _load(config, settings, input)
    examples, trained = output / "examples", output / "train"
    if overwrite:
        for stage in ("examples", "train", "train.partial", "export", "evaluation"):
            shutil.rmtree(output / stage, ignore_errors=True)
    if not (resume and examples.exists()):
        _preprocess(loaded, config, data, examples, context.args, overwrite)
    if not (resume and trained.exists()):
        halfway = resume and (output / "train.partial").exists()
        _train(loaded, examples, trained, halfway, overwrite)
    if not (resume and (output / "export").exists()):
        _export(loaded, trained, output / "export")
    folders = examples, output / "export", output / "evaluation"
    if not _evaluate(loaded, *folders, baseline, "test", overwrite or resume):
        raise typer.Exit(REFUSED)


@app.command()
def replay(
    config: ConfigPath,
    examples: Examples,
    train: Annotated[Path, typer.Option(help="What `train` wrote, or its .partial.")],
    epoch: Annotated[int, typer.Option(help="As in log.jsonl.")],
    batch: Annotated[int, typer.Option(help="As in log.jsonl.")],
    settings: Settings = None,
):
    """Look again at one batch of a training run: tasks, layers, features, ids.

    Example: `steadyrank replay --config c.yaml --examples examples --train train
    --epoch 0 --batch 137`
    """
    from pipeline.diagnosis import replay as stage

    result = stage(_load(config, settings), examples, train, epoch, batch)
    console.print_json(data=finite(result))


@app.command()
def stability(
    config: ConfigPath,
    examples: Examples,
    output: Output,
    methods: Annotated[
        str, typer.Option(help="To compare with; with a threshold: norm=0.1,agc=0.01.")
    ] = "clippy,none,norm,agc",
    windows: Annotated[int, typer.Option(help="Training windows, the last ones.")] = 4,
    steps: Annotated[int, typer.Option(help="Steps in a window, at most.")] = 100,
    seeds: Annotated[int, typer.Option(help="Probes of each learning rate.")] = 1,
    settings: Settings = None,
    overwrite: Overwrite = False,
):
    """Find the learning rate at which training diverges, with each clipping method.

    Example: `steadyrank stability --config c.yaml --examples examples --output stability`
    """
    from pipeline.probe import method_of
    from pipeline.stability import cells
    from pipeline.stability import stability as stage

    loaded, wanted = _load(config, settings), [method_of(m) for m in methods.split(",")]
    with console.status("stability") as status:
        result = stage(
            loaded,
            examples,
            output,
            wanted,
            windows=windows,
            steps=steps,
            seeds=seeds,
            overwrite=overwrite,
            progress=lambda text: status.update(escape(f"stability: {text}")),
        )
    table = Table(title=f"dense learning rate in use: {result['rate_in_use']:g}")
    for name in ("method", "largest stable", "margin", "best AUC", "at rate", "diverged"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in result["methods"]:
        table.add_row(*[escape(str(cell)) for cell in cells(row)])
    console.print(table)
    _say(result["advice"])
    _say(f"plot: {output / 'stability.html'}")


@app.command()
def inspect(path: Annotated[Path, typer.Argument(help="A folder of any stage.")]):
    """Say what an example set, a trained model, an export or an evaluation holds."""
    from pipeline.inspect import describe

    for title, rows in describe(path).items():
        table = Table(title=escape(title), title_justify="left", show_header=False)
        for name, value in rows:
            table.add_row(escape(str(name)), escape(str(value)))
        console.print(table)


def _load(path: Path, settings: list[str] | None, inputs: list[str] | None = None):
    from pipeline.config import load_config

    overrides = list(settings or [])
    if inputs:
        overrides.append(f"data.input={[str(Path(i).absolute()) for i in inputs]}")
    return load_config(path, overrides)


def _preprocess(loaded, config: Path, data, output, beam_flags, overwrite) -> None:
    from pipeline.preprocess import preprocess as stage

    folder = data or config.parent
    with console.status("preprocess"):
        manifest = stage(loaded, folder, output, beam_flags, overwrite)
    rows = manifest["rows"]
    rejected = sum(rows["rejected"].values())
    parts = ", ".join(f"{s} {c['rows']:,}" for s, c in manifest["splits"].items())
    _say(
        f"{rows['read']:,} rows read = {rows['written']:,} written ({parts}) + "
        f"{rows['duplicates']:,} duplicates + {rejected:,} rejected, in {output}"
    )


def _train(loaded, examples, output, resume, overwrite) -> None:
    from pipeline.train import train as stage

    with _progress() as bar:
        task = bar.add_task("train", total=None)

        def show(step: int, total: int, text: str):
            if total:
                bar.update(task, completed=step, total=total, description=f"train: {text}")
            else:
                bar.console.print(escape(text))

        summary = stage(
            loaded, examples, output, resume=resume, overwrite=overwrite, progress=show
        )
    best = summary["best"]
    value = "was not defined" if best is None else f"{best:.4f}"
    _say(
        f"{summary['steps']:,} steps, {summary['epochs']} epochs, best "
        f"{summary['monitor']} {value} on validation, in {output}"
    )


def _export(loaded, train: Path, output: Path) -> None:
    from pipeline.export import export as stage

    with console.status("export"):
        version = stage(loaded, train, output)
    _say(f"SavedModel in {version}")


def _evaluate(loaded, examples, model, output, baseline, split, overwrite) -> bool:
    from pipeline.evaluate import evaluate as stage

    with console.status("evaluate"):
        result = stage(
            loaded,
            examples,
            model,
            output,
            baseline_path=baseline,
            split=split,
            overwrite=overwrite,
        )
    console.print(_metrics_table(result["metrics"]))
    console.print(_gates_table(result["gates"]))
    passed = result["verdict"] == "PASS"
    console.print(f"[bold {'green' if passed else 'red'}]{result['verdict']}[/]")
    _say(f"report: {output / 'report.html'}")
    return passed


def _metrics_table(metrics: dict) -> Table:
    table = Table(title=f"{metrics['split']}: {metrics['rows']:,} rows")
    names = ("rows", "auc", "reachable_auc", "gauc", "rmse", "calibration")
    shown = [n for n in names if any(n in r for r in metrics["tasks"].values())]
    table.add_column("task", no_wrap=True)
    for name in shown:
        title = "reachable" if name == "reachable_auc" else name
        table.add_column(title, justify="right", no_wrap=True)
    for task, result in metrics["tasks"].items():
        table.add_row(task, *[_cell(result.get(name)) for name in shown])
    return table


def _gates_table(gates: list[dict]) -> Table:
    table = Table(title="gates")
    for name in ("gate", "task", "rule", "passed", "reason"):
        table.add_column(name)
    for gate in gates:
        mark = "[green]yes[/]" if gate["passed"] else "[red]no[/]"
        cells = [escape(str(gate[name] or "")) for name in ("gate", "task", "rule")]
        table.add_row(*cells, mark, escape(gate["reason"]))
    return table


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )


def _say(text: str) -> None:
    console.print(escape(text), soft_wrap=True, highlight=False)


def _be_quiet() -> None:
    """Keep the noise of others off the terminal; errors and our own words stay."""
    warnings.filterwarnings("ignore", module="(?!pipeline|models|components)")
    for name in ("root", "apache_beam", "tensorflow", "absl"):
        logging.getLogger(None if name == "root" else name).setLevel(logging.ERROR)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit status."""
    _be_quiet()
    try:
        status = app(arguments, standalone_mode=False) or 0
    except InputError as error:
        status = _fail(str(error), BAD_INPUT)
    except DivergenceError as error:
        status = _fail(str(error), DIVERGED)
    except (typer.Abort, KeyboardInterrupt):
        status = _fail("interrupted; go on with --resume", 130)
    except Exception as error:  # click's usage errors carry a format of their own
        if not hasattr(error, "format_message"):
            raise
        status = _fail(error.format_message(), BAD_INPUT)
    leave(status)


def _fail(message: str, status: int) -> int:
    errors.print(f"[bold red]error[/] {escape(message)}", soft_wrap=True, highlight=False)
    return status


if __name__ == "__main__":
    main(sys.argv[1:])
