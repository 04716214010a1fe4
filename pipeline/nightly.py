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
leaves nothing but a hidden folder, which the next one removes.  A night whose training
diverged is kept with its diagnosis; the newest day that it trained on is left out.
"""

import contextlib
import datetime
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from steadyrank.pipeline.config.given import AnyConfig
from steadyrank.pipeline.evaluate.release import BLESSED, WITHDRAWN, release
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.card import EXTRA, versions_of
from steadyrank.pipeline.files.errors import DivergenceError, InputError
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.files.publish import PARTIAL, publish, read_json, write_json
from steadyrank.pipeline.files.shapes import Blessed, Metrics, Night
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.gates.verdicts import PASS
from steadyrank.pipeline.kinds import (
    evaluate,
    export,
    kind_of,
    prepare_warm_start,
    preprocess,
    train,
)
from steadyrank.pipeline.kinds.protocol import Kind
from steadyrank.pipeline.preprocess.plan import Addition
from steadyrank.pipeline.raw_log.open import files_of
from steadyrank.pipeline.raw_log.split import DAY
from steadyrank.pipeline.train.run import Progress

RECORD = "night.json"
DIVERGED = "DIVERGED"
DAY_MARK = "{day}"
DAY_MS = 86_400_000


def nightly(
    config: AnyConfig,
    folder: Path,
    day: str,
    store: Path,
    *,
    beam_flags: Iterable[str] = (),
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
        progress: Of training; called as ``train`` calls it.

    Returns:
        What ``night.json`` holds.

    Raises:
        InputError: The day comes before one that was done, or the log does not hold it.
        PassingError: Another night runs in this store, or the log cannot be read now.
        DivergenceError: Training diverged, now or when the night was done; its record
            and its diagnosis are kept.
    """
    kind = kind_of(config)
    store, day = Path(store), _checked(config, day)
    with locked(store / "lock"):
        _clear(store)
        nights = _nights(store)
        _release_if_due(store, nights)
        if day in nights:
            return _ended(nights[day])
        if nights and day < max(nights):
            raise InputError(
                f"{store} has done {max(nights)} already: nights go from day to day. "
                f"Received: {day}."
            )
        base = blessed(store, nights)
        left_out = sorted({night["left_out"] for night in nights.values()} - {None})
        fresh = base and _why_fresh(config, base)
        grows = base if base and not kind.why_afresh(config, base / "examples") else None
        addition = Addition(grows and grows / "examples", day, tuple(left_out))
        with publish(store / "nights" / day) as work:
            seconds = {}
            with _timed(seconds, "preprocess"):
                settings, missing = _on_day(config, folder, day, addition)
                kept = kind.keep_for(settings, base and base / "export")
                folders = folder, work / "examples"
                preprocess(kept, *folders, beam_flags, addition=addition)
            record = _train_and_judge(
                settings, work, base, fresh, seconds=seconds, progress=progress
            )
            record["missing"] = missing
            write_json(work / RECORD, record)
        _release_if_due(store, {day: record})
    return _ended(record)


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
    windows = _windows(config, examples, base if warm else None)
    night = {
        "day": work_day(examples),
        "base": base and base.name,
        "fresh": fresh or None,
        "trained_on": list(windows),
        "fingerprint": examples.schema.fingerprint,
        "metric": kind.headline(config),
    }
    try:
        with _timed(seconds, "train"):
            if warm:
                folders = examples.path, base / "train", work / "train"
                prepare_warm_start(config, *folders, windows=windows)
            train(config, examples.path, work / "train", resume=warm, progress=progress)
    except DivergenceError as error:
        return _diverged(night, str(error), work)
    with _timed(seconds, "export"):
        version = export(config, work / "train", work / "export")
    new = kind.new_tasks(config, base / "export") if base else []
    judged = kind.without_baseline(config, new if base else None)
    with _timed(seconds, "evaluate"):
        folders = examples.path, version, work / "evaluation"
        against = base and base / "export"
        result = evaluate(judged, *folders, baseline_path=against, new_tasks=new)
    metrics = result["metrics"]
    theirs = metrics["baseline"] and metrics["baseline"]["tasks"]
    return {
        **night,
        "verdict": result["verdict"],
        # of a model that is new itself, no day but the one that it is judged on
        **kind.blame(judged, result, night["day"], windows if warm else ()),
        "content": metrics["content"],
        **_headline(night["metric"], metrics["tasks"], theirs),
        "reasons": [gate["reason"] for gate in result["gates"] if not gate["passed"]],
        "seconds": {stage: round(n, 3) for stage, n in seconds.items()},
    }


def _diverged(night: dict, reason: str, work: Path) -> dict:
    """The record of a night whose training diverged: its newest day is to blame."""
    place = work.with_name(night["day"])  # the reason names files of the work folder
    return {
        **night,
        "verdict": DIVERGED,
        "left_out": night["trained_on"][-1][:DAY] if _is_warm(night) else None,
        "left_out_because": "training diverged, and it is the newest day of it"
        if _is_warm(night)
        else None,
        "content": None,
        night["metric"]: {},
        f"base_{night['metric']}": None,
        "reasons": [reason.replace(str(work), str(place))],
        "seconds": {},
    }


def _is_warm(night: dict) -> bool:
    return night["base"] is not None and not night["fresh"]


def _why_fresh(config: AnyConfig, base: Path) -> str:
    """Why a night cannot go on from the weights of its base; ``""``: it can."""
    kind = kind_of(config)
    afresh = kind.why_afresh(config, base / "examples")
    return afresh or kind.why_fresh(config, base / "train")


def work_day(examples: ExampleSet) -> str:
    """The day that an example set tests on."""
    return next(iter(examples.windows("test")))[:DAY]


def _windows(config: AnyConfig, examples: ExampleSet, base: Path | None) -> tuple[str, ...]:
    """The training windows of a night: all of its first one, then the last days'.

    Of those that the base has not seen, none is passed over: they are more than the
    last days where nights were refused, or never ran.
    """
    windows = tuple(examples.windows("train"))
    if base is None or config.nightly.train_days is None:
        return windows
    before: Any = kind_of(config).open_examples(base / "examples")
    seen = before.windows("train")
    days = sorted({window[:DAY] for window in windows})[-config.nightly.train_days :]
    return tuple(w for w in windows if w[:DAY] in days or w not in seen)


@contextlib.contextmanager
def _timed(seconds: dict, stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _headline(metric: str, ours: dict, theirs: dict | None) -> dict:
    """What a night's record says of a metric, by task: values, intervals, gains."""

    def each(tasks: dict | None, what: str = "") -> dict:
        found = {name: t.get(what, {}) if what else t for name, t in (tasks or {}).items()}
        return {name: values[metric] for name, values in found.items() if metric in values}

    base = f"base_{metric}"
    return {
        metric: each(ours),
        base: theirs and each(theirs),
        "intervals": {metric: each(ours, "intervals"), base: each(theirs, "intervals")},
        "gain": each(ours, "gain"),
    }


def blessed(store: Path, nights: dict[str, dict]) -> Path | None:
    """The folder of the night whose model is served; None: nothing was released yet.

    Raises:
        InputError: What is served was not made by a night of this store.
    """
    if not (store / "served" / BLESSED).exists():
        return None
    content = read_json(store / "served" / BLESSED, "a release folder", Blessed)["content"]
    for day, night in nights.items():
        if night["content"] == content and night["verdict"] == PASS:
            return store / "nights" / day
    raise InputError(
        f"{store / 'served'} serves a model that no night of {store} made, so there is no "
        "checkpoint to go on from. Roll the release back, or begin another store."
    )


def _nights(store: Path) -> dict[str, dict]:
    """Day -> record, of all nights that were done, in order."""
    paths = sorted((store / "nights").glob(f"*/{RECORD}"))
    return {path.parent.name: read_json(path, "a night", Night) for path in paths}


def _clear(store: Path) -> None:
    """Remove what nights left that died: nobody else is at work, we hold the lock."""
    for folder in (store / "nights", store / "served"):
        for path in folder.glob(PARTIAL):
            shutil.rmtree(path)


def _release_if_due(store: Path, nights: dict[str, dict]) -> None:
    """Release the last night's model if it passed and was not released before."""
    if not nights:
        return
    day = max(nights)
    night, served = store / "nights" / day, store / "served"
    if nights[day]["verdict"] == PASS and nights[day]["content"] not in _released(served):
        release(night / "export", night / "evaluation", served)


def _released(served: Path) -> set[str]:
    """What stands among the releases, or was withdrawn from them."""
    paths = [
        served / WITHDRAWN / str(version) / EXTRA / "metrics.json"
        for version in versions_of(served / WITHDRAWN)
    ]
    # without the file it was put there by other hands
    found = [read_json(path, "a release", Metrics) for path in paths if path.exists()]
    contents = {metrics.get("content") for metrics in found}
    if (served / BLESSED).exists():
        entries = read_json(served / BLESSED, "a release folder", Blessed)["releases"]
        contents |= {entry["content"] for entry in entries}
    return contents


def _checked(config: AnyConfig, day: str) -> str:
    """The day, if it is one, and the config can be used for nights.

    Raises:
        InputError: It is not, or cannot.
    """
    try:
        day = datetime.date.fromisoformat(day).isoformat()
    except ValueError:
        raise InputError(
            f"--day must be a date such as 2022-05-06. Received: {day!r}."
        ) from None
    data = config.data
    if not data.split.within_test:
        raise InputError(
            "data.split.validation must be a fraction, of the rows of the day, and "
            f"data.split.test a date, which --day replaces. Received: "
            f"validation={data.split.validation}, test={data.split.test}."
        )
    if data.window_ms is None or DAY_MS % data.window_ms:
        raise InputError(
            "data.window must be a day, or part one into equal parts: 1d, 6h. Received: "
            f"{data.window}."
        )
    return day


def _on_day(
    config: AnyConfig, folder: Path, day: str, addition: Addition
) -> tuple[AnyConfig, list[str]]:
    """The config of one night: its day tests, and the files with its rows are read.

    Returns:
        Also the days that are passed over, having no files: else one of them would
        refuse every night from then on.
    """
    split = config.data.split.model_copy(update={"test": datetime.date.fromisoformat(day)})
    patterns, days = config.data.input, _unread(kind_of(config), addition)
    dated = [pattern for pattern in patterns if DAY_MARK in pattern]

    def is_missing(unread: str) -> bool:
        paths = [within(folder, p.replace(DAY_MARK, unread)) for p in dated]
        return bool(dated) and not any(map(files_of, paths))

    missing = [d for d in days if addition.base and d != day and is_missing(d)]
    read = [d for d in days if d not in missing]
    paths = dict.fromkeys(p.replace(DAY_MARK, d) for p in patterns for d in read)
    update = {"split": split, "input": list(paths)}
    data = config.data.model_copy(update=update)
    return config.model_copy(update={"data": data}), missing


def _unread(kind: Kind, addition: Addition) -> list[str]:
    """The days to read after the base's training days; any, where there is no base."""
    if addition.base is None:
        return ["*"]
    base: Any = kind.open_examples(addition.base)
    last = list(base.windows("train"))[-1][:DAY]
    first = datetime.date.fromisoformat(last)
    count = (datetime.date.fromisoformat(addition.until) - first).days
    days = [(first + datetime.timedelta(n)).isoformat() for n in range(count + 1)]
    return [day for day in days if day not in addition.without]
