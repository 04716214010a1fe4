"""What preprocessing reads: files opened, columns found, and all of it fit to serve."""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.events import is_from_events
from steadyrank.pipeline.config.features import has_column
from steadyrank.pipeline.config.log import Join
from steadyrank.pipeline.config.tasks import beside, column
from steadyrank.pipeline.files.errors import InputError, NoColumnError, near
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.raw_log.columns import is_bytes, raw_type
from steadyrank.pipeline.raw_log.find import is_meant
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import Log, open_log, read_all
from steadyrank.pipeline.raw_log.times import require_time


@dataclass(frozen=True)
class Inputs:
    """The log and its side tables, opened.

    Attributes:
        log: The log's files.
        sides: A side table for each of the config's joins.
        own: Column that the log itself has to give -> the key of the config that wants it.
        types: Column -> a file that has it, and its type there.
    """

    log: Log
    sides: tuple[Log, ...]
    own: dict[str, str]
    types: dict[str, tuple[str, pa.DataType]]


def open_inputs(config: Config, folder: Path) -> Inputs:
    """Open every input file and check that it can serve.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.

    Raises:
        InputError: A file or a column is missing or does not suit.
    """
    needs = columns_read(config)
    sides = tuple(_open_side(join, config, folder, needs) for join in config.data.join)
    given = _given_by_side(config.data.join, sides, needs)
    own = {name: key for name, key in needs.items() if name not in given}
    patterns = [within(folder, pattern) for pattern in config.data.input]
    log = _open_main(patterns, config, own, given)
    both = set(given) & set(log.schema.names) & set(needs)
    if both:
        raise InputError(
            f"columns {sorted(both)} are in the log and in a side table. Give the join "
            "a prefix, such as {input: users.parquet, on: user_id, prefix: user_}."
        )
    _require_order(config.data.join, sides)
    types = {name: (log.files[0], log.schema.field(name).type) for name in own}
    inputs = Inputs(log, sides, own, types | given)
    _require_types(config, inputs)
    return inputs


def _require_types(config: Config, inputs: Inputs) -> None:
    """Raise where keys, times and groups are of types, or in places, that cannot serve."""
    data, types = config.data, inputs.types
    for join in data.join:
        _require_key(join.on, *types[join.on])
    drawn = data.negatives.item_columns if data.negatives else ()
    within_log = {"data.time": [data.time] if data.time else []}
    within_log |= {"data.key": data.key, "data.negatives": drawn}
    for key, names in within_log.items():
        for name in names:
            if name not in inputs.own:
                raise InputError(
                    f"{key}: column {name!r} must be in the log itself. Received: a "
                    f"column of {types[name][0]}. Name another, or put it into the log."
                )
    if data.time:
        path, kind = types[data.time]
        require_time(kind, f"data.time: column {data.time!r} of {path}")
    for name, key in _of_one_value(config).items():
        _require_one_value(key, name, *types[name])


def columns_read(config: Config) -> dict[str, str]:
    """Column -> the key of the config that wants it."""
    needs = {
        column(item): f"features.{item.name}"
        for item in filter(has_column, config.features)
        if not is_from_events(item)
    }
    for item in config.from_events:
        for name in item.by:
            needs.setdefault(name, f"features.{item.name}.by")
    needs |= {
        column(task): f"tasks.{task.name}"
        for task in config.tasks
        if not config.is_stated(task)
    }
    for task in config.tasks:
        needs |= {name: f"tasks.{task.name}.{key}" for key, name in beside(task).items()}
    needs |= {join.on: "data.join" for join in config.data.join}
    if config.data.time:
        needs[config.data.time] = "data.time"
    if config.data.group:
        needs[config.data.group] = "data.group"
    if config.data.split.column:
        needs.setdefault(config.data.split.column, "data.split.column")
    if config.data.negatives:
        named = dict.fromkeys(config.data.negatives.item_columns, "data.negatives")
        needs = {**named, **needs}
    kept = dict.fromkeys(config.data.keep_columns, "data.keep_columns (or a baseline)")
    return {**kept, **dict.fromkeys(config.data.key, "data.key"), **needs}


def _open_main(patterns, config: Config, own: dict[str, str], given_by_side) -> Log:
    """Open the log; a column that is nowhere is reported with side tables in mind."""
    data = config.data
    log = open_log(patterns, Form.of(data), {}, "data.input")
    for task in config.tasks:
        if config.is_stated(task) and task.name in log.schema.names:
            own[task.name] = f"tasks.{task.name}"
    for name, key in own.items():
        if name not in log.schema.names:
            others = [*log.schema.names, *given_by_side]
            places = ", ".join(
                [log.files[0], *sorted({f for f, _ in given_by_side.values()})]
            )
            hint = near(name, others)
            said = f"{places}: no column {name!r}, which {key} needs. {hint}"
            raise NoColumnError(said, name, places=places, hint=hint)
    return open_log(patterns, Form.of(data), own)


def open_earlier(config: Config, folder: Path, log: Log) -> Log | None:
    """The second log: what events are made of must be there as it is in the first."""
    patterns = [within(folder, path) for path in config.data.earlier_events]
    if not patterns or not config.from_events:
        return None
    needs = {config.data.time: "data.time"}
    tasks = {task.name: task for task in config.tasks}
    for item in config.from_events:
        where = f"features.{item.name}"
        for name in item.by or [config.data.group]:
            needs.setdefault(name, f"{where}.by")
        if item.kind == "sequence":
            needs.setdefault(column(config.owner(item)), f"{where}.of")
        if item.where and column(tasks[item.where]) in log.schema.names:
            needs.setdefault(column(tasks[item.where]), f"{where}.where")
    earlier = open_log(patterns, Form.of(config.data), needs, "data.earlier_events")
    if both := sorted({*earlier.files} & {*log.files}):
        raise InputError(
            f"data.earlier_events: {both[0]} is a file of data.input as well, and its rows "
            "would be events alone. Name it in one of the two."
        )
    time, path = config.data.time, earlier.files[0]
    for name, key in needs.items():
        kind = earlier.schema.field(name).type
        if name == time:
            require_time(kind, f"data.time: column {name!r} of {path}")
        elif key.endswith((".by", ".of")):
            said = f"{key}: column {name!r} of {path}"
            raw_type("categorical", kind, said, False)
    return earlier


def _open_side(join: Join, config: Config, folder: Path, needs: dict[str, str]) -> Log:
    patterns = [within(folder, join.input)]
    form = replace(Form.of(config.data), columns=())
    side = open_log(patterns, form, {}, "data.join.input")
    given = {name: join.prefix + name for name in side.schema.names}
    wanted = {name: needs[put] for name, put in given.items() if put in needs}
    side = open_log(patterns, form, wanted | {join.on: "data.join.on"})
    _require_key(join.on, side.files[0], side.schema.field(join.on).type)
    return side


def _given_by_side(joins, sides, needs: dict[str, str]) -> dict[str, tuple]:
    """Column -> the side table's file that it comes from, and its type there."""
    given = {}
    for join, side in zip(joins, sides, strict=True):
        for name in side.schema.names:
            put = join.prefix + name
            if name == join.on:
                continue
            if put in given and put in needs:
                raise InputError(
                    f"column {put!r}, which {needs[put]} needs, is in "
                    f"{given[put][0]} and in {side.files[0]}. Give one of the joins "
                    "a prefix."
                )
            given[put] = side.files[0], side.schema.field(name).type
    return given


def _require_order(joins, sides) -> None:
    """Raise where a join needs a column that only a later one gives."""
    for place, join in enumerate(joins):
        for later, side in zip(joins[place:], sides[place:], strict=True):
            given = {later.prefix + n for n in side.schema.names if n != later.on}
            if join.on in given:
                raise InputError(
                    f"data.join: column {join.on!r}, which {join.input} is joined on, "
                    f"comes from {side.files[0]}. Put that join first."
                )


def held_out(config: Config, folder: Path, log: Log) -> frozenset[str]:
    """The files of the log that are split into validation and test."""
    found = set()
    for pattern in config.data.split.files:
        names = [f for f in log.files if is_meant(f, within(folder, pattern))]
        if not names:
            raise InputError(
                f"data.split.files: {pattern!r} is none of the log's files. "
                f"{near(pattern, [Path(name).name for name in log.files])}"
            )
        found.update(names)
    if found == set(log.files):
        raise InputError(
            "data.split.files names all files of data.input: nothing is left to train on. "
            "Received: "
            f"{', '.join(config.data.split.files)}, which are all {len(found)}. Name "
            "fewer."
        )
    return frozenset(found)


def require_different(join: Join, side: Log) -> None:
    """Raise where two rows of a side table have one key."""
    keys = read_all(side, [join.on])[join.on]
    if len(pc.unique(keys)) < len(keys):
        raise InputError(
            f"{side.files[0]}: column {join.on!r} must differ from row to row to be "
            f"joined on. Received: {len(keys)} rows, {len(pc.unique(keys))} values."
        )


def _require_key(name: str, path: str, kind: pa.DataType) -> None:
    """Raise where a column is of a type whose values cannot be looked up."""
    if pa.types.is_nested(kind) or is_bytes(kind):
        raise InputError(
            f"data.join: column {name!r} of {path} is {kind}, which cannot be joined on. "
            "Allowed: numbers, strings, dates and times."
        )


def _of_one_value(config: Config) -> dict[str, str]:
    """Columns that tell rows apart by one value each, and the key that says so."""
    data = config.data
    named = {"data.group": data.group, "data.split.column": data.split.column}
    if data.negatives:
        named["data.negatives.item"] = data.negatives.item
    found = {name: key for key, name in named.items() if name}
    for item in config.from_events:
        found |= dict.fromkeys(item.by, f"features.{item.name}.by")
    return found


def _require_one_value(key: str, name: str, path: str, kind: pa.DataType) -> None:
    if pa.types.is_nested(kind):
        raise InputError(
            f"{key}: column {name!r} of {path} is {kind}, and each row must have one value "
            "there. Allowed: numbers, strings, dates and times."
        )
