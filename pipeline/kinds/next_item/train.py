"""Sequences to a trained next-item model, phase by phase, under MirroredStrategy.

In: a set of sequences.  Out, published when the last phase has ended: ``best/`` (the
weights of the last phase that did best on validation), ``phases/<n>/`` (each with its own
``best/`` and ``checkpoints/``), ``log.jsonl``, ``schema.json``, ``vocab/``,
``config.yaml`` and ``train.json``.  Until then all of that stands in ``<output>.partial``,
where ``--resume`` finds it.

    steadyrank train --config C --examples DIR --output DIR [--resume]
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.examples.compatibility import require_made_for
from steadyrank.pipeline.files.errors import DivergenceError, InputError
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.publish import (
    read_json,
    refuse_existing,
    replace,
    write_json,
)
from steadyrank.pipeline.files.versions import versions
from steadyrank.pipeline.kinds.next_item.example_set import SequenceSchema, SequenceSet
from steadyrank.pipeline.kinds.next_item.gates import divergence_by_phase
from steadyrank.pipeline.kinds.next_item.model import (
    build,
    grown,
    load_weights,
    trained_before,
)
from steadyrank.pipeline.kinds.next_item.training_run import MONITOR, PhaseRun, Progress
from steadyrank.pipeline.train.log import LOG_FILE, read_lines
from steadyrank.pipeline.train.model import parameter_counts
from steadyrank.pipeline.train.stage import has_begun, work_folder, write_inputs
from steadyrank.pipeline.train.strategy import make_strategy

DONE = "done.json"


def train(
    config: SequenceConfig,
    examples_path: Path,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    strategy: tf.distribute.Strategy | None = None,
    progress: Progress | None = None,
    saved: Callable[[Path], None] | None = None,
) -> dict:
    """Train a next-item model; see ``pipeline.train.stage``.

    Args:
        config: The run's config.
        examples_path: The set of sequences.
        output: Where the trained model shall stand.
        resume: Whether to go on with an interrupted run, in the phase it was in.
        overwrite: Whether a trained model, or an interrupted run, may be replaced.
        strategy: The devices; None: all GPUs, or the CPU.
        progress: Called with steps done, steps in all and a line about how it goes.
        saved: Called after each phase with the folder that ``resume`` goes on from.

    Returns:
        What ``train.json`` holds.

    Raises:
        InputError: The sequences do not suit, or the output is there already.
        PassingError: Another process trains to it.
        DivergenceError: The loss diverged, and the config's policy is to stop or was
            exhausted.
    """
    examples = SequenceSet.open(examples_path)
    schema = _agree(config, examples.schema)
    require_made_for(config, examples.manifest, examples.path)
    output = Path(output)
    with alone(output):
        goes_on = resume and has_begun(output)
        refuse_existing(output, overwrite or goes_on)
        work = work_folder(output, resume, overwrite)
        write_inputs(config, schema, examples, work)
        strategy, progress = strategy or make_strategy(), progress or (lambda *_: None)
        saved = saved or (lambda _: None)
        _run_phases(config, schema, examples, work, strategy, progress, saved)
        replace(work, output, overwrite or goes_on)
    return read_json(output / "train.json", "a trained model")


def _run_phases(config, schema, examples, work, strategy, progress, saved) -> None:
    rows, validation = examples.read("train")[0], examples.read("validation")[0]
    phases = []
    for number in range(len(config.train.phases)):
        done = work / "phases" / str(number) / DONE
        if not done.exists():
            offset = sum(phase["steps"] for phase in phases)
            parts = _part(config, number, rows), validation
            try:
                _run(config, schema, work, number, parts, offset, strategy, progress)
            except DivergenceError:
                saved(work)  # with what is known of it
                raise
            saved(work)
        phases.append(read_json(done, "an interrupted run"))
    _finish(config, schema, work, phases, strategy)


def _agree(config: SequenceConfig, schema: SequenceSchema) -> SequenceSchema:
    length = config.data.sequences.length
    if length != schema.length:
        raise InputError(
            f"data.sequences.length is {length} in the config, but the sequences were "
            f"made with {schema.length}. Preprocess the log with this config."
        )
    return schema


def _part(config: SequenceConfig, number: int, rows: np.ndarray) -> np.ndarray:
    """The share of the training sequences that a phase sees; smaller ones are in it."""
    count = max(1, round(config.train.phases[number].data_fraction * len(rows)))
    random = np.random.default_rng(config.train.seed)
    return rows[random.permutation(len(rows))[:count]]


def _run(config, schema, work, number, parts, offset, strategy, progress) -> None:
    """Train one phase to its end, and say so in its folder."""
    folder, phase = work / "phases" / str(number), config.train.phases[number]
    folder.mkdir(parents=True, exist_ok=True)
    with strategy.scope():
        model = grown(start(config, schema, work, number), phase)
    setting = (config, schema, number, model, folder, work / LOG_FILE, strategy)
    total = _steps(config, number, len(parts[0]))

    def report(step: int, text: str, passing: bool = False):
        name = f"phase {number + 1} of {len(config.train.phases)}, {phase.blocks} blocks"
        end = offset + total if total else step
        progress(step, end if passing else 0, f"{name}: {text}")

    write_json(folder / DONE, PhaseRun(*setting).train(*parts, offset, report))


def start(config: SequenceConfig, schema: SequenceSchema, work: Path, number: int):
    """What a phase grows from: fresh weights, another run's, or the phase before."""
    phases = config.train.phases
    if number:
        model = build(config, schema, phases[number - 1].blocks)
        load_weights(model, work / "phases" / str(number - 1) / "best")
        return model
    if config.train.start_from is not None:
        return trained_before(config, schema, work / "vocab")
    return build(config, schema, phases[0].blocks)


def _steps(config: SequenceConfig, number: int, rows: int) -> int | None:
    """The most steps that a phase can take; None: it ends when it has converged."""
    phase, per_epoch = config.train.phases[number], -(-rows // config.train.batch_size)
    limits = [phase.steps, phase.epochs and phase.epochs * per_epoch]
    return min((limit for limit in limits if limit), default=None)


def _finish(config, schema, work: Path, phases: list[dict], strategy) -> None:
    """The last phase's best weights, and what ``train.json`` holds."""
    shutil.rmtree(work / "best", ignore_errors=True)
    shutil.copytree(work / "phases" / str(len(phases) - 1) / "best", work / "best")
    model = build(config, schema, phases[-1]["blocks"])
    summary = {
        "fingerprint": schema.fingerprint,
        "epochs": sum(phase["epochs"] for phase in phases),
        "steps": sum(phase["steps"] for phase in phases),
        "batch_size": config.train.batch_size,
        "monitor": MONITOR,
        "best": phases[-1]["best"],
        "phases": phases,
        "parameters": parameter_counts(model),
        "replicas": strategy.num_replicas_in_sync,
        "divergence": divergence_by_phase(read_lines(work / LOG_FILE)),
        "rollbacks": sum(phase["rollbacks"] for phase in phases),
        "versions": versions(),
    }
    write_json(work / "train.json", summary)
