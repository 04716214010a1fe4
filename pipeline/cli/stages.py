"""Commands from a raw log to a release, a stage each, and those that do them all."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from steadyrank.pipeline.cli import tables, terminal
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
    keep_apart,
    load_any,
    local,
    log_of,
    place,
)
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.publish import read_json, refuse_existing
from steadyrank.pipeline.files.staging import Snapshots, Staging
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.files.whole_folders import any_version, clear, exists, versions_at
from steadyrank.pipeline.kinds import stage_of
from steadyrank.pipeline.preflight import require_passable

# what a trained model hangs on; gates and the like may change between two runs of `run`
MADE_BY = ("data", "features", "tasks", "score", "model", "train")
MADE_FROM_EXAMPLES = ("train", "train.partial", "export", "evaluation")  # in a run


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
    from steadyrank.pipeline.synthetic import synthesize as stage

    keep_apart(output)
    with terminal.console.status("synthesize") as status, Staging() as staging:
        stage(
            rows,
            seed,
            staging.write(output, overwrite),
            overwrite=overwrite,
            progress=lambda done, what: status.update(f"synthesize: {what}"),
        )
    terminal.say(f"{rows:,} rows in {output}")


@app.command(**BEAM)
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
    from steadyrank.pipeline.preprocess.plan import Addition

    loaded, flags, replaced = load_any(config, settings, input), context.args, overwrite
    with Staging() as staging:
        addition = Addition(staging.read(output) if append else None)
        replaced = overwrite or append
        _preprocess(loaded, config, data, output, flags, replaced, addition=addition)


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
    _train(load_any(config, settings), examples, output, resume, overwrite)


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
    _export(load_any(config, settings), train, output)


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
    loaded = load_any(config, settings)
    if force is None:
        require_passable(loaded, baseline=bool(baseline), stability=bool(stability))
    folders = examples, model, output
    if not _evaluate(loaded, *folders, baseline, split, overwrite, force, stability):
        raise typer.Exit(REFUSED)


@app.command(**BEAM)
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
    if resume and overwrite:
        raise InputError("--resume keeps what is there, --overwrite does not: choose one.")
    loaded = load_any(config, settings, input)
    require_passable(loaded, baseline=bool(baseline), stability=False)
    with alone(output):
        beam = context.args
        passed = _all(loaded, config, data, output, beam, baseline, resume, overwrite)
    if not passed:
        raise typer.Exit(REFUSED)


def _all(loaded, config, data, output, beam, baseline, resume, overwrite) -> bool:
    """The stages of `run`; whether the export passed its gates."""
    examples, trained = output / "examples", output / "train"
    keeping = _keeping(loaded, baseline)
    if overwrite:
        _require_removable(output, log_of(loaded, data or config.parent))
    if overwrite and exists(output / "train.partial"):
        with alone(trained):  # whoever trains there is not to lose the examples
            pass
    if resume and exists(examples):
        _require_made_for(loaded, examples)
    else:
        _preprocess(keeping, config, data, examples, beam, overwrite)
    _require_baseline(loaded, baseline, examples)
    if overwrite:  # the examples are new; nothing that was made from others may stay
        for stage in MADE_FROM_EXAMPLES:
            clear(output / stage)
    if resume and exists(trained):
        from steadyrank.pipeline.examples.compatibility import require_same

        with Staging() as staging:
            require_same(loaded, staging.read_file(trained / "config.yaml"), MADE_BY)
    else:
        halfway = resume and any_version(output / "train.partial")
        _train(loaded, examples, trained, halfway, overwrite)
    if not (resume and _is_exported(loaded, output / "export")):
        _export(loaded, trained, output / "export")
    folders = examples, output / "export", output / "evaluation"
    return _evaluate(loaded, *folders, baseline, "test", overwrite or resume)


@app.command(**BEAM)
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
    from steadyrank.pipeline.nightly import nightly as stage

    local(store)
    loaded, folder = load_any(config, settings, input), data or config.parent
    require_passable(loaded, baseline=True, stability=False)
    with terminal.progress() as bar:
        night = stage(loaded, folder, day, store, context.args, terminal.shown(bar))
    _say_night(night, store)
    if night["verdict"] != "PASS":
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
    from steadyrank.pipeline.evaluate import release as stage

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
    terminal.say(f"version {current['version']} ({current['verdict']}{forced}) in {to}")
    if current["withdrawn"]:
        why = "" if rollback else ", which no release had named: it was interrupted"
        terminal.say(f"withdrawn: {', '.join(map(str, current['withdrawn']))}{why}")


def _preprocess(
    loaded, config: Path, data, output, beam_flags, overwrite, **addition
) -> None:
    from steadyrank.pipeline.raw_log.rejected import explained

    stage = stage_of(loaded, "preprocess")
    folder = data or config.parent
    keep_apart(output, *log_of(loaded, folder))
    with terminal.console.status("preprocess"), Staging() as staging:
        local = staging.write(output, overwrite)
        how = {"overwrite": overwrite, **addition}
        manifest = stage(loaded, folder, local, beam_flags, **how)
    rows = manifest["rows"]
    rejected = sum(rows["rejected"].values())
    left_out = sum(rows.get("dropped", {}).values())
    parts = ", ".join(f"{s} {c['rows']:,}" for s, c in manifest["splits"].items())
    found = "".join(
        f", {1 - missing / manifest['joined']:.1%} found by {name}"
        for name, missing in manifest.get("unmatched", {}).items()
    )
    terminal.say(
        f"{rows['read']:,} rows read = {rows['written']:,} written ({parts}) + "
        f"{rows['duplicates']:,} duplicates + {rejected:,} rejected"
        f"{f' + {left_out:,} left out' if left_out else ''}{found}, in {output}"
    )
    for reason, count in rows["rejected"].items():
        example = explained(reason, manifest.get("samples", {}).get(reason))
        terminal.say(f"rejected: {reason}: {count:,}{example}")
    _say_of_files(manifest)
    for name in manifest.get("without_values", []):
        terminal.say(f"warning: feature {name} has no value in any training row")


def _say_of_files(manifest: dict) -> None:
    """What of the log was not read, or may be read otherwise than it was meant."""
    from steadyrank.pipeline.raw_log.findings import mixed

    why = Counter(manifest.get("passed_over", {}).values())
    if why:
        said = ", ".join(f"{count} {reason}" for reason, count in why.items())
        terminal.say(f"passed over: {said} (manifest.json names the files)")
    for name, paths in manifest.get("absent", {}).items():
        first = f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}"
        terminal.say(f"warning: column {name} is missing in {first}: null there")
    for name in mixed(manifest.get("spellings", {})):
        terminal.say(
            f"warning: column {name} holds whole numbers both as 107 and as 107.0, and "
            "other texts: the two stay two values"
        )


def _require_removable(output, log: list) -> None:
    """Raise where ``run --overwrite`` would remove what it did not write."""
    for stage in MADE_FROM_EXAMPLES:
        keep_apart(output / stage, *log)
        if isinstance(output, Path) and not stage.endswith(".partial"):
            refuse_existing(output / stage, overwrite=True)


def _require_made_for(loaded, examples) -> None:
    """Raise unless a run's examples are those of its config and of its input."""
    from steadyrank.pipeline.examples.compatibility import READ_LATER, require_made_for

    with Staging() as staging:
        path = staging.read_file(examples / "manifest.json")
        manifest = read_json(path, "an example set")
    free = READ_LATER | {"max_rejected", "keep_columns"}
    require_made_for(loaded, manifest, examples, free)


def _keeping(loaded, baseline):
    """The config of which the examples keep what a baseline reads."""
    if baseline is None or not isinstance(loaded, Config):
        return loaded
    from steadyrank.pipeline.evaluate.baseline import keep_for

    with Staging() as staging:
        return keep_for(loaded, staging.read_model(baseline))


def _require_baseline(loaded, baseline, examples) -> None:
    """Raise, before anything is trained, unless the baseline can be scored."""
    if baseline is None or not isinstance(loaded, Config):
        return
    from steadyrank.pipeline.evaluate.baseline import require_baseline
    from steadyrank.pipeline.examples.example_set import ExampleSet

    with Staging() as staging:
        held = ExampleSet.open(staging.read_examples(examples))
        require_baseline(staging.read_model(baseline), held, "test")


def _is_exported(loaded, output) -> bool:
    """Whether the latest export is stored, and answers, as the config says."""
    from steadyrank.pipeline.export.card import CARD, EXTRA, versions_of

    found = versions_at(output) if isinstance(output, Url) else versions_of(output)
    if not found:
        return False
    with Staging() as staging:
        path = staging.read_file(output / str(found[-1]) / EXTRA / CARD)
        made_with = read_json(path, "an export")["config"]
    settings = loaded.model_dump(mode="json")
    return all(settings.get(key) == made_with.get(key) for key in ("serving", "export"))


def _train(loaded, examples, output, resume, overwrite) -> None:
    stage, snapshots = stage_of(loaded, "train"), Snapshots(output)
    keep_apart(output, examples)
    if not (resume or overwrite):
        snapshots.require_none()
    with terminal.progress() as bar, Staging() as staging:
        local = staging.write(output, overwrite or resume)
        if resume:
            staging.resumable(output, local)
        summary = stage(
            loaded,
            staging.read_examples(examples),
            local,
            resume=resume,
            overwrite=overwrite,
            progress=terminal.shown(bar),
            saved=snapshots,
        )
    snapshots.clear()
    best = summary["best"]
    value = "was not defined" if best is None else f"{best:.4f}"
    terminal.say(
        f"{summary['steps']:,} steps, {summary['epochs']} epochs, best "
        f"{summary['monitor']} {value} on validation, in {output}"
    )


def _export(loaded, train: Path, output: Path) -> None:
    stage = stage_of(loaded, "export")
    with terminal.console.status("export"), Staging() as staging:
        version = stage(loaded, staging.read(train), staging.write_version(output))
        staging.send_version(version, output)
    terminal.say(f"SavedModel in {output / version.name}")


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
    keep_apart(output, examples, model, baseline, stability)
    with terminal.console.status("evaluate"), Staging() as staging:
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
    terminal.console.print(tables.metrics_table(result["metrics"]))
    terminal.console.print(tables.gates_table(result["gates"]))
    terminal.verdict(result["verdict"])
    if result["forced"]:
        terminal.say(f"forced: {result['forced']['reason']}")
    terminal.say(f"report: {output / 'report.html'}")
    return result["verdict"] == "PASS" or result["forced"] is not None


def _say_night(night: dict, store: Path) -> None:
    """What a night trained on, how it did beside the model it started from, and why."""
    terminal.console.print(tables.night_table(night))
    base = night["base"] or "fresh weights"
    if night.get("fresh"):
        base = f"fresh weights, not those of {base}: {night['fresh']}"
    terminal.say(f"trained on {', '.join(night['trained_on'])}, from {base}")
    for day in night.get("missing", ()):
        terminal.say(f"warning: no files of {day}; it is passed over")
    for reason in night["reasons"]:
        terminal.say(f"{night['verdict']}: {reason}")
    if night["left_out"]:
        because = night.get("left_out_because")
        why = f": {because}" if because else ""
        terminal.say(f"{night['left_out']} is left out of training from now on{why}")
    terminal.verdict(night["verdict"])
    folder = store / "nights" / night["day"]
    terminal.say(f"report: {folder / 'evaluation' / 'report.html'}")
