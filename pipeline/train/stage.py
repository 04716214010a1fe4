"""Examples to a trained model of any kind, under MirroredStrategy.

In: examples.  Out, published when training has ended: ``best/`` (the weights that did
best on the validation split), ``checkpoints/``, ``log.jsonl``, ``tensorboard/``,
``schema.json``, ``vocab/``, ``config.yaml`` and ``train.json``; of a kind that trains in
phases ``phases/<n>/``, each with its own ``best/`` and ``checkpoints/``.  Until then all
of that stands in ``<output>.partial``, where ``--resume`` finds it.

    steadyrank train --config C --examples DIR --output DIR [--resume]
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
import yaml

from steadyrank.components.environment import LARGE_BATCH, keep_freed_memory
from steadyrank.pipeline.config import load_same_config
from steadyrank.pipeline.config.cluster import require_one_machine
from steadyrank.pipeline.examples.compatibility import (
    require_made_for,
    require_same,
    what_makes,
)
from steadyrank.pipeline.files.durable import make_folders
from steadyrank.pipeline.files.errors import ExistsError, InputError, unwritable
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.publish import (
    read_json,
    refuse_existing,
    replace,
    write_json,
)
from steadyrank.pipeline.files.shapes import Sealed, Trained
from steadyrank.pipeline.files.versions import versions
from steadyrank.pipeline.kinds.protocol import Kind, Setting, require
from steadyrank.pipeline.metrics.samples import monitored_interval
from steadyrank.pipeline.tracking.tracked import (
    UNTRACKED,
    Tracked,
    require_tracking,
)
from steadyrank.pipeline.train.log import merged
from steadyrank.pipeline.train.reporter import Progress
from steadyrank.pipeline.train.run import TrainingRun
from steadyrank.pipeline.train.strategy import make_strategy
from steadyrank.pipeline.train.warm_start import (
    WARM_START_FILE,
    WarmStart,
    moved_lines,
    require_ancestor,
)
from steadyrank.pipeline.train.workers import ALONE, Workers

DONE = "done.json"  # in the folder of a phase that has ended
OF_THE_RUN = ("monitor", "parameters", "divergence")  # not of each phase


def train(
    config,
    examples_path: Path,
    output: Path,
    *,
    kind: Kind,
    resume: bool = False,
    overwrite: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
    saved: Callable[[Path], None] | None = None,
) -> dict:
    """Train a model on examples.

    Args:
        config: The run's config.
        examples_path: The examples.
        output: Where the trained model shall stand.
        kind: Of the model.
        resume: Whether to go on with an interrupted run, which replaces what it was to
            replace, or with one that has ended and whose ``train.epochs`` were raised
            since: on a CPU it ends with the very weights of one never interrupted.
        overwrite: Whether a trained model, or an interrupted run, may be replaced.
        strategy: The devices; None: all GPUs, or the CPU.
        workers: The processes that train together, each of which is to call this in
            their ``together``: the chief alone looks at the output and writes to it.
            None: there is one.
        progress: Called with steps done, steps in all and a line about how it goes.
        saved: Called after each checkpoint with the folder that ``resume`` goes on from.

    Returns:
        What ``train.json`` holds.

    Raises:
        InputError: The examples do not suit, or the output is there already.
        PassingError: Another process trains to it, or one of the workers was lost.
        DivergenceError: The loss diverged, and the config's policy is to stop or was
            exhausted; ``<output>.partial`` holds the log and the diagnosis.
    """
    if workers is None:
        require_one_machine("this command")
        workers = ALONE
    with contextlib.ExitStack() as held:
        examples = kind.open_examples(examples_path)
        schema = kind.agree(config, examples.schema)
        require_made_for(config, examples.manifest, examples.path)
        output = Path(output)

        def begin() -> dict:
            require_tracking(config)
            held.enter_context(alone(output))
            begun = _begin(
                kind,
                (config, schema, examples),
                output,
                resume=resume,
                overwrite=overwrite,
            )
            if workers.count > 1:
                _require_fresh(partial_of(output))
            return begun

        begun = workers.of_chief(begin)
        if not begun["ended"]:
            strategy = workers.strategy or strategy or make_strategy()
            if config.train.batch_size >= LARGE_BATCH:
                keep_freed_memory()
            work = partial_of(output)
            setting = Setting(config, schema, examples, work, strategy, workers)
            tracked = _tracked(setting, output)
            with tracked:
                told = {"progress": progress, "saved": saved, "tracked": tracked}
                summary = _train_phases(kind, setting, **told)
                tracked.ended(summary)
            if (lost := tracked.warning()) and progress is not None:
                progress(summary["steps"], 0, lost)
            summary |= tracked.told()
            workers.of_chief(lambda: write_json(work / "train.json", summary))

        def end() -> dict:
            replace(partial_of(output), output, overwrite or begun["goes_on"])
            return read_json(output / "train.json", "a trained model", Trained)

        return workers.of_chief(end)


def _begin(
    kind: Kind, inputs: tuple, output: Path, *, resume: bool, overwrite: bool
) -> dict:
    """Make ready the folder to work in; whether a run goes on, and whether it has ended."""
    goes_on = resume and output.exists()  # with it, or with what was to replace it
    refuse_existing(output, overwrite or goes_on)
    if goes_on and not has_begun(output):
        _reopen(kind, inputs[0], output)
    work = work_folder(output, resume, overwrite)
    ended = (work / "train.json").exists()
    if not ended:
        write_inputs(*inputs, work)
    return {"goes_on": goes_on, "ended": ended}


def _tracked(setting: Setting, output: Path) -> Tracked:
    """The run of MLflow, of the one that tells it."""
    if not setting.workers.is_chief:
        return UNTRACKED
    tags = {"examples": setting.schema.fingerprint}
    return Tracked.of_training(setting.config, setting.work, output, tags)


def _require_fresh(work: Path) -> None:
    """Raise where a run starts from another's weights, which one process reads."""
    if WarmStart.read(work):
        raise InputError(
            f"{work} goes on from the weights of another run (a night): such a training is "
            "for one machine. Unset TF_CONFIG."
        )


def _train_phases(kind: Kind, setting: Setting, **told: Any) -> dict:
    """Train phase after phase; what ``train.json`` holds."""
    workers = setting.workers
    ended: list[dict] = []
    sampled: dict = {}
    phases = kind.phases(setting)
    for phase in phases:
        done = phase.folder / DONE
        before = workers.of_chief(lambda done=done: _ended(done))
        if before is not None:
            ended.append(before)
            continue
        offset = sum(each["steps"] for each in ended)
        run = TrainingRun(kind, setting, phase, offset=offset, **told)
        ended.append({**run.train(), "monitor": run.monitor})
        sampled = _sampled(kind, run) if phase is phases[-1] else {}
        if phase.number is not None:
            workers.of_chief(lambda done=done: write_json(done, ended[-1]))
    if phase.number is None:
        return {**_summary(setting, ended), **sampled}
    workers.of_chief(lambda: _keep_best(phase.folder, setting.work))
    own = [{n: v for n, v in each.items() if n not in OF_THE_RUN} for each in ended]
    return {**_summary(setting, ended), **sampled, "phases": own}


def _ended(done: Path) -> dict | None:
    """What became of a phase; None: it has not ended."""
    return read_json(done, "an interrupted run", Trained) if done.exists() else None


def _keep_best(phase: Path, work: Path) -> None:
    shutil.rmtree(work / "best", ignore_errors=True)
    shutil.copytree(phase / "best", work / "best")


def _sampled(kind: Kind, run: TrainingRun) -> dict:
    """How sure the metrics of the weights that were kept are, on validation.

    What was drawn of them stays beside the weights: a sweep compares its trials by it.
    """
    run.take_best()
    found = run.learner.sample()

    def told() -> dict:
        if found is None:
            return {}
        results, samples = found
        samples.write(run.work)
        interval = monitored_interval(kind, results, samples, run.monitor)
        return {"best_interval": interval, "validation": results}

    return run.workers.of_chief(told)


def _summary(setting: Setting, ended: list[dict]) -> dict:
    last, start = ended[-1], WarmStart.read(setting.work)
    return {
        "steps_before": start.steps if start else 0,  # of the run that it went on from
        "fingerprint": setting.schema.fingerprint,
        "epochs": sum(each["epochs"] for each in ended),
        "steps": sum(each["steps"] for each in ended),
        "batch_size": setting.config.train.batch_size,
        "monitor": last["monitor"],
        "best": last["best"],
        **{name: last[name] for name in ("averaged",) if name in last},
        "still_rising": last.get("still_rising", False),
        "parameters": last["parameters"],
        "replicas": setting.strategy.num_replicas_in_sync,
        "divergence": merged([each["divergence"] for each in ended]),
        "rollbacks": sum(each["rollbacks"] for each in ended),
        "versions": versions(),
    }


def _reopen(kind: Kind, config, output: Path) -> None:
    """Make an interrupted run of one that has ended, for it to go on to more epochs.

    Raises:
        InputError: Anything but ``train.epochs`` is another than it was, or there are no
            more of them, or the rates fell to 0 at the end of what was trained.
    """
    require(kind.name, "more epochs")
    epochs = load_same_config(config, output / "config.yaml").train.epochs
    if config.train.epochs <= epochs:
        raise InputError(
            f"{output} has ended. --resume goes on with it where train.epochs is above "
            f"{epochs} and all else is as {output / 'config.yaml'} says. Received: "
            f"{config.train.epochs} epochs. Else choose another --output, or --overwrite."
        )
    as_before = config.train.model_copy(update={"epochs": epochs})
    as_before = config.model_copy(update={"train": as_before})
    require_same(as_before, output / "config.yaml", what_makes(config))
    if config.train.decay != "none":
        raise InputError(
            f"{output} has ended, and train.decay {config.train.decay} ended its rates "
            "with it: more epochs need a training from the start (--overwrite)."
        )
    work = partial_of(output)
    fresh = work.with_name(work.name + ".fresh")
    for left in (fresh, work):  # by a step that was interrupted or refused
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(output, fresh)
    (fresh / "train.json").unlink()
    (fresh / "config.yaml").write_text(config_text(config), encoding="utf-8")
    fresh.rename(work)


def config_text(config) -> str:
    """A config as the YAML file that stands beside its results."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def prepare_warm_start(
    config,
    examples_path: Path,
    trained: Path,
    output: Path,
    *,
    kind: Kind,
    windows: Sequence[str] | None = None,
) -> None:
    """Make a run that starts from another's last checkpoint; ``train`` resumes it.

    Args:
        config: The run's config.
        examples_path: The example set: the one of the other run, or one grown from it.
        trained: What ``train`` published.
        output: Where the trained model shall stand.
        kind: Of the model.
        windows: The training windows to see; None: all.

    Raises:
        InputError: The examples did not grow from those of the other run, which has
            another model, or no whole checkpoint; or the output is there already.
    """
    examples: Any = kind.open_examples(examples_path)  # of windows
    schema, trained = kind.agree(config, examples.schema), Path(trained)
    windows = tuple(examples.windows("train")) if windows is None else tuple(windows)
    examples.only(windows)
    start = WarmStart.of(trained, windows)
    before = kind.read_schema(start.schema, trained / "schema.json")
    folders = trained / "vocab", examples.path / "vocab"
    require_ancestor(before, schema, folders)
    start = dataclasses.replace(start, moved=moved_lines(before, schema, folders))
    refuse_existing(output, False)
    work = work_folder(Path(output), False, False)
    write_inputs(config, schema, examples, work)
    start.write(work)


def partial_of(output: Path) -> Path:
    """Where a run writes until it has ended."""
    return output.with_name(output.name + ".partial")


def has_begun(output: Path) -> bool:
    """Whether a run that has not ended left something to go on from: a checkpoint.

    One that was refused, or killed before its first one, leaves only its inputs.
    """
    work = partial_of(output)
    return (work / WARM_START_FILE).exists() or any(work.rglob("ckpt-*.index"))


def work_folder(output: Path, resume: bool, overwrite: bool) -> Path:
    """The folder of a run that goes on, or begins; that of one that begins is not there.

    Raises:
        InputError: There is nothing to go on with, or what has begun would be lost.
    """
    work, begun = partial_of(output), has_begun(output)
    if resume and not work.exists():
        raise InputError(f"{work}: no interrupted run to go on with; leave out --resume.")
    if begun and not (resume or overwrite):
        raise ExistsError(
            f"{work} holds an interrupted run. Pass --resume to go on with it, or "
            "--overwrite to start again."
        )
    if work.exists() and not (resume and begun):
        shutil.rmtree(work)
    return work


def write_inputs(config, schema, examples, work: Path) -> None:
    """Put beside the weights what they belong to; refuse to go on with something else."""
    text = config_text(config)
    if work.exists():
        found = read_json(work / "schema.json", "an interrupted run", Sealed)
        found = found["fingerprint"]
        if found != schema.fingerprint:
            raise InputError(
                f"{work} was trained on other examples (fingerprint {found[:12]}, these "
                f"have {schema.fingerprint[:12]}). Start again with --overwrite."
            )
        if (work / "config.yaml").read_text(encoding="utf-8") != text:
            require_same(config, work / "config.yaml", what_makes(config))
        return
    try:
        make_folders(work)
    except OSError as error:
        raise unwritable(work, error) from None
    shutil.copytree(examples.path / "vocab", work / "vocab")
    shutil.copy(examples.path / "manifest.json", work / "examples.json")
    write_json(work / "schema.json", schema.to_dict())
    (work / "config.yaml").write_text(text, encoding="utf-8")
