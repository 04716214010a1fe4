"""The nightly job: one more day of the log, from raw rows to a release or a refusal.

In: the log, and a store.  Out: ``<store>/nights/<day>/`` with ``examples/``, ``train/``,
``export/``, ``evaluation/`` and ``night.json``, and, if the model passed its gates, a new
version in ``<store>/served/``.

    steadyrank nightly --config C --day 2022-05-06 --store DIR

The day is the test: a fraction of its rows (``data.split.validation``) chooses the epoch,
the others judge.  Training rows are of the days before it.  A night starts from the
last blessed one: from its examples, which grow, and from its checkpoint, which trains on
the days since, and on the last ``nightly.train_days`` at least.  The new model is judged
on the rows of the day, against the blessed one.  The first night trains afresh on all
days there are, and so does one whose features, tasks or model are others than before:
it says why, and is judged against the blessed one all the same.

A day that is to blame for a refusal is left out of all later training: the day
itself, if the blessed model does not keep the absolute limits of its metrics there
either, else the newest day that the refused model was trained on.

A night's folder appears whole, and what is released follows from it: a night that died
leaves a hidden folder, in which the same night goes on, and which any other removes.  A
night whose training diverged is kept with its diagnosis; the newest day that it trained on
is left out.  A day whose files have not come is tried again; one without rows is put on
hold, and looked at again as long as it is the newest.
"""

import contextlib
import datetime
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from steadyrank import __version__
from steadyrank.pipeline.config.given import AnyConfig
from steadyrank.pipeline.evaluate.release import release
from steadyrank.pipeline.export.card import find_version, versions_of
from steadyrank.pipeline.files.errors import (
    DivergenceError,
    InputError,
    NoRowsError,
    NothingToTrainOnError,
)
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.files.publish import replace, write_json
from steadyrank.pipeline.gates.verdicts import HOLD, PASS, REFUSE
from steadyrank.pipeline.kinds import (
    evaluate,
    export,
    kind_of,
    prepare_warm_start,
    preprocess,
    train,
)
from steadyrank.pipeline.preprocess.held import held_to
from steadyrank.pipeline.preprocess.plan import Addition
from steadyrank.pipeline.raw_log.split import DAY
from steadyrank.pipeline.store.begun import (
    BEGUN,
    read_begun,
    require_settings,
    settings_of,
    work_folder,
)
from steadyrank.pipeline.store.contract import left_out as days_left_out
from steadyrank.pipeline.store.contract import without_refused
from steadyrank.pipeline.store.days import checked_day, on_day, test_day, windows_of
from steadyrank.pipeline.store.lateness import late
from steadyrank.pipeline.store.page import is_shown, write_index
from steadyrank.pipeline.store.prune import prune
from steadyrank.pipeline.store.records import (
    NIGHTS,
    RECORD,
    SERVED,
    blessed,
    nights_of,
    released,
)
from steadyrank.pipeline.train.reporter import Progress
from steadyrank.pipeline.train.stage import has_begun

DIVERGED = "DIVERGED"


def nightly(
    config: AnyConfig,
    folder: Path,
    day: str,
    store: Path,
    *,
    beam_flags: Iterable[str] = (),
    give_up_after: str | None = None,
    progress: Progress | None = None,
) -> dict:
    """Do one night; a night that was done is only looked up.

    Args:
        config: The run's config; ``data.split.validation`` must be a fraction.  In
            ``data.input``, ``{day}`` stands for each day that has to be read.
        folder: What the config's paths are relative to.
        day: The day to judge on, ``YYYY-MM-DD`` in ``data.timezone``.
        store: The folder of nights and releases.
        beam_flags: Passed to Beam.
        give_up_after: How long after its end a day's files are waited for, such as
            ``"6h"``; None: for ever.
        progress: Of training; called as ``train`` calls it.

    Returns:
        What ``night.json`` holds.

    Raises:
        InputError: The day comes before one that was done, the log cannot be read, or the
            night was done with other settings.
        PassingError: The day's files have not come, another night runs in this store, or
            the log cannot be read now.
        DivergenceError: Training diverged, now or when the night was done; its record
            and its diagnosis are kept.
    """
    store, day = Path(store), checked_day(config, day)
    with locked(store / "lock"):
        nights = nights_of(store)
        _release_if_due(store, nights)
        if day in nights and not (_is_empty(nights[day]) and day == max(nights)):
            require_settings(config, store / NIGHTS / day)
            if day == max(nights) and not is_shown(store, day):  # it died before its end
                _tidy(config, store)
            if progress is not None:
                judged_at = nights[day].get("judged_at") or "an earlier time"
                progress(0, 0, f"{day} was judged at {judged_at}: nothing done")
            return _ended(nights[day])
        if nights and day < max(nights):
            raise InputError(
                f"{store} has done {max(nights)} already: nights go from day to day. "
                f"Received: {day}."
            )
        nights.pop(day, None)
        record = _do(
            config,
            folder,
            day,
            store,
            nights=nights,
            beam_flags=beam_flags,
            given_up=late(config, folder, day, give_up_after),
            progress=progress,
        )
        _release_if_due(store, {day: record})
        _tidy(config, store)
    return _ended(record)


def _tidy(config: AnyConfig, store: Path) -> None:
    """What comes after a night: the old ones go, and the page shows it."""
    prune(store, **config.nightly.keep.model_dump())
    write_index(store)


def _do(
    config: AnyConfig,
    folder: Path,
    day: str,
    store: Path,
    *,
    nights: dict,
    beam_flags: Iterable[str],
    given_up: str,
    progress: Progress | None,
) -> dict:
    """A night that was not done, from where it stopped; gives its record."""
    kind, base = kind_of(config), blessed(store, nights)
    left_out = days_left_out(nights)
    fresh = base and _why_fresh(config, base)
    grows = base if base and not kind.why_afresh(config, base / "examples") else None
    addition = Addition(grows and grows / "examples", day, tuple(left_out))
    begun = {
        "config": settings_of(config),
        "base": base and base.name,
        "left_out": left_out,
        "folder": str(folder),
        "version": __version__,
    }
    work = work_folder(store, day, begun)
    seconds: dict = {}
    try:
        if given_up:
            raise NoRowsError(given_up)
        settings, _ = on_day(config, folder, day, addition)
        if not (work / "examples").exists():

            def make(addition: Addition) -> list[str]:
                settings, missing = on_day(config, folder, day, addition)
                kept = kind.keep_for(settings, base and base / "export")
                kept = held_to(kept, base and base / "examples")
                folders = folder, work / "examples"
                preprocess(kept, *folders, beam_flags, addition=addition)
                return missing

            with _timed(seconds, "preprocess", progress):
                missing, refused = without_refused(make, addition)
            write_json(
                work / BEGUN, {**begun, "missing": missing or [], "refused": refused}
            )
        refused = read_begun(work).get("refused", {})
        if day in refused:
            record = _not_judged(_night(config, day, base, fresh), REFUSE, *refused[day])
            because = "it does not keep the data contract"
            record |= {"left_out": day, "left_out_because": because}
        else:
            record = _train_and_judge(
                settings, work, base, fresh, seconds=seconds, progress=progress
            )
        record["missing"] = read_begun(work).get("missing", [])
        record["refused"] = refused
    except NothingToTrainOnError as error:
        raise _too_early(day, store, base, error) from None
    except NoRowsError as error:
        record = _not_judged(_night(config, day, base, fresh), HOLD, str(error))
    record["judged_at"] = _now()
    write_json(work / RECORD, record)
    shutil.rmtree(store / NIGHTS / day, ignore_errors=True)  # which had no rows
    replace(work, store / NIGHTS / day, overwrite=False)
    return record


def _too_early(day: str, store: Path, base: Path | None, error: InputError) -> InputError:
    """What a night says that has no day to train on."""
    if base is not None:
        return error
    return InputError(
        f"{day} cannot be the first night of {store}: it would train on the days before, "
        f"of which the log holds none. Give a later --day. ({error})"
    )


def _now() -> str:
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.isoformat(timespec="seconds")


def _is_empty(night: dict) -> bool:
    """Whether nothing was judged, there being no row: rows may have come since."""
    return night["verdict"] == HOLD and night["content"] is None


def _ended(record: dict) -> dict:
    """The record of a night, unless it diverged."""
    if record["verdict"] == DIVERGED:
        raise DivergenceError(*record["reasons"])
    return record


def _train_and_judge(
    config: AnyConfig,
    work: Path,
    base: Path | None,
    fresh: str | None,
    *,
    seconds,
    progress,
) -> dict:
    """From the examples of a night to its verdict; gives the night's record.

    ``fresh`` says why the weights of the base cannot be taken over, if they cannot.
    """
    kind = kind_of(config)
    examples: Any = kind.open_examples(work / "examples")
    warm = base is not None and not fresh
    windows = windows_of(config, examples, base if warm else None)
    night = {
        **_night(config, test_day(examples), base, fresh),
        "rows": examples.manifest["splits"]["test"]["rows"],
        "trained_on": list(windows),
        "fingerprint": examples.schema.fingerprint,
    }
    try:
        with _timed(seconds, "train", progress):
            if warm and not has_begun(work / "train") and not (work / "train").exists():
                folders = examples.path, base / "train", work / "train"
                prepare_warm_start(config, *folders, windows=windows)
            _train(config, examples.path, work / "train", progress)
    except DivergenceError as error:
        return _diverged(night, str(error), work)
    with _timed(seconds, "export", progress):
        version = (
            find_version(work / "export")
            if versions_of(work / "export")
            else export(config, work / "train", work / "export")
        )
    new = kind.new_tasks(config, base / "export") if base else []
    judged = kind.without_baseline(config, new if base else None)
    with _timed(seconds, "evaluate", progress):
        folders = examples.path, version, work / "evaluation"
        against = base and base / "export"
        result = evaluate(
            judged,
            *folders,
            baseline_path=against,
            new_tasks=new,
            overwrite=True,
            progress=progress,
        )
    metrics = result["metrics"]
    theirs = metrics["baseline"] and metrics["baseline"]["tasks"]
    return {
        **night,
        "verdict": result["verdict"],
        # of a model that is new itself, no day but the one that it is judged on
        **kind.blame(judged, result, night["day"], windows if warm else ()),
        "content": metrics["content"],
        "tasks": _figures(kind.main_metrics(config), metrics["tasks"], theirs or {}),
        "reasons": [gate["reason"] for gate in result["gates"] if not gate["passed"]],
        "seconds": {stage: round(n, 3) for stage, n in seconds.items()},
    }


def _train(config: AnyConfig, examples: Path, output: Path, progress) -> None:
    """Train, or go on with a training that has begun; one that has ended stays."""
    if not output.exists():
        train(config, examples, output, resume=has_begun(output), progress=progress)


def _night(config: AnyConfig, day: str, base: Path | None, fresh: str | None) -> dict:
    """What every record of a night begins with."""
    return {
        "day": day,
        "base": base and base.name,
        "fresh": fresh or None,
        "rows": 0,
        "trained_on": [],
        "fingerprint": None,
    }


def _diverged(night: dict, reason: str, work: Path) -> dict:
    """The record of a night whose training diverged: its newest day is to blame."""
    place = work.with_name(night["day"])  # the reason names files of the work folder
    record = _not_judged(night, DIVERGED, reason.replace(str(work), str(place)))
    if _is_warm(night):
        record["left_out"] = night["trained_on"][-1][:DAY]
        record["left_out_because"] = "training diverged, and it is the newest day of it"
    return record


def _not_judged(night: dict, verdict: str, *reasons: str) -> dict:
    """The record of a night without a model."""
    return {
        **night,
        "verdict": verdict,
        "left_out": None,
        "left_out_because": None,
        "content": None,
        "tasks": {},
        "reasons": list(reasons),
        "seconds": {},
    }


def _is_warm(night: dict) -> bool:
    return night["base"] is not None and not night["fresh"]


def _why_fresh(config: AnyConfig, base: Path) -> str:
    """Why a night cannot go on from the weights of its base; ``""``: it can."""
    kind = kind_of(config)
    afresh = kind.why_afresh(config, base / "examples")
    return afresh or kind.why_fresh(config, base / "train")


@contextlib.contextmanager
def _timed(seconds: dict, stage: str, progress: Progress | None) -> Iterator[None]:
    """Say which stage begins, and note how long it took."""
    if progress is not None:
        progress(0, 0, stage)
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _figures(metrics: dict[str, str], ours: dict, theirs: dict) -> dict:
    """What a night's record says of each task: its metric, of the model and of the base."""

    def of(tasks: dict, task: str, metric: str) -> tuple:
        found = tasks.get(task) or {}
        return found.get(metric), (found.get("intervals") or {}).get(metric)

    figures = {}
    for task, metric in metrics.items():
        (value, interval), (base, base_interval) = (
            of(tasks, task, metric) for tasks in (ours, theirs)
        )
        figures[task] = {
            "metric": metric,
            "value": value,
            "interval": interval,
            "base": base,
            "base_interval": base_interval,
            "gain": ((ours.get(task) or {}).get("gain") or {}).get(metric),
        }
    return figures


def _release_if_due(store: Path, nights: dict[str, dict]) -> None:
    """Release the last night's model if it passed and was not released before."""
    if not nights:
        return
    day = max(nights)
    night, served = store / NIGHTS / day, store / SERVED
    if nights[day]["verdict"] == PASS and nights[day]["content"] not in released(served):
        release(night / "export", night / "evaluation", served)
