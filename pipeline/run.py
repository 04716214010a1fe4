"""From a raw log to a verdict: each stage in the places of a user, and all in order.

A stage itself (``kinds.stage_of``) works in local folders.  Here it gets the rest: inputs
are fetched and outputs sent where they are URLs, an output takes the place of no input,
and what became of it comes back as a small result.
"""

import contextlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyrank.pipeline.config.cluster import cluster, require_one_machine
from steadyrank.pipeline.config.given import AnyConfig, inputs_of
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.places import Place, keep_apart
from steadyrank.pipeline.files.publish import read_json, refuse_existing
from steadyrank.pipeline.files.shapes import Card, Manifest
from steadyrank.pipeline.files.staging import Snapshots, Staging
from steadyrank.pipeline.files.urls import Url, locate, within
from steadyrank.pipeline.files.whole_folders import any_version, clear, exists, versions_at
from steadyrank.pipeline.kinds import kind_of, stage_of
from steadyrank.pipeline.kinds.results import (
    EvaluateResult,
    ExportResult,
    PreprocessResult,
    TrainResult,
)
from steadyrank.pipeline.preflight import (
    require_baseline_fits,
    require_output,
    require_passable,
)
from steadyrank.pipeline.tracking.tracked import require_tracking

# what a trained model hangs on; gates and the like may change between two runs of `run`
MADE_BY = ("data", "features", "tasks", "score", "model", "train")
MADE_FROM_EXAMPLES = ("train", "train.partial", "export", "evaluation")  # in a run


class Progress:
    """What a caller sees of a command while it works: nothing.

    A subclass overrides what it wants to see.
    """

    def stage(self, name: str) -> AbstractContextManager[Any]:
        """Entered when a stage begins to work, and left when it has ended or failed."""
        return contextlib.nullcontext()

    def step(self, step: int, total: int, text: str) -> None:
        """A stage got on: steps done, steps in all (0: it does not count), and a line."""

    def trials(self, rows: list[dict[str, Any]]) -> None:
        """A sweep got on: a row a trial."""

    def ended(self, result: object) -> None:
        """A stage of ``run`` ended: what that stage gives back when it is run alone."""


SILENT = Progress()


@dataclass(frozen=True)
class RunResult:
    """What a run made, or kept.

    Attributes:
        output: The run.
        preprocess: None: examples were kept.
        train: None: a trained model was kept.
        export: The export that was judged.
        evaluate: How.
    """

    output: Place
    preprocess: PreprocessResult | None
    train: TrainResult | None
    export: ExportResult
    evaluate: EvaluateResult

    @property
    def verdict(self) -> str:
        """``"PASS"``, ``"HOLD"`` or ``"REFUSE"``."""
        return self.evaluate.verdict

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What ``metrics.json`` holds."""
        return self.evaluate.metrics

    @property
    def report(self) -> Place:
        """The page that shows it all."""
        return self.evaluate.report


def preprocess(
    config: AnyConfig,
    output: Place,
    *,
    folder: Place,
    overwrite: bool = False,
    append: bool = False,
    beam_flags: Iterable[str] = (),
    progress: Progress = SILENT,
) -> PreprocessResult:
    """Turn the log of ``folder`` into examples."""
    from steadyrank.pipeline.preprocess.plan import Addition

    with Staging() as base:
        addition = Addition(base.read(output) if append else None)
        stage = stage_of(config, "preprocess")
        keep_apart(output, *log_of(config, folder))
        require_output(output)
        with progress.stage("preprocess"), Staging() as staging:
            manifest = stage(
                config,
                folder,
                staging.write(output, overwrite or append),
                beam_flags=beam_flags,
                overwrite=overwrite or append,
                addition=addition,
            )
    return PreprocessResult.of(output, manifest)


def train(
    config: AnyConfig,
    examples: Place,
    output: Place,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a model on examples, with the other processes of ``TF_CONFIG``, if any."""
    from steadyrank.pipeline.train.workers import join  # brings TensorFlow

    stage, snapshots = stage_of(config, "train"), Snapshots(output)
    keep_apart(output, examples)
    machines = cluster()
    with progress.stage("machines") if machines else contextlib.nullcontext():
        workers = join(machines, lambda text: progress.step(0, 0, text))
    with workers.together():
        with progress.stage("train"), Staging() as staging:
            local = staging.stand_in(output)

            def begin() -> None:
                require_output(output)
                if not (resume or overwrite):
                    snapshots.require_none()
                staging.write(output, overwrite or resume, local)
                if resume:
                    staging.resumable(output, local)

            workers.of_chief(begin)
            summary = stage(
                config,
                staging.read_examples(examples),
                local,
                resume=resume,
                overwrite=overwrite,
                progress=progress.step,
                saved=snapshots,
                workers=workers,
            )
        workers.of_chief(snapshots.clear)  # when all is where it belongs
    return TrainResult.of(output, summary)


def export(
    config: AnyConfig, trained: Place, output: Place, *, progress: Progress = SILENT
) -> ExportResult:
    """Export a trained model under the next version number."""
    stage = stage_of(config, "export")
    with progress.stage("export"), Staging() as staging:
        version = stage(config, staging.read(trained), staging.write_version(output))
        staging.send_version(version, output)
    return ExportResult(output / version.name, int(version.name))


def evaluate(
    config: AnyConfig,
    examples: Place,
    model: Place,
    output: Place,
    *,
    baseline: Place | None = None,
    stability: Place | None = None,
    split: str = "test",
    force: str | None = None,
    predictions: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Measure an export and judge it."""
    if force is None:
        given = {"baseline": bool(baseline), "stability": bool(stability)}
        require_passable(config, **given, split=split)
    stage = stage_of(config, "evaluate")
    keep_apart(output, examples, model, baseline, stability)
    require_output(output)
    with progress.stage("evaluate"), Staging() as staging:
        theirs = staging.read_model(baseline)
        if force is None:
            require_baseline_fits(config, theirs)
        found = stage(
            config,
            staging.read_examples(examples),
            staging.read_model(model),
            staging.write(output, overwrite),
            baseline_path=theirs,
            stability_path=staging.read(stability),
            split=split,
            force=force,
            predictions=predictions,
            overwrite=overwrite,
            progress=progress.step,
        )
    return EvaluateResult.of(output, found)


def run(
    config: AnyConfig,
    output: Place,
    *,
    folder: Place,
    baseline: Place | None = None,
    resume: bool = False,
    overwrite: bool = False,
    beam_flags: Iterable[str] = (),
    progress: Progress = SILENT,
) -> RunResult:
    """All stages, from the log of ``folder`` to a verdict on its test split."""
    require_one_machine("run")
    if resume and overwrite:
        raise InputError(
            "--resume keeps what is there, --overwrite does not. Received: both: choose "
            "one."
        )
    require_passable(config, baseline=bool(baseline), stability=False)
    require_tracking(config)
    require_output(output)
    examples, trained, exports = (output / n for n in ("examples", "train", "export"))
    preprocessed, training = None, None
    with alone(output):
        keeping = _keeping(config, baseline)
        if overwrite:
            _require_removable(output, log_of(config, folder))
        if resume and exists(examples):
            _require_made_for(config, examples)
        else:
            preprocessed = preprocess(
                keeping,
                examples,
                folder=folder,
                overwrite=overwrite,
                beam_flags=beam_flags,
                progress=progress,
            )
            progress.ended(preprocessed)
        _require_baseline(config, baseline, examples)
        if overwrite:  # the examples are new; nothing that was made from others may stay
            for name in MADE_FROM_EXAMPLES:
                clear(output / name)
        if resume and exists(trained):
            _require_trained_for(config, trained)
        else:
            training = train(
                config,
                examples,
                trained,
                resume=resume and any_version(output / "train.partial"),
                overwrite=overwrite,
                progress=progress,
            )
            progress.ended(training)
        exported = _exported(config, exports) if resume else None
        if exported is None:
            exported = export(config, trained, exports, progress=progress)
            progress.ended(exported)
        judged = evaluate(
            config,
            examples,
            exports,
            output / "evaluation",
            baseline=baseline,
            overwrite=overwrite or resume,
            progress=progress,
        )
        progress.ended(judged)
    return RunResult(
        output=output,
        preprocess=preprocessed,
        train=training,
        export=exported,
        evaluate=judged,
    )


def log_of(config: AnyConfig, folder: Place) -> list[Place]:
    """What preprocessing reads: the patterns of the log, and its side tables."""
    return [locate(within(folder, path)) for path in inputs_of(config)]


def _require_removable(output: Place, log: list[Place]) -> None:
    """Raise where ``run --overwrite`` would remove what it did not write, or may not."""
    for stage in MADE_FROM_EXAMPLES:
        keep_apart(output / stage, *log)
        if isinstance(output, Path) and not stage.endswith(".partial"):
            refuse_existing(output / stage, overwrite=True)
    if exists(output / "train.partial"):
        with alone(output / "train"):  # whoever trains there is not to lose the examples
            pass


def _require_made_for(config: AnyConfig, examples: Place) -> None:
    """Raise unless a run's examples are those of its config and of its input."""
    from steadyrank.pipeline.examples.compatibility import READ_LATER, require_made_for

    with Staging() as staging:
        path = staging.read_file(examples / "manifest.json")
        manifest = read_json(path, "an example set", Manifest)
    free = READ_LATER | {"max_rejected", "keep_columns"}
    require_made_for(config, manifest, examples, free)


def _keeping(config: AnyConfig, baseline: Place | None) -> AnyConfig:
    """The config of which the examples keep what a baseline reads, which must fit."""
    if baseline is None:
        return config
    with Staging() as staging:
        theirs = staging.read_model(baseline)
        require_baseline_fits(config, theirs)
        return kind_of(config).keep_for(config, theirs)


def _require_baseline(config: AnyConfig, baseline: Place | None, examples: Place) -> None:
    """Raise, before anything is trained, unless the baseline can be scored."""
    if baseline is None:
        return
    kind = kind_of(config)
    with Staging() as staging:
        held = kind.open_examples(staging.read_examples(examples))
        kind.require_baseline(staging.read_model(baseline), held, "test")


def _require_trained_for(config: AnyConfig, trained: Place) -> None:
    """Raise unless a run's model was trained as its config says."""
    from steadyrank.pipeline.examples.compatibility import require_same

    with Staging() as staging:
        require_same(config, staging.read_file(trained / "config.yaml"), MADE_BY)


def _exported(config: AnyConfig, output: Place) -> ExportResult | None:
    """The latest export, if it is stored, and answers, as the config says."""
    from steadyrank.pipeline.export.card import CARD, EXTRA, versions_of

    found = versions_at(output) if isinstance(output, Url) else versions_of(output)
    if not found:
        return None
    latest = ExportResult(output / str(found[-1]), found[-1])
    with Staging() as staging:
        path = staging.read_file(latest.output / EXTRA / CARD)
        made_with = read_json(path, "an export", Card)["config"]
    settings = config.model_dump(mode="json")
    same = all(settings.get(key) == made_with.get(key) for key in ("serving", "export"))
    return latest if same else None
