"""The command line: parse, call one stage, say in a few lines how it went.

Exit status: 0 done, and gates passed; 1 a gate refused or held the model; 2 bad config
or input; 3 training diverged.
"""

import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
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
from pipeline.json_console import JsonConsole, JsonProgress, LogFormat
from pipeline.object_storage import (
    Snapshots,
    Staging,
    any_version,
    clear,
    exists,
    locate,
)
from pipeline.stages import stage_of
from pipeline.storage import finite

REFUSED, BAD_INPUT, DIVERGED = 1, 2, 3
COLOURS = {"PASS": "green", "HOLD": "yellow", "REFUSE": "red"}

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


def place(help: str, *names: str, kind=Path):
    """An option that takes a local path or a URL."""
    return Annotated[kind, typer.Option(*names, help=help, parser=locate, metavar="PATH")]


def local(*places: Path) -> None:
    """Refuse URLs, for what needs the locks, links and renames of a local folder.

    Raises:
        InputError: A place is a URL.
    """
    for found in places:
        if not isinstance(found, Path):
            raise InputError(f"this works in local folders only. Received: {found}.")


ConfigPath = place("The run's YAML file.", "--config")
Output = place("Where the result shall stand.")
Examples = place("What `preprocess` wrote.")
Model = place("An export, or a folder of versions.")
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run stopped.")]
DataFolder = place(
    "What the config's paths are relative to. Default: its folder.", kind=Path | None
)
Baseline = place("The export that min_gain compares with.", kind=Path | None)
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key: train.batch_size=65536. Repeatable."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="Instead of the config's data.input. Repeatable."),
]


@app.callback()
def common(
    context: typer.Context,
    log_format: Annotated[
        LogFormat, typer.Option(help="json: a JSON object a line, on stdout.")
    ] = LogFormat.text,
):
    """Raw engagement logs in; a multitask ranking model that passed its gates out."""
    global console, errors
    if log_format == LogFormat.json:
        console = errors = JsonConsole(context.invoked_subcommand)
    elif isinstance(console, JsonConsole):  # another command in the same process
        console, errors = Console(), Console(stderr=True)


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

    with console.status("synthesize") as status, Staging() as staging:
        stage(
            rows,
            seed,
            staging.write(output, overwrite),
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
    append: Annotated[
        bool, typer.Option("--append", help="Add to what is there what came since.")
    ] = False,
):
    """Turn a raw log into packed examples with Apache Beam.

    With `--append`, training windows that --output holds stay as they are, vocabularies
    grow without moving an id, and later windows of the log are read.

    What follows `--` goes to Beam:
    `steadyrank preprocess --config c.yaml --output examples -- --runner=FlinkRunner`
    """
    from pipeline.plan import Addition

    loaded, flags, replaced = _load_any(config, settings, input), context.args, overwrite
    with Staging() as staging:
        addition = Addition(staging.read(output) if append else None)
        replaced = overwrite or append
        _preprocess(loaded, config, data, output, flags, replaced, addition)


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
    _train(_load_any(config, settings), examples, output, resume, overwrite)


@app.command()
def export(
    config: ConfigPath,
    train: place("What `train` wrote."),
    output: Output,
    settings: Settings = None,
):
    """Export a trained model as a SavedModel under the next version number.

    Example: `steadyrank export --config c.yaml --train train --output export`
    """
    _export(_load_any(config, settings), train, output)


@app.command()
def evaluate(
    config: ConfigPath,
    examples: Examples,
    model: Model,
    output: Output,
    baseline: Baseline = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    force: Annotated[
        str | None, typer.Option(help="Exit with 0 whatever the verdict; say why.")
    ] = None,
    stability: place("What `stability` found, for its gate.", kind=Path | None) = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
):
    """Measure an export and judge it; exit status 1 unless all gates pass.

    Example: `steadyrank evaluate --config c.yaml --examples examples --model export
    --output evaluation`
    """
    loaded = _load_any(config, settings)
    folders = examples, model, output
    if not _evaluate(loaded, *folders, baseline, split, overwrite, force, stability):
        raise typer.Exit(REFUSED)


@app.command()
def release(
    to: place("The folder that is served."),
    model: place("An export, or a folder of versions.", kind=Path | None) = None,
    evaluation: place("What `evaluate` wrote about it.", kind=Path | None) = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the version before.")
    ] = False,
):
    """Copy an export that passed its gates to where it is served from.

    Example: `steadyrank release --model export --evaluation evaluation --to served`
    """
    from pipeline import release as stage

    if rollback and (model or evaluation):
        raise InputError("--rollback takes neither --model nor --evaluation.")
    if not rollback and (model is None or evaluation is None):
        raise InputError("release needs --model and --evaluation, or --rollback.")
    with Staging() as staging, staging.served(to) as local:
        if rollback:
            current = stage.roll_back(local)
        else:
            folders = staging.read_model(model), staging.read(evaluation)
            current = stage.release(*folders, local)
    forced = f", forced: {current['forced']['reason']}" if current["forced"] else ""
    _say(f"version {current['version']} ({current['verdict']}{forced}) in {to}")


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(help="Folders that `run` wrote.")],
    output: place("The page.") = Path("compare.html"),
):
    """Write one page that shows several runs side by side.

    Example: `steadyrank compare runs/a runs/b --output compare.html`
    """
    from pipeline.compare import compare as stage

    folders = [locate(run) for run in runs]
    local(*folders, output)
    stage(folders, output)
    _say(f"{len(runs)} runs in {output}")


@app.command(context_settings=BEAM)
def run(
    context: typer.Context,
    config: ConfigPath,
    output: Output,
    data: DataFolder = None,
    input: Inputs = None,
    baseline: Baseline = None,
    settings: Settings = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
):
    """Do it all: raw log to verdict. `--resume` keeps the stages that are done.

    Example: `steadyrank run --config configs/kuairand.yaml --data kuairand
    --output runs/kuairand --set train.epochs=2`
    """
    loaded = _load_any(config, settings, input)
    examples, trained = output / "examples", output / "train"
    if overwrite:
        for stage in ("examples", "train", "train.partial", "export", "evaluation"):
            clear(output / stage)
    if not (resume and exists(examples)):
        _preprocess(loaded, config, data, examples, context.args, overwrite)
    if not (resume and exists(trained)):
        halfway = resume and any_version(output / "train.partial")
        _train(loaded, examples, trained, halfway, overwrite)
    if not (resume and any_version(output / "export")):
        _export(loaded, trained, output / "export")
    folders = examples, output / "export", output / "evaluation"
    if not _evaluate(loaded, *folders, baseline, "test", overwrite or resume):
        raise typer.Exit(REFUSED)


@app.command(context_settings=BEAM)
def nightly(
    context: typer.Context,
    config: ConfigPath,
    day: Annotated[str, typer.Option(help="The day to judge on: 2022-05-06.")],
    store: place("The folder of nights and releases."),
    data: DataFolder = None,
    input: Inputs = None,
    settings: Settings = None,
):
    """One more day: add it, train on from the last blessed model, release or refuse.

    Example: `steadyrank nightly --config c.yaml --day 2022-05-06 --store store`
    """
    from pipeline.nightly import nightly as stage

    local(store)
    loaded, folder = _load(config, settings, input), data or config.parent
    with _progress() as bar:
        night = stage(loaded, folder, day, store, context.args, _shown(bar))
    _say_night(night, store)
    if night["verdict"] != "PASS":
        raise typer.Exit(REFUSED)


@app.command("serve-check")
def serve_check(
    config: ConfigPath,
    examples: Examples,
    model: Model,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    output: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
    settings: Settings = None,
):
    """Replay raw rows through an export and time it; exit status 1 if scores differ.

    Example: `steadyrank serve-check --config c.yaml --examples examples --model export`
    """
    from pipeline.serve_check import serve_check as stage
    from pipeline.storage import write_json

    shared = _load(config, settings).serving.shared
    with console.status("serve-check"), Staging() as staging:
        folders = staging.read_examples(examples), staging.read_model(model)
        result = stage(*folders, split=split, shared=shared)
    table = Table(title=f"{result['rows']:,} raw rows, from NumPy to NumPy")
    for name in ("signature", "difference", "rows", "p50 ms", "p99 ms", "rows/s"):
        table.add_column(name, justify="left" if name == "signature" else "right")
    for row in result["latency"]:
        gap = result["differences"].get(row["signature"])
        cells = ["" if gap is None else f"{gap:.1e}", str(row["rows"])]
        cells += [f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms")]
        table.add_row(row["signature"], *cells, f"{row['rows_per_second']:,.0f}")
    console.print(table)
    if output:
        write_json(output, result)
    if not result["passed"]:
        _say(f"scores differ from the encoded signature's by more than {result['limit']}")
        raise typer.Exit(REFUSED)


@app.command()
def replay(
    config: ConfigPath,
    examples: Examples,
    train: place("What `train` wrote, or its .partial."),
    epoch: Annotated[int, typer.Option(help="As in log.jsonl.")],
    batch: Annotated[int, typer.Option(help="As in log.jsonl.")],
    settings: Settings = None,
):
    """Look again at one batch of a training run: tasks, layers, features, ids.

    Example: `steadyrank replay --config c.yaml --examples examples --train train
    --epoch 0 --batch 137`
    """
    from pipeline.diagnosis import replay as stage

    loaded = _load(config, settings)
    with Staging() as staging:
        folders = staging.read_examples(examples), staging.read(train)
        result = stage(loaded, *folders, epoch, batch)
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
    with console.status("stability") as status, Staging() as staging:
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
    table = Table(title=f"dense learning rate in use: {result['rate_in_use']:g}")
    for name in ("method", "largest stable", "margin", "best AUC", "at rate", "diverged"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for row in result["methods"]:
        table.add_row(*[escape(str(cell)) for cell in cells(row)])
    console.print(table)
    _say(result["advice"])
    _say(f"plot: {output / 'stability.html'}")


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
    from pipeline.sweep import read_sweep, worker_command
    from pipeline.sweep import sweep as stage

    local(config, examples, output)
    space = read_sweep(config, sweep, settings or [])
    command = ["--config", config, "--examples", examples, "--output", output]
    command += ["--sweep", sweep] if sweep else []
    command += ["--train", train] if train else []
    command += [part for text in settings or [] for part in ("--set", text)]
    with _ended_by_sigterm(), _live() as live:
        found = stage(
            space,
            examples,
            output,
            train_path=train,
            command=worker_command(command),
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            progress=lambda rows: live.update(_trials_table(rows)),
        )
    if found is None:
        return
    own = found["own_value"]
    beside = "" if own is None else f"; the config's own settings {own:.5f}"
    _say(f"{found['objective']}: best {found['best_value']:.5f}{beside}")
    _say(f"best settings: {output / 'best.yaml'}, report: {output / 'report.html'}")


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(help="A folder of any stage.", parser=locate)],
):
    """Say what an example set, a trained model, an export or an evaluation holds."""
    from pipeline.inspect import describe

    with Staging() as staging:
        whole = exists(path) and staging.read_examples(path)
        described = describe(whole or staging.read_model(path))
    for title, rows in described.items():
        table = Table(title=escape(title), title_justify="left", show_header=False)
        for name, value in rows:
            table.add_row(escape(str(name)), escape(str(value)))
        console.print(table)


def _load_any(path: Path, settings: list[str] | None, inputs: list[str] | None = None):
    """A config of either kind of model; ``_load``: of a ranking model alone."""
    from pipeline.config import load_any_config

    return _load(path, settings, inputs, load_any_config)


def _load(path: Path, settings: list[str] | None, inputs=None, load=None):
    from pipeline.config import load_config

    overrides = list(settings or [])
    if inputs:
        paths = [locate(text) for text in inputs]
        absolute = [str(p.absolute()) if isinstance(p, Path) else str(p) for p in paths]
        overrides.append(f"data.input={absolute}")
    with Staging() as staging:
        return (load or load_config)(staging.read_file(path), overrides)


def _preprocess(
    loaded, config: Path, data, output, beam_flags, overwrite, *addition
) -> None:
    stage = stage_of(loaded, "preprocess")
    folder = data or config.parent
    with console.status("preprocess"), Staging() as staging:
        local = staging.write(output, overwrite)
        manifest = stage(loaded, folder, local, beam_flags, overwrite, *addition)
    rows = manifest["rows"]
    rejected = sum(rows["rejected"].values())
    left_out = sum(rows.get("dropped", {}).values())
    parts = ", ".join(f"{s} {c['rows']:,}" for s, c in manifest["splits"].items())
    _say(
        f"{rows['read']:,} rows read = {rows['written']:,} written ({parts}) + "
        f"{rows['duplicates']:,} duplicates + {rejected:,} rejected"
        f"{f' + {left_out:,} left out' if left_out else ''}, in {output}"
    )


def _train(loaded, examples, output, resume, overwrite) -> None:
    stage, snapshots = stage_of(loaded, "train"), Snapshots(output)
    with _progress() as bar, Staging() as staging:
        local = staging.write(output, overwrite)
        if resume:
            staging.resumable(output, local)
        summary = stage(
            loaded,
            staging.read_examples(examples),
            local,
            resume=resume,
            overwrite=overwrite,
            progress=_shown(bar),
            saved=snapshots,
        )
    snapshots.clear()
    best = summary["best"]
    value = "was not defined" if best is None else f"{best:.4f}"
    _say(
        f"{summary['steps']:,} steps, {summary['epochs']} epochs, best "
        f"{summary['monitor']} {value} on validation, in {output}"
    )


def _export(loaded, train: Path, output: Path) -> None:
    stage = stage_of(loaded, "export")
    with console.status("export"), Staging() as staging:
        version = stage(loaded, staging.read(train), staging.write_version(output))
        staging.send_version(version, output)
    _say(f"SavedModel in {output / version.name}")


def _evaluate(
    loaded,
    examples,
    model,
    output,
    baseline,
    split,
    overwrite,
    force=None,
    stability=None,
) -> bool:
    """Evaluate, say how it went, and whether the model may go on."""
    stage = stage_of(loaded, "evaluate")
    with console.status("evaluate"), Staging() as staging:
        result = stage(
            loaded,
            staging.read_examples(examples),
            staging.read_model(model),
            staging.write(output, overwrite),
            baseline_path=staging.read_model(baseline),
            stability_path=staging.read(stability),
            split=split,
            force=force,
            overwrite=overwrite,
        )
    console.print(_metrics_table(result["metrics"]))
    console.print(_gates_table(result["gates"]))
    colour = COLOURS[result["verdict"]]
    console.print(f"[bold {colour}]{result['verdict']}[/]")
    if result["forced"]:
        _say(f"forced: {result['forced']['reason']}")
    _say(f"report: {output / 'report.html'}")
    return result["verdict"] == "PASS" or result["forced"] is not None


def _metrics_table(metrics: dict) -> Table:
    table = Table(title=f"{metrics['split']}: {metrics['rows']:,} rows")
    names = ("rows", "auc", "reachable_auc", "gauc", "rmse", "calibration")
    names += ("mrr@5", "hr@5", "ndcg@5", "hr@20")
    popular = {name: metrics[name] for name in ("popularity",) if name in metrics}
    results = {**metrics["tasks"], **popular}
    shown = [n for n in names if any(n in r for r in results.values())]
    table.add_column("task", no_wrap=True)
    for name in shown:
        title = "reachable" if name == "reachable_auc" else name
        table.add_column(title, justify="right", no_wrap=True)
    for task, result in results.items():
        table.add_row(task, *[_cell(result.get(name)) for name in shown])
    return table


def _gates_table(gates: list[dict]) -> Table:
    table = Table(title="gates")
    for name in ("gate", "task", "rule", "verdict", "reason"):
        table.add_column(name)
    quiet = [gate for gate in gates if gate.get("slice") and gate["passed"]]
    if quiet:
        table.caption = f"and {len(quiet)} gates on slices, which passed"
    for gate in (gate for gate in gates if gate not in quiet):
        mark = f"[{COLOURS[gate['verdict']]}]{gate['verdict']}[/]"
        cells = [escape(str(gate[name] or "")) for name in ("gate", "task", "rule")]
        table.add_row(*cells, mark, escape(gate["reason"]))
    return table


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _trials_table(rows: list[dict]) -> Table:
    keys = list(dict.fromkeys(key for row in rows for key in row["values"]))
    table = Table(title=f"{len(rows)} trials")
    for name in ("trial", "outcome", "objective", "seconds"):
        table.add_column(name, no_wrap=True)
    for name in _short_names(keys):
        table.add_column(name, overflow="fold")
    for row in rows:
        step = f", step {row['step']}" if row["step"] else ""
        cells = [row["trial"], row["status"] + step, _cell(row["value"])]
        cells += [_cell(row["seconds"]), *(_setting(row["values"].get(k)) for k in keys)]
        table.add_row(*[escape(cell) for cell in cells])
    return table


def _short_names(keys: list[str]) -> list[str]:
    """The ends of the keys that tell them apart."""
    ends = [key.rpartition(".")[2] for key in keys]
    longer = [".".join(key.split(".")[-2:]) for key in keys]
    return [b if ends.count(a) > 1 else a for a, b in zip(ends, longer, strict=True)]


def _setting(value) -> str:
    number = isinstance(value, float)
    return "" if value is None else f"{value:.4g}" if number else str(value)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """What ends a container ends its workers, too, as Ctrl-C does."""

    def end(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _live() -> Live | AbstractContextManager:
    if isinstance(console, JsonConsole):
        return console.status("sweep")
    return Live(console=console, refresh_per_second=1)


def _say_night(night: dict, store: Path) -> None:
    """What a night trained on, how it did beside the model it started from, and why."""
    table = Table(title=f"AUC on {night['day']}")
    for name in ("task", "blessed", "new"):
        table.add_column(name, justify="left" if name == "task" else "right")
    for task, auc in night["auc"].items():
        before = (night["base_auc"] or {}).get(task)
        table.add_row(escape(task), _cell(before), _cell(auc))
    console.print(table)
    base = night["base"] or "fresh weights"
    _say(f"trained on {', '.join(night['trained_on'])}, from {base}")
    for reason in night["reasons"]:
        _say(f"{night['verdict']}: {reason}")
    if night["left_out"]:
        _say(f"{night['left_out']} is left out of training from now on")
    console.print(f"[bold {COLOURS[night['verdict']]}]{night['verdict']}[/]")
    _say(f"report: {store / 'nights' / night['day'] / 'evaluation' / 'report.html'}")


def _shown(bar: Progress | JsonProgress):
    """What training calls to show how it goes."""
    task = bar.add_task("train", total=None)

    def show(step: int, total: int, text: str):
        if total:
            bar.update(task, completed=step, total=total, description=f"train: {text}")
        else:
            bar.console.print(escape(text))

    return show


def _progress() -> Progress | JsonProgress:
    if isinstance(console, JsonConsole):
        return JsonProgress(console)
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
