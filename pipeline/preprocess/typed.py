"""Features and tasks with the types that their columns have; nothing learned yet."""

import dataclasses

import pyarrow as pa

from steadyrank.models.features import CLOCKS, Feature, Task
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.events import is_from_events
from steadyrank.pipeline.config.tasks import beside, column
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.inputs import Inputs
from steadyrank.pipeline.raw_log.columns import raw_type
from steadyrank.pipeline.raw_log.times import require_time


def key_raws(config: Config, inputs: Inputs) -> dict[str, str]:
    """How the columns are held by which events are put together.

    Raises:
        InputError: One of them, or of the values, is not in the log itself, or is of
            several values; or a column is called as a feature that is made.
    """
    found: dict[str, str] = {}
    log, types = inputs.log, inputs.types
    held = dict.fromkeys(log.schema.names, log.files[0])
    held |= {name: path for name, (path, _) in types.items()}
    for item in config.from_events:
        where = f"features.{item.name}"
        if item.name in held:
            raise InputError(
                f"{where}: from: events makes this feature, and a column of "
                f"{held[item.name]} is called so. Give the feature another name."
            )
        by = item.by or [config.data.group]
        read = {name: "by" for name in by}
        if item.kind == "sequence":
            read[column(config.owner(item))] = "of"
        for name, key in read.items():
            if name not in inputs.own:
                raise InputError(
                    f"{where}.{key}: column {name!r} must be in the log itself, as events "
                    f"are its rows. Received: a column of {types[name][0]}. Put it "
                    "into the log."
                )
        for name in by:
            path, kind = types[name]
            said = f"{where}.by: column {name!r} of {path}"
            found[name] = raw_type("categorical", kind, said, False)
    return found


def feature_of(item, types: dict[str, tuple[str, pa.DataType]], config: Config) -> Feature:
    """A feature with the type of its column.

    Args:
        item: The config's.
        types: Column -> a file that has it, and its type there.
        config: The run's.

    Raises:
        InputError: The column is of a type that the kind of feature cannot take.
    """
    if is_from_events(item):
        return _made(item, types, config)
    if item.kind == "cross":
        return _of_hashes(item, raw="string", of=tuple(item.of))
    path, kind = types[column(item)]
    where = f"features.{item.name}: column {column(item)!r} of {path}"
    if item.kind in CLOCKS:
        require_time(kind, where)
        moments = (config.data.time_unit, config.data.timezone, config.data.time_format)
        zone = item.zone or config.data.timezone
        return Feature(item.name, item.kind, raw="integer", zone=zone, moments=moments)
    several = getattr(item, "max_values", 0) > 0
    raw = raw_type(item.kind, kind, where, several)
    if item.kind == "vector":
        return Feature(item.name, "numeric", width=item.length)
    if item.kind == "numeric":
        clip = tuple(item.clip or ())
        return Feature(item.name, "numeric", transform=item.transform, clip=clip)
    if item.kind == "hash":
        return _of_hashes(item, raw=raw)
    count = "length" if item.kind == "sequence" else "max_values"
    if several and not item.separator and not pa.types.is_nested(kind):
        raise InputError(
            f"{where} is {kind}, and {count} needs a list. Give a separator, "
            f"or remove {count}."
        )
    if item.separator and pa.types.is_nested(kind):
        raise InputError(
            f"{where} is {kind}: a separator splits texts, and lists are split already. "
            "Remove the separator."
        )
    return Feature(
        item.name,
        item.kind,
        raw="string" if item.separator else raw,
        separator=item.separator,
        max_values=item.max_values,
        oov_buckets=config.owner(item).oov_buckets,
        table=item.table,
    )


def _made(item, types, config: Config) -> Feature:
    """A feature that is made out of the log's earlier rows."""
    if item.kind == "numeric":
        clip = tuple(item.clip or ())
        return Feature(item.name, "numeric", transform=item.transform, clip=clip)
    owner = config.owner(item)
    return dataclasses.replace(
        feature_of(owner, types, config),
        name=item.name,
        kind="sequence",
        max_values=item.length,
        table=item.table,
    )


def _of_hashes(item, **said) -> Feature:
    counts = {"hashes": item.hashes, "hash_buckets": item.buckets}
    return Feature(item.name, item.kind, pooling="sum", **counts, **said)


def require_same_values(features: tuple[Feature, ...]) -> None:
    """Raise where features are to share a table, but not a type of value."""
    raw = {feature.name: feature.raw for feature in features}
    for feature in features:
        if feature.table and raw[feature.table] != feature.raw:
            raise InputError(
                f"features.{feature.name}: shares {feature.table}'s table, but its values "
                f"are of type {feature.raw}, not {raw[feature.table]}: none would be "
                "found. Give one of them another type in the log, or tables of their own."
            )


def task_of(item, types: dict[str, tuple[str, pa.DataType]], config: Config) -> Task:
    """A task; its columns hold numbers.

    Args:
        item: The config's.
        types: Column -> a file that has it, and its type there.
        config: The run's.

    Raises:
        InputError: A column holds no numbers.
    """
    keys = {"": column(item)} | {f".{key}": name for key, name in beside(item).items()}
    for key, name in keys.items():
        if not (config.is_stated(item) and name not in types):
            path, kind = types[name]
            where = f"tasks.{item.name}{key}: column {name!r} of {path}"
            raw_type("numeric", kind, where, False)
    return Task(
        item.name,
        item.kind,
        item.given,
        item.transform,
        negative_rate=config.negative_rate(item),
        sample_weight=config.sample_weight(item),
        soft_label=item.soft_label,
    )
