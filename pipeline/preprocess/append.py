"""How an example set grows: what its new training rows add to what was learned before.

Known values keep their ids.  A new one comes after them, once it was seen ``min_count``
times in all training rows so far: counts of all values, known or not, are kept in
``counts/``.  Statistics add up.  What scales a number (mean, deviation, the boundaries of
its buckets) stays as it was first learned, and so does a label's mean: a model that
goes on training must find its inputs as it left them.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from steadyrank.models.features import Feature
from steadyrank.pipeline.config.events import is_from_events
from steadyrank.pipeline.config.log import Log
from steadyrank.pipeline.examples.compatibility import (
    FREE,
    NOTHING,
    differences,
    in_words,
    read_by_preprocessing,
    require_made_for,
    without,
)
from steadyrank.pipeline.examples.example_set import (
    FORMAT,
    ExampleSet,
    Schema,
    seal,
)
from steadyrank.pipeline.files.documents import require
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import link_or_copy, read_json
from steadyrank.pipeline.files.shapes import GrowingManifest, MomentsOfNumbers, Statistics
from steadyrank.pipeline.preprocess import vocabulary as vocab
from steadyrank.pipeline.preprocess.catalogue import Catalogue
from steadyrank.pipeline.preprocess.counts import Counted
from steadyrank.pipeline.preprocess.negatives import rate_of
from steadyrank.pipeline.preprocess.overflow import overflows
from steadyrank.pipeline.preprocess.past import EVENTS, pasts_of
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.vocabulary import (
    Analysis,
    Learned,
    Moments,
    read_values,
)
from steadyrank.pipeline.raw_log.split import DAY, last_training_window

# what may change from one addition to the next: the days, how often a new value must be
# seen, and how files are read
MOVES_ON = {
    "split",
    "min_count",
    "max_size",
    "expire_after",
    "delimiter",
    "quote",
    "multiline",
    "columns",
    "time_unit",
}
PARTS = ("features", "tasks", "data.join", "data.earlier_events")
BECOME_KNOWN = "labels become known of rows that the set holds already"
NO_EVENTS = "it keeps no events, which a version before, or another split, made it without"
LEARNED = {
    "vocabulary_size": 0,
    "mean": 0.0,
    "std": 1.0,
    "centre": None,
    "boundaries": (),
    "reference": None,
    "quantiles": (),
    "levels": (),
}


def why_afresh(
    config, base: Path, parts: tuple[str, ...] = PARTS, format: int | str = FORMAT
) -> str:
    """Why a base cannot grow by what a config asks for; ``""``: it can.

    Other features, tasks or side tables need the whole log anew.  What else differs is an
    error, which ``require_same_kind`` raises.

    Args:
        config: The run's config.
        base: The example set's folder.
        parts: Of the config, a change of which needs the whole log.
        format: Of examples that can grow.

    Returns:
        The first difference, in words.
    """
    found = read_json(base / "schema.json", "an example set").get("format")
    if found != format:
        return f"its examples are of format {found}"
    if late := _late(config):
        return late
    manifest = read_json(base / "manifest.json", "an example set", GrowingManifest)
    made_with = manifest["config"]
    ours = read_by_preprocessing(config)
    both = (without(each, FREE | MOVES_ON) for each in (ours, made_with))
    for name, *values in differences(*both):
        # keys that only one has came with another version; features and tasks did not
        key_of_one = NOTHING in values and name.count(".") > 1
        if name.startswith(parts) and not key_of_one:
            return in_words(name, *values)
    past = any(map(is_from_events, getattr(config, "features", ())))
    if past and not keeps_events(manifest):
        return NO_EVENTS
    for section in {"features", "tasks"} & {*parts}:
        names, before = ([i["name"] for i in d.get(section, ())] for d in (ours, made_with))
        if names != before:
            return f"{section} are in another order"
    return ""


def _late(config) -> str:
    late = [t.name for t in getattr(config, "tasks", ()) if t.matures_after]
    return f"tasks.{late[0]}.matures_after: {BECOME_KNOWN}" if late else ""


def require_final_labels(config) -> None:
    """Raise where labels of the rows that a set holds may have come since."""
    if late := _late(config):
        raise InputError(f"{late}. Preprocess the whole log again, without --append.")


def events_of(plan: Plan, base: ExampleSet) -> list[dict]:
    """What a set says of the events that it keeps for features of later rows.

    Raises:
        InputError: It keeps none, or their keys were held as another type.
    """
    if not plan.past_names:
        return []
    said = NO_EVENTS if not keeps_events(base.manifest) else ""
    files = [f for f in base.manifest.get("histories", {}).get("files", []) if not said]
    for past in pasts_of(plan, base.path, files):
        if not past.held:
            said = said or f"it keeps none by {', '.join(past.by)}"
        elif not pq.read_schema(past.held).equals(past.schema):
            said = f"its events have other types of {', '.join(past.raws)}"
    if said:
        raise InputError(
            f"{base.path} cannot be added to: features.{plan.past_names[0]} is made from "
            f"events, and {said}. Preprocess the whole log again, without --append."
        )
    return files


def keeps_events(manifest: Mapping) -> bool:
    """Whether a set with features from events can be added to."""
    files = (manifest.get("histories") or {}).get("files", ())
    return any(file["what"] == EVENTS for file in files)


def last_window(base: ExampleSet, data: Log) -> str:
    """The last training window of a base, which must be one by the config, too."""
    last, ends = list(base.windows("train"))[-1], last_training_window(data)
    if last > ends:
        raise InputError(
            f"data.split: training rows end with window {ends}, but {base.path} trains on "
            f"windows up to {last}: models have seen them. Move data.split on."
        )
    return last


def take_over(base: ExampleSet, work: Path, first: str = "") -> list[dict]:
    """The base's training files, under a second name or copied; what it says of them.

    Args:
        base: The base.
        work: The set.
        first: The first day that is taken over: what is older may hold ids of the dead.
    """
    files = [
        file
        for file in base.manifest["files"]
        if file["split"] == "train" and file["window"][:DAY] >= first
    ]
    for file in files:
        (work / file["path"]).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(base.path / file["path"], work / file["path"])
    return files


def require_same_kind(plan: Plan, base: ExampleSet) -> None:
    """Raise where a plan's features or tasks are not those that a set was made with.

    Raises:
        InputError: They are others; the message names them.
    """
    features = [dataclasses.replace(f, **LEARNED) for f in base.schema.features]
    rates = {task.name: task.negative_rate for task in plan.tasks}
    tasks = [dataclasses.replace(t, mean=0.0, std=1.0) for t in base.schema.tasks]
    tasks = [
        dataclasses.replace(t, negative_rate=rates[t.name])
        if t.name == plan.config.drawn_task and t.name in rates
        else t
        for t in tasks
    ]
    for what, wanted, found in (
        ("features", features, plan.features),
        ("tasks", tasks, plan.tasks),
    ):
        if tuple(wanted) != tuple(found):
            names = {item.name for item in {*wanted} ^ {*found}} or "their order"
            raise InputError(
                f"{what}: {names} must be as the examples were made with. To change "
                "them, preprocess the whole log again, without --append."
            )
    require_made_for(plan.config, base.manifest, base.path, FREE | MOVES_ON)
    _statistics(base.path, plan)


def _statistics(base: Path, plan: Plan) -> tuple[dict, dict]:
    """Numeric feature -> what its numbers amounted to; the same of each task's labels.

    Raises:
        InputError: The file is corrupt.
    """
    path = base / "statistics.json"
    found = read_json(path, "an example set", Statistics)
    numeric = [f.name for f in plan.features if f.kind == "numeric"]
    wanted = {"features": numeric, "labels": [t.name for t in plan.tasks]}
    for what, names in wanted.items():
        for name in names:
            require(found[what].get(name), MomentsOfNumbers, f"{path}: {what}.{name}")
    both = [
        {name: _moments(found[what][name]) for name in names}
        for what, names in wanted.items()
    ]
    return both[0], both[1]


def _seen(base: Path, plan: Plan) -> Counter[str]:
    """Feature of ids without a vocabulary -> its values so far.

    A set of an earlier version did not count them: it is taken to have one.
    """
    found = read_json(base / "statistics.json", "an example set", Statistics)["features"]
    names = (f.name for f in plan.features if vocab.is_code(f))
    return Counter({name: found[name].get("values_seen", 1) for name in names})


def accumulate(analysis: Analysis, plan: Plan) -> Analysis:
    """Add what the numbers of the base's training rows amounted to."""
    base = plan.addition.base
    if base is None:
        return analysis
    numbers, labels = _statistics(base, plan)
    before = Analysis(
        seen=_seen(base, plan),
        numbers={name: (found,) for name, found in numbers.items()},
        labels={name: (found,) for name, found in labels.items()},
    )
    return vocab.merge([before, analysis])


def learn(
    analysis: Analysis,
    counted: Mapping[str, Counted],
    plan: Plan,
    folder: str,
    *,
    catalogues: Mapping[str, Catalogue] | None = None,
) -> Learned:
    """What encoding needs; see ``vocab.learn``. With a base, its ids and scales stay, as
    does the rate of negatives that were drawn."""
    base = plan.addition.base
    if base is None:
        learned = vocab.learn(analysis, plan, counted, folder)
        if catalogues is not None:
            learned = _rated(learned, plan, catalogues)
        return _sealed(learned, plan, None)
    schema = ExampleSet.read_schema(base)
    old = {
        f.name: read_values(base, f.name, f.raw)
        for f in schema.features
        if f.has_vocabulary
    }
    learned = vocab.learn(analysis, plan, counted, folder, old=old)
    features = [
        dataclasses.replace(was, vocabulary_size=now.vocabulary_size)
        for was, now in zip(schema.features, learned.features, strict=True)
    ]
    learned = dataclasses.replace(learned, features=tuple(features), tasks=schema.tasks)
    return _sealed(learned, plan, schema)


def _rated(learned: Learned, plan: Plan, catalogues: Mapping[str, Catalogue]) -> Learned:
    rate = rate_of(catalogues, plan.config.data.negatives.per_positive)
    tasks = [
        dataclasses.replace(task, negative_rate=rate)
        if task.name == plan.config.drawn_task
        else task
        for task in learned.tasks
    ]
    return dataclasses.replace(learned, tasks=tuple(tasks))


def _sealed(learned: Learned, plan: Plan, base: Schema | None) -> Learned:
    """What was learned with its schema, whose fingerprint every record will carry."""
    config = plan.config
    truths = tuple(task.name for task in config.tasks if task.truth)
    formula, group = config.score_formula, config.data.group is not None
    schema = Schema(learned.features, learned.tasks, formula, truths, group)
    said = overflows(config, learned.statistics)
    found = learned.statistics["features"].values()
    moved = any(feature.get("reused") for feature in found)
    schema = seal(schema, learned.lines, base, moved=moved)
    return dataclasses.replace(learned, schema=schema, overflows=said)


def earlier_ids(before: Feature, now: Feature, path: Path) -> np.ndarray:
    """What each id would have been with an earlier vocabulary.

    Args:
        before: The feature as it was then.
        now: The feature as it is.
        path: The example set of ``now``.

    Returns:
        int32 ``[now.rows]``: new values are unknown ones.
    """
    ids = np.arange(now.rows, dtype=np.int32)
    new = read_values(path, now.name, now.raw)[before.vocabulary_size :]
    ids[before.rows :] = vocab.unknown_ids(new, before)
    return ids


def _moments(found: dict) -> Moments:
    """As they were; of a column that has held no value yet, JSON has no range."""
    names = ("rows", "mean", "m2", "min", "max", "missing")
    values = {name: found[name] for name in names}
    if not values["rows"]:
        return Moments(missing=values["missing"])
    return Moments(*values.values())
