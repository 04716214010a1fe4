"""A table scored by a model."""

from collections.abc import Iterable

from steadyrank.pipeline.api.results import ScoreResult
from steadyrank.pipeline.config.given import Inputs, as_inputs
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.places import GivenPlace, keep_apart, local_path, place_of
from steadyrank.pipeline.files.staging import Staging
from steadyrank.pipeline.files.urls import Url
from steadyrank.pipeline.run import SILENT, Progress


def score(
    *,
    model: GivenPlace,
    input: Inputs,
    output: GivenPlace,
    data: GivenPlace = ".",
    keep: str | Iterable[str] = "",
    top: int | None = None,
    by: str | None = None,
    prefix: str = "",
    histories: GivenPlace | None = None,
    resume: bool = False,
    overwrite: bool = False,
    beam_flags: Iterable[str] = (),
    progress: Progress = SILENT,
) -> ScoreResult:
    """Score every row of a log with an export, as it is served.

    Args:
        model: An export, or a folder of versions, of which the latest is taken.
        input: Paths, folders or patterns of raw rows, in any format that ``preprocess``
            reads; labels need not be there.
        output: Where the scores shall stand.
        data: What the side tables of the model's config are relative to.
        keep: Columns to hand on, each ``NAME`` or ``NEW=NAME``, a list or parted by
            commas, ``*`` all of the rows'; none: that of the groups.
        top: Rows to keep of each value of ``by``, those with the highest scores.
        by: A column, such as the user's.
        prefix: Of the columns that the model gives: of rows that keep their labels.
        histories: The example set that says what came before the rows, or its
            ``histories/latest``, for features ``from: events``; None: the rows do.
        resume: Whether to go on where a scoring stopped.
        overwrite: Whether scores that are there may be replaced.
        beam_flags: As for ``preprocess``.
        progress: Sees how many pieces of the log are done.

    Returns:
        How many rows were read, scored and rejected, and why.

    Raises:
        InputError: Model and rows do not go together, or the output is there already.
        PassingError: The rows cannot be read now, or another process writes there.

    Example:
        ``steadyrank.score(model="export", input="new/*.parquet", output="scores",
        keep=["user_id", "video_id"])``
    """
    from steadyrank.pipeline.score.plan import files_of, plan_scores
    from steadyrank.pipeline.score.stage import score as stage

    place, source = place_of(output), place_of(model)
    inputs, folder = as_inputs(input), local_path(data)
    keep_apart(place, source, *map(place_of, inputs))
    if resume and isinstance(place, Url):
        raise InputError(
            f"{place}: a scoring that goes to object storage cannot be resumed. Leave out "
            "--resume, or score to a local folder."
        )
    names = keep.split(",") if isinstance(keep, str) else keep
    kept = [name.strip() for name in names if name.strip()]
    if keep and not kept:
        raise InputError(
            f"--keep names no column. Received: {keep!r}. Name some: --keep user_id."
        )
    with progress.stage("score"), Staging() as staging:
        plan = plan_scores(
            staging.read_model(source),
            inputs,
            folder,
            keep=kept,
            top=top,
            by=by,
            prefix=prefix,
            histories=None if histories is None else local_path(histories),
        )
        keep_apart(place, *map(place_of, files_of(plan)))
        found = stage(
            plan,
            staging.write(place, overwrite),
            beam_flags,
            resume=resume,
            overwrite=overwrite,
            progress=progress.step,
        )
    names = ("rows", "scored", "written", "rejected", "samples", "model_version")
    return ScoreResult(output=place, **{name: found[name] for name in names})
