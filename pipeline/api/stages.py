"""A stage at a time: the log, examples, a trained model, an export, its evaluation."""

from collections.abc import Iterable

from steadyrank.pipeline import run as stages
from steadyrank.pipeline.api.results import SynthesizeResult
from steadyrank.pipeline.config.given import (
    GivenConfig,
    Inputs,
    Overrides,
    any_config,
    folder_of,
)
from steadyrank.pipeline.files.places import GivenPlace, keep_apart, place_of
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.kinds.results import (
    EvaluateResult,
    ExportResult,
    PreprocessResult,
    TrainResult,
)
from steadyrank.pipeline.run import SILENT, Progress


def synthesize(
    *,
    output: GivenPlace,
    rows: int = 200_000,
    seed: int = 1,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> SynthesizeResult:
    """Write a realistic engagement log whose true probabilities are known.

    Args:
        output: The folder of the log and its side tables.
        rows: Rows of the log.
        seed: The same seed gives the same bytes.
        overwrite: Whether a log that is there may be replaced.
        progress: Sees how far it is, in percent.

    Returns:
        Where the log is.

    Raises:
        InputError: An argument is out of range, or the output is there already.

    Example:
        ``steadyrank.synthesize(rows=1_000_000, seed=1, output="log")``
    """
    from steadyrank.pipeline.synthetic import synthesize as stage

    place = place_of(output)
    keep_apart(place)
    with progress.stage("synthesize"), Staging() as staging:
        stage(
            rows,
            seed,
            staging.write(place, overwrite),
            overwrite=overwrite,
            progress=lambda done, what: progress.step(round(100 * done), 100, what),
        )
    return SynthesizeResult(output=place, rows=rows)


def preprocess(
    config: GivenConfig,
    *,
    output: GivenPlace,
    data: GivenPlace | None = None,
    input: Inputs | None = None,
    set: Overrides | None = None,
    overwrite: bool = False,
    append: bool = False,
    beam_flags: Iterable[str] = (),
    progress: Progress = SILENT,
) -> PreprocessResult:
    """Turn a raw log into packed examples with Apache Beam.

    Args:
        config: A YAML file's path or URL, its content as a dictionary, or a ``Config``.
        output: Where the example set shall stand.
        data: What the config's paths are relative to; None: its folder, or the working
            folder where the config stands in no file.
        input: Paths and patterns in place of the config's ``data.input``.
        set: Keys of the config to override: ``{"train.epochs": 2}``, or as on the command
            line, ``["train.epochs=2"]``.
        overwrite: Whether an example set that is there may be replaced.
        append: Whether to add later windows of the log to the example set that is there;
            its training windows stay as they are.
        beam_flags: Passed to Beam, such as ``["--runner=FlinkRunner"]``.
        progress: Sees the stage begin and end.

    Returns:
        How many rows were read, written and rejected, and why.

    Raises:
        InputError: The config or the log does not suit, or the output is there already.
        PassingError: The log cannot be read now, or there is no space left.

    Example:
        ``steadyrank.preprocess("c.yaml", output="examples")``
    """
    return stages.preprocess(
        any_config(config, set, input),
        place_of(output),
        folder=folder_of(config, data),
        overwrite=overwrite,
        append=append,
        beam_flags=beam_flags,
        progress=progress,
    )


def train(
    config: GivenConfig,
    *,
    examples: GivenPlace,
    output: GivenPlace,
    set: Overrides | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> TrainResult:
    """Train a model on examples.

    Args:
        config: As for ``preprocess``.
        examples: What ``preprocess`` wrote.
        output: Where the trained model shall stand.
        set: Keys of the config to override.
        resume: Whether to go on where a training stopped, or with one that has ended and
            whose ``train.epochs`` were raised since.
        overwrite: Whether a trained model that is there may be replaced.
        progress: Sees each step.

    Returns:
        How it ended.

    Raises:
        InputError: The examples do not suit, or the output is there already.
        PassingError: Another process trains to the output.
        DivergenceError: Training diverged and did not recover; ``<output>.partial`` has
            the diagnosis.

    Example:
        ``steadyrank.train("c.yaml", examples="examples", output="train")``
    """
    return stages.train(
        any_config(config, set),
        place_of(examples),
        place_of(output),
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )


def export(
    config: GivenConfig,
    *,
    train: GivenPlace,
    output: GivenPlace,
    set: Overrides | None = None,
    progress: Progress = SILENT,
) -> ExportResult:
    """Export a trained model as a SavedModel under the next version number.

    Args:
        config: As for ``preprocess``.
        train: What ``train`` wrote.
        output: The folder of versions.
        set: Keys of the config to override.
        progress: Sees the stage begin and end.

    Returns:
        The new version.

    Raises:
        InputError: There is no whole trained model, or it is another config's.

    Example:
        ``steadyrank.export("c.yaml", train="train", output="export")``
    """
    return stages.export(
        any_config(config, set), place_of(train), place_of(output), progress=progress
    )


def evaluate(
    config: GivenConfig,
    *,
    examples: GivenPlace,
    model: GivenPlace,
    output: GivenPlace,
    baseline: GivenPlace | None = None,
    split: str = "test",
    force: str | None = None,
    predictions: bool = False,
    stability: GivenPlace | None = None,
    set: Overrides | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> EvaluateResult:
    """Measure an export and judge it; a refusal is a result, no error.

    Args:
        config: As for ``preprocess``.
        examples: What ``preprocess`` wrote.
        model: An export, or a folder of versions, of which the latest is taken.
        output: Where the evaluation shall stand.
        baseline: The export that gains and drift are measured from.
        split: ``"test"``, ``"validation"`` or ``"train"``.
        force: Why the model may be released whatever the verdict.
        predictions: Whether ``predictions.parquet`` is written, too: the scored rows.
        stability: What ``stability`` found, for its gate.
        set: Keys of the config to override.
        overwrite: Whether an evaluation that is there may be replaced.
        progress: Sees the stage begin and end.

    Returns:
        The verdict, its gates and the metrics.

    Raises:
        InputError: Model and examples do not belong together, or one is not whole.

    Example:
        ``steadyrank.evaluate("c.yaml", examples="examples", model="export",
        output="evaluation").verdict``
    """
    return stages.evaluate(
        any_config(config, set),
        place_of(examples),
        place_of(model),
        place_of(output),
        baseline=place_of(baseline),
        stability=place_of(stability),
        split=split,
        force=force,
        predictions=predictions,
        overwrite=overwrite,
        progress=progress,
    )
