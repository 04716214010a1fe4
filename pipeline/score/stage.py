"""Raw rows and an export to Parquet with each row's scores, as an Apache Beam job.

In: rows in any format that preprocessing reads, without labels, and an export of a
ranking model, whose card says how they are read and which side tables stand beside them.
Out: ``part-*.parquet`` (kept columns, a column a task, ``score``, ``model_version``),
``rejected/`` (rows that could not be scored, with reason, value, file and line) and
``scores.json``, in which every count adds up.

    steadyrank score --model DIR --input 'new/*' --output DIR [--keep user_id,item_id]

Until all is done it stands in ``<output>.partial``, where ``--resume`` finds it.
"""

import contextlib
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import apache_beam as beam

from steadyrank.pipeline.files.errors import InputError, PassingError, unwritable
from steadyrank.pipeline.files.lock import alone
from steadyrank.pipeline.files.publish import (
    link_or_copy,
    read_json,
    refuse_existing,
    replace,
    write_json,
)
from steadyrank.pipeline.preprocess.accounts import check_rejected, counts_under
from steadyrank.pipeline.preprocess.engines import options_of
from steadyrank.pipeline.score.pieces import NOTES, PARTS, REJECTED, ScorePiece, notes_in
from steadyrank.pipeline.score.plan import ScorePlan
from steadyrank.pipeline.score.top import merge_top

SCORES, PLAN = "scores.json", "plan.json"
FAILED, SPILL, FINAL = "failed", "spill", "final"
DONE = "done"  # nothing is to be done but to put it in place
PART = "part-*.parquet"
LOOK_SECONDS = 1.0

Progress = Callable[[int, int, str], None]


def score(
    plan: ScorePlan,
    output: Path,
    beam_flags: Iterable[str] = (),
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Score every row of a log.

    Args:
        plan: What is to be done.
        output: Where the scores shall stand.
        beam_flags: Passed to Beam.
        resume: Whether to go on with what was interrupted: pieces that are done stay.
        overwrite: Whether scores that are there may be replaced.
        progress: Called with pieces done, pieces in all, and a line.

    Returns:
        What ``scores.json`` holds.

    Raises:
        InputError: A file cannot be read, too many rows had to be rejected, or the output
            is there already.
        PassingError: A file cannot be read now, or another process writes there.
    """
    output = Path(output)
    with alone(output):
        _clear_published(_work_of(output))
        refuse_existing(output, overwrite)
        work = _work_folder(plan, output, resume)
        pieces = list(enumerate(plan.log.log.pieces))
        with _watched(work, len(pieces), progress):
            _run(plan, pieces, work, beam_flags)
        found = _summary(plan, work)
        final = _final(work)
        if plan.top is not None:
            (final / SPILL).mkdir()
            found["written"] = merge_top(
                work / PARTS, final, spill=final / SPILL, by=plan.by, top=plan.top
            )
            (final / SPILL).rmdir()
        else:
            _link(work / PARTS, final)
        if any((work / REJECTED).glob(PART)):
            (final / REJECTED).mkdir()
            _link(work / REJECTED, final / REJECTED)
        write_json(final / SCORES, found)
        (work / DONE).touch()
        replace(final, output, overwrite)
        _clear_published(work)
    return found


def _work_of(output: Path) -> Path:
    return output.with_name(output.name + ".partial")


def _clear_published(work: Path) -> None:
    """Remove what a scoring worked with whose output is in place; its mark goes last."""
    if (work / DONE).exists() and not (work / FINAL).exists():
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != DONE:
                path.unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)


def _work_folder(plan: ScorePlan, output: Path, resume: bool) -> Path:
    """The folder of a scoring that goes on, or begins."""
    work = _work_of(output)
    if resume and not (work / PLAN).exists():
        raise InputError(
            f"{work}: no interrupted scoring to go on with. Leave out --resume."
        )
    if resume:
        before = read_json(work / PLAN, "an interrupted scoring")
        other = [name for name, value in plan.same().items() if before.get(name) != value]
        if other:
            raise InputError(
                f"{work} was begun with another {', '.join(other)}: it cannot be gone on "
                "with. Leave out --resume to start again."
            )
        (work / DONE).unlink(missing_ok=True)  # before what it was of goes
        return work
    shutil.rmtree(work, ignore_errors=True)
    try:
        for name in (PARTS, REJECTED, NOTES):
            (work / name).mkdir(parents=True)
    except OSError as error:
        raise unwritable(work, error) from None
    write_json(work / PLAN, plan.same())
    return work


def _run(plan: ScorePlan, pieces: list, work: Path, beam_flags: Iterable[str]) -> None:
    """Score all pieces; raise what the workers said of those that could not be."""
    shutil.rmtree(work / FAILED, ignore_errors=True)
    options = options_of(beam_flags)
    with beam.Pipeline(options=options) as pipeline:
        failed = (
            pipeline
            | "pieces" >> beam.Create(pieces)
            | "spread" >> beam.Reshuffle()
            | "score" >> beam.ParDo(ScorePiece(plan, str(work)))
        )
        _ = failed | "say" >> beam.Map(_note_failure, str(work / FAILED))
    said = [] if not (work / FAILED).exists() else sorted((work / FAILED).iterdir())
    texts = [path.read_text(encoding="utf-8").partition("\n") for path in said]
    for kind in (InputError, PassingError):  # what no other try mends goes first
        if own := sorted(text for name, _, text in texts if name == kind.__name__):
            raise kind("; ".join(own))


def _note_failure(failure: tuple[str, str], folder: str) -> None:
    place = Path(folder)
    place.mkdir(exist_ok=True)
    name = f"{abs(hash(failure)):x}"
    (place / name).write_text("\n".join(failure), encoding="utf-8")


@contextlib.contextmanager
def _watched(work: Path, pieces: int, progress: Progress | None) -> Iterator[None]:
    """Say how many pieces are done while the workers do them."""
    if progress is None:
        yield
        return
    ended = threading.Event()

    def look():
        while not ended.wait(LOOK_SECONDS):
            done = sum(1 for _ in (work / NOTES).glob("*.json"))
            progress(done, pieces, f"{done} of {pieces} pieces scored")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _summary(plan: ScorePlan, work: Path) -> dict:
    """What all pieces came to; raises where too much was rejected."""
    counts, shown = Counter(), {}
    for note in notes_in(work):
        counts.update(note["counts"])
        for reason, sample in note["samples"].items():
            shown.setdefault(reason, sample)
    rejected = counts_under(counts, "rejected/")
    if counts["read"] != counts["scored"] + sum(rejected.values()):
        raise RuntimeError(f"rows do not add up: {dict(counts)}")
    check_rejected(plan.log, rejected, counts["read"], samples=shown)
    return {
        "model": plan.model,
        "model_version": plan.version,
        "rows": counts["read"],
        "scored": counts["scored"],
        "written": counts["written"],
        "rejected": rejected,
        "samples": shown,
        "kept": plan.kept,
        "top": plan.top,
        "by": plan.by,
        "passed_over": plan.log.log.passed_over,
        **_of_past(plan),
    }


def _of_past(plan: ScorePlan) -> dict:
    """Up to when the past of the rows is known, and whether each is after that."""
    if plan.past is None:
        return {}
    is_checked = plan.past.time is not None and plan.past.newest is not None
    return {"histories": {"newest": plan.past.newest, "checked": is_checked}}


def _final(work: Path) -> Path:
    """An empty folder for what is to be published; what a try before left goes."""
    final = work / FINAL
    shutil.rmtree(final, ignore_errors=True)
    final.mkdir()
    return final


def _link(source: Path, target: Path) -> None:
    """Parts that are whole, under the same names elsewhere: the work stays as it is."""
    for path in source.glob(PART):
        link_or_copy(path, target / path.name)
