"""A sweep: many trainings with other settings, the best of which becomes a config.

In: a config with a section ``sweep`` (or a file that holds one) and its examples.  Out:
``results.json``, ``report.html``, ``best.yaml``, which ``run`` takes as it is, and
``trials/`` with the folder of each trial.

    steadyrank sweep --config C --sweep S --examples DIR --output DIR [--workers N]

By hand on several machines that share the output folder: the same command with
``KERASTUNER_TUNER_ID=chief`` on one, another id on each of the others, and
``KERASTUNER_ORACLE_IP`` and ``KERASTUNER_ORACLE_PORT`` of the chief everywhere.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import yaml
from keras_tuner.errors import FatalError
from keras_tuner.src.distribute import oracle_client

from steadyrank.pipeline.config import Config, parse_any_config, read_document
from steadyrank.pipeline.config.cluster import require_one_machine
from steadyrank.pipeline.examples.compatibility import require_made_for, what_makes
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    ExistsError,
    InputError,
    PassingError,
    unwritable,
)
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.publish import read_json, write_json
from steadyrank.pipeline.kinds import kind_of
from steadyrank.pipeline.kinds.protocol import require
from steadyrank.pipeline.report.sweep import write_sweep_report
from steadyrank.pipeline.studies.sweep.chief import (
    ADDRESS,
    LEASE_SECONDS,
    PORT,
    TUNER_ID,
    Worker,
    free_port,
    serve,
)
from steadyrank.pipeline.studies.sweep.oracles import make_oracle
from steadyrank.pipeline.studies.sweep.results import Results, best_document, rows_of
from steadyrank.pipeline.studies.sweep.space import Space
from steadyrank.pipeline.studies.sweep.trial import run_trial, weights_of
from steadyrank.pipeline.studies.sweep.tuner import (
    FATAL,
    PROJECT,
    SweepTuner,
    TrialFunction,
)
from steadyrank.pipeline.tracking.tracked import require_tracking

STATE = "sweep.json"
BEST = "best.yaml"
CHIEF_SECONDS = 120  # a worker waits for its chief; KerasTuner waits for an hour
THREADS = "TF_NUM_INTRAOP_THREADS"

Progress = Callable[[list[dict]], None]


def read_sweep(document: dict, sweep_path: Path | None, folder: Path, source: str) -> Space:
    """Check a config, its sweep, and every value of its space.

    Args:
        document: The config as a dictionary; its paths become absolute.
        sweep_path: A file with the key ``sweep`` alone, in place of the config's own.
        folder: What its paths are relative to.
        source: Where it is from, for messages.

    Raises:
        InputError: The file or what they say will not do.
    """
    if sweep_path is not None:
        found = read_document(sweep_path)
        if list(found) != ["sweep"]:
            raise InputError(
                f"{sweep_path} must hold the key sweep alone. Received: {sorted(found)}."
            )
        document |= found
    _absolute_inputs(document, folder)
    config = parse_any_config(document, source)
    if config.sweep is None:
        raise InputError(
            f"config {source} has no section sweep: add one, or pass --sweep FILE "
            "(configs/sweeps has some)."
        )
    _check(config)
    return Space(document, config.sweep)


def _absolute_inputs(document: dict, folder: Path) -> None:
    """Let the best config, which stands elsewhere, find what stands beside this one."""
    data = document.get("data")
    if not isinstance(data, dict):
        return
    joins, split = data.get("join"), data.get("split")
    for section, key in ((data, "input"), (data, "earlier_events"), (split, "files")):
        paths = section.get(key) if isinstance(section, dict) else None
        if isinstance(paths, list):
            section[key] = [_absolute(path, folder) for path in paths]
    for join in joins if isinstance(joins, list) else ():
        if isinstance(join, dict) and "input" in join:
            join["input"] = _absolute(join["input"], folder)


def _absolute(path: object, folder: Path) -> object:
    found = isinstance(path, str) and not Path(path).is_absolute()
    return str((folder / path).absolute()) if found and any(folder.glob(path)) else path


def _check(config: Config) -> None:
    """What the sweep and the rest of the config may not do together."""
    kind, sweep = kind_of(config), config.sweep
    asked = {
        "hyperband": sweep.method == "hyperband",
        "sweep.score": sweep.score,
        "min_margin": sweep.constraint.min_margin is not None,
    }
    for what in (name for name, is_asked in asked.items() if is_asked):
        require(kind.name, what)
    weights_of(sweep.objective, kind.tasks(config))
    require_tracking(config)
    if config.sweep.objective.metric == "gauc" and config.data.group is None:
        raise InputError(
            "sweep.objective.metric: gauc needs data.group, the users. Received: no group. "
            "Name their column in it, or take another metric."
        )
    if config.sweep.method == "hyperband" and config.train.decay != "none":
        raise InputError(
            "sweep.method: hyperband goes on with trials that ended, and the rates of "
            f"train.decay {config.train.decay} end with them. Set train.decay to none."
        )


def sweep(
    space: Space,
    examples_path: Path,
    output: Path,
    *,
    train_path: Path | None = None,
    command: Sequence = (),
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda rows: None,
    run: TrialFunction | None = None,
    lease: float = LEASE_SECONDS,
) -> dict | None:
    """Run the trials of a sweep.

    Args:
        space: From ``read_sweep``.
        examples_path: The example set.
        output: The sweep's folder.
        train_path: For a score: the trained model whose predictions are ranked.
        command: What starts a worker, where there are several.
        workers: Trials at once on this machine.
        resume: Whether to go on with what stands in ``output``.
        overwrite: Whether to replace it.
        progress: Called with a row a trial, while they run.
        run: Runs a trial; None: training, or for a score a look at the predictions.
        lease: Seconds without a sign of life after which a worker counts as dead.

    Returns:
        What ``results.json`` holds; None from a worker.

    Raises:
        InputError: Something does not suit, or a trial's config was refused.
        DivergenceError: Every trial diverged.
        PassingError: A trial could not go on for now.
    """
    require_one_machine("sweep")
    if workers < 1:
        raise InputError(
            f"--workers must be at least 1. Received: {workers}. Leave it out for 1."
        )
    output, role = Path(output).absolute(), _role()
    run = run or _trial_function(space, examples_path, train_path)
    with contextlib.nullcontext() if role == "worker" else alone(output):
        if role != "worker":
            _prepare(output, space, resume, overwrite)
        return _sweep(
            space,
            output,
            role,
            command,
            workers=workers,
            progress=progress,
            run=run,
            lease=lease,
        )


def _sweep(space, output, role, command, *, workers, progress, run, lease) -> dict | None:
    settings, first = space.sweep, space.own()
    oracle = make_oracle(settings, space.hyperparameters(), first and space.encode(first))
    with _environment(output, workers if role == "alone" else 0):
        tuner = SweepTuner(oracle, space, run, output)
        if role == "worker":
            _work(tuner)
            return None
        tuner.save()

        def look() -> None:
            progress(rows_of(oracle, tuner))

        if role == "alone" and workers == 1:
            tuner.run = _looking(run, look)
            _search(tuner)
        else:
            started = _start_workers(command, workers if role == "alone" else 0, output)
            serve(oracle, output, started, look, lease=lease)
        look()
    reference = run.of_config() if space.sweep.score else None
    results = Results.of(oracle, tuner, first, reference)
    return _conclude(space, results, output)


def _trial_function(space: Space, examples_path: Path, train: Path | None) -> TrialFunction:
    kind = kind_of(space.config)
    examples = kind.open_examples(examples_path)
    kind.agree(space.config, examples.schema)
    require_made_for(space.config, examples.manifest, examples.path)
    if space.sweep.score:
        if train is None:
            raise InputError(
                "sweep.score ranks by a trained model. Received: none. Pass --train DIR."
            )
        from steadyrank.pipeline.studies.sweep.score import (
            ScoreTrials,  # TensorFlow, which others spare
        )

        return ScoreTrials(space, examples, Path(train))
    if train is not None:
        raise InputError(
            f"--train is for a sweep with a score; this one trains. Received: {train}. "
            "Leave it out, or give the sweep a score."
        )
    path = Path(examples_path).absolute()

    def run(folder, values, epochs, source, *, beat):
        document = space.apply(values)
        if epochs is not None:
            document["train"] = {**document.get("train", {}), "epochs": epochs}
        config = parse_any_config(document, f"of {folder.name}")
        config = config.model_copy(update={"sweep": space.sweep})
        return run_trial(folder, document, config, path, source=source, beat=beat)

    return run


def _role() -> str:
    if ADDRESS not in os.environ:
        return "alone"
    lacking = [name for name in (PORT, TUNER_ID) if name not in os.environ]
    if lacking:
        raise InputError(f"{ADDRESS} is set; set {' and '.join(lacking)}, too.")
    return "chief" if "chief" in os.environ[TUNER_ID] else "worker"


def _prepare(output: Path, space: Space, resume: bool, overwrite: bool) -> None:
    """Make the folder, or see that what stands in it is this sweep."""
    state = {"sweep": space.sweep.model_dump(mode="json")}
    state["config"] = what_makes(space.config)
    known = (output / STATE).exists()
    if known and resume:
        if read_json(output / STATE, "a sweep") != state:
            raise InputError(
                f"{output} was started with another config or sweep. Go on with that "
                "one, or start again with --overwrite."
            )
    elif known and not overwrite:
        raise ExistsError(
            f"{output} holds a sweep. Pass --resume to go on with it, or --overwrite to "
            "start again."
        )
    elif resume:
        raise InputError(f"{output}: no sweep to go on with; leave out --resume.")
    else:
        shutil.rmtree(output / PROJECT, ignore_errors=True)
    try:
        (output / PROJECT).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(output, error) from None
    (output / FATAL).unlink(missing_ok=True)
    write_json(output / STATE, state)


@contextlib.contextmanager
def _environment(output: Path, workers: int) -> Iterator[None]:
    """KerasTuner's variables of a chief, and the processor's cores shared out."""
    before = dict(os.environ)
    if workers > 1:
        os.environ |= {ADDRESS: "127.0.0.1", PORT: str(free_port()), TUNER_ID: "chief"}
        os.environ.setdefault(THREADS, str(max(1, (os.cpu_count() or 1) // workers)))
    try:
        yield
    finally:
        for name in (ADDRESS, PORT, TUNER_ID, THREADS):
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]


def _start_workers(command: Sequence, count: int, output: Path) -> list[Worker]:
    names = [f"worker-{number}" for number in range(count)]
    return [Worker(name, command, {}, output / f"{name}.log") for name in names]


def _looking(run: TrialFunction, look: Callable[[], None]) -> TrialFunction:
    """A trial function that shows the table while it runs."""

    def looking(folder, values, epochs, source, *, beat):
        def both() -> None:
            beat()
            look()

        look()
        return run(folder, values, epochs, source, beat=both)

    return looking


def _search(tuner: SweepTuner) -> None:
    try:
        tuner.search()
    except FatalError as error:
        if isinstance(error.__cause__, PassingError):
            raise error.__cause__ from None
        raise InputError(str(error)) from error


def _work(tuner: SweepTuner) -> None:
    """Be a worker until the chief has nothing left, or is gone."""
    oracle_client.TIMEOUT = CHIEF_SECONDS
    try:
        _search(tuner)
    except grpc.RpcError as error:
        where = f"{os.environ[ADDRESS]}:{os.environ[PORT]}"
        raise InputError(
            f"the chief at {where} does not answer: {error.code()}. Start it first; its "
            "port must be reachable from here."
        ) from None


def _conclude(space: Space, results: Results, output: Path) -> dict:
    """Write what the sweep found."""
    found = results.document(space.sweep)
    write_json(output / "results.json", found)
    write_sweep_report(output / "report.html", found)
    if results.highest is None:
        (output / BEST).unlink(missing_ok=True)
        counts = ", ".join(f"{n} {what}" for what, n in results.counts().items())
        message = f"no trial of {output} was completed: {counts}. trials/ has their logs."
        if set(results.counts()) == {"diverged"}:
            raise DivergenceError(message)
        raise InputError(message)
    text = yaml.safe_dump(
        best_document(space, results.best), sort_keys=False, allow_unicode=True
    )
    which = f"Trial {results.best['trial']}" if results.best else "The config's own score"
    said = f"# {which} of a sweep: {found['objective']} {found['best_value']:.5f} on "
    said += f"validation.\n# {found['verdict']}\n"
    (output / BEST).write_text(said + text, encoding="utf-8")
    return found


def worker_command(arguments: Sequence) -> list:
    """What starts a worker: this command line's stage in a process of its own."""
    return [sys.executable, "-m", "steadyrank", "sweep", *arguments]
