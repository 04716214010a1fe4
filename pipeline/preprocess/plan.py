"""What preprocessing will do, settled before it starts: files, columns, types."""

import dataclasses
import datetime
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.models.features import CLOCKS, Feature, Task, raw_features
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.events import is_from_events
from steadyrank.pipeline.config.features import has_column
from steadyrank.pipeline.config.log import Join
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.files.errors import InputError, NoColumnError, near
from steadyrank.pipeline.files.urls import within
from steadyrank.pipeline.raw_log.arrow_types import is_wide
from steadyrank.pipeline.raw_log.columns import is_bytes, is_text, raw_type
from steadyrank.pipeline.raw_log.find import is_meant
from steadyrank.pipeline.raw_log.formats.base import Form
from steadyrank.pipeline.raw_log.open import Log, open_log, read_all
from steadyrank.pipeline.raw_log.split import DAY
from steadyrank.pipeline.raw_log.times import require_time

SPREAD_ROWS = 500_000  # of a side table: with more, it is joined by bucket
ROWS_PER_SHARD = 2_000_000  # of a whole log: what one worker holds at once is less


@dataclass(frozen=True)
class Addition:
    """Which rows of a log are added to what, by the names of their windows.

    Attributes:
        base: The example set to add to; None: a new one is made.
        until: The last day that is read; ``""``: all that there is.
        without: Days that are left out.
    """

    base: Path | None = None
    until: str = ""
    without: tuple[str, ...] = ()

    def takes(self, window: str, after: str) -> bool:
        """Whether rows of a window are read; a day is the start of its windows' names.

        Args:
            window: Its name.
            after: The last window that is not read, the base having it; ``""``: none.
        """
        day = window[:DAY]
        early = not self.until or day <= self.until
        return window > after and early and day not in self.without

    def span(self, after: str) -> str:
        """Which days were asked for, for a message."""
        parts = [(" after ", after), (" up to ", self.until)]
        return "".join(word + day for word, day in parts if day)


WHOLE_LOG = Addition()


@dataclass(frozen=True)
class Plan:
    """Everything that the workers need to know; small, so that it travels.

    Attributes:
        config: The run's config.
        log: The log's files.
        sides: A side table for each of the config's joins.
        carried: Columns of the log that go on after duplicates were found.
        features: As the config has them, with the raw type of each; nothing learned yet.
        columns: Feature or task name -> its column.
        shards: Parts of each window of each split; a file each, or see ``file_of``.
        held_out: The files that ``data.split.files`` keeps from training.
        addition: Which rows are added to what.
        after: The last window that is not read, the base having it; ``""``: none.
        spelled: How whole numbers are written in the texts of the base.
        key_raws: Column by which events are put together -> how its values are held.
        earlier: The files of events that are no rows; None: there are none to be read.
    """

    config: Config
    log: Log
    sides: tuple[Log, ...]
    carried: tuple[str, ...]
    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]
    columns: dict[str, str]
    shards: int
    held_out: frozenset[str] = frozenset()
    addition: Addition = WHOLE_LOG
    after: str = ""
    spelled: dict = field(default_factory=dict)
    key_raws: dict[str, str] = field(default_factory=dict)
    earlier: Log | None = None

    @property
    def past_names(self) -> tuple[str, ...]:
        """Features that are made out of the log's earlier rows."""
        return tuple(f.name for f in self.config.from_events)

    @property
    def derived(self) -> tuple[str, ...]:
        """Features that are made out of others, or of other rows."""
        crosses = (f.name for f in self.features if f.of)
        return (*self.past_names, *crosses)

    def horizon_of(self, item) -> str | None:
        """The first day of which a feature's values are alive; None: none expires.

        Args:
            item: The config's feature.
        """
        days = getattr(self.config.owner(item), "expires", None)
        if days is None:
            return None
        ends = self.config.data.split.training_ends
        return (ends - datetime.timedelta(days)).isoformat()[:DAY]

    @property
    def horizons(self) -> dict[str, str]:
        """Feature with a vocabulary -> the same, where values expire."""
        found = {item.name: self.horizon_of(item) for item in self.config.features}
        return {name: day for name, day in found.items() if day is not None}

    @property
    def event_columns(self) -> tuple[str, ...]:
        """Columns of the log that events are made of, but for labels that it may lack."""
        made = self.config.from_events
        of = (column(self.config.owner(f)) for f in made if f.kind == "sequence")
        labels = (column(t) for t in self.config.tasks if t.name in {f.where for f in made})
        found = (self.config.data.time, *self.key_raws, *of, *labels)
        return tuple(dict.fromkeys(name for name in found if name))

    @property
    def texts(self) -> list[str]:
        """Columns of the log whose texts are ids, or keys."""
        data = self.config.data
        ids = {
            self.columns[f.name] for f in raw_features(self.features) if f.raw == "string"
        }
        several = {self.columns[f.name] for f in self.features if f.separator}
        ids |= {data.group, *(join.on for join in data.join), *self.key_raws}
        held = {f.name for f in self.log.schema if is_text(f.type)}
        return sorted((ids - several) & held)

    def side_columns(self, number: int) -> tuple[str, ...]:
        """Columns of a side table that are read: its key, and those that something needs.

        Args:
            number: Of the join.
        """
        data, tasks = self.config.data, self.config.tasks
        wanted = {*self.columns.values(), data.group, *data.keep_columns}
        wanted |= {join.on for join in data.join}
        wanted |= {name for task in tasks for name in (task.truth, task.sample_weight)}
        join, held = data.join[number], self.sides[number].schema.names
        names = [name for name in held if join.prefix + name in wanted]
        return tuple(dict.fromkeys([join.on, *names]))

    def is_spread(self, number: int) -> bool:
        """Whether a side table is joined by bucket: it is large, and all of it numbers.

        Texts are not: how ids are written in them is known when all of them were seen.
        """
        join, side = self.config.data.join[number], self.sides[number]
        if side.rows <= SPREAD_ROWS or join.on not in self.carried:
            return False
        kinds = [side.schema.field(name).type for name in self.side_columns(number)]
        keys = [self.log.schema.field(join.on).type, side.schema.field(join.on).type]
        whole = all(pa.types.is_integer(kind) and not is_wide(kind) for kind in keys)
        return whole and not any(map(_is_no_number, kinds))

    def takes(self, window: str) -> bool:
        """Whether rows of a window are read."""
        return self.addition.takes(window, self.after)


def make_plan(
    config: Config, folder: Path, addition: Addition = WHOLE_LOG, after: str = ""
) -> Plan:
    """Look at every input file and check that it can serve.

    Args:
        config: The run's config.
        folder: What the config's paths are relative to.
        addition: Which rows are added to what.
        after: The last window that needs no reading: the base holds it.

    Raises:
        InputError: A file or a column is missing or does not suit.
    """
    needs = columns_read(config)
    sides = tuple(_open_side(join, config, folder, needs) for join in config.data.join)
    given_by_side = _given_by_side(config.data.join, sides, needs)
    own = {name: key for name, key in needs.items() if name not in given_by_side}
    patterns = [within(folder, pattern) for pattern in config.data.input]
    log = _open_log(patterns, config, own, given_by_side)
    both = set(given_by_side) & set(log.schema.names) & set(needs)
    if both:
        raise InputError(
            f"columns {sorted(both)} are in the log and in a side table. Give the join "
            "a prefix, such as {input: users.parquet, on: user_id, prefix: user_}."
        )
    _require_order(config.data.join, sides)
    types = {name: (log.files[0], log.schema.field(name).type) for name in own}
    types.update(given_by_side)
    for join in config.data.join:
        _require_key(join.on, *types[join.on])
    if config.data.time:
        if config.data.time not in own:
            raise InputError(
                f"data.time: column {config.data.time!r} must be in the log itself. "
                f"Received: a column of {types[config.data.time][0]}."
            )
        path, kind = types[config.data.time]
        require_time(kind, f"data.time: column {config.data.time!r} of {path}")
    for name, key in _of_one_value(config).items():
        _require_one_value(key, name, *types[name])
    drawn = config.data.negatives.item_columns if config.data.negatives else ()
    for key, name in [
        *(("key", n) for n in config.data.key),
        *(("negatives", n) for n in drawn),
    ]:
        if name not in own:
            raise InputError(
                f"data.{key}: column {name!r} must be in the log itself. Received: a "
                f"column of {types[name][0]}."
            )
    held = {name: log.files[0] for name in log.schema.names}
    held |= {name: path for name, (path, _) in given_by_side.items()}
    key_raws = _key_raws(config, own, types, held)
    features = tuple(_feature(item, types, config) for item in config.features)
    _require_same_values(features)
    plan = Plan(
        config=config,
        log=log,
        sides=sides,
        carried=tuple(own),
        features=features,
        tasks=tuple(_task(item, types, config) for item in config.tasks),
        columns={
            i.name: column(i) for i in [*filter(has_column, config.features), *config.tasks]
        },
        shards=1
        + log.rows * rows_each(config) // (config.data.rows_per_shard or ROWS_PER_SHARD),
        held_out=_held_out(config, folder, log),
        addition=addition,
        after=after,
        key_raws=key_raws,
        earlier=_open_earlier(config, folder, log) if addition.base is None else None,
    )
    for number, (join, side) in enumerate(zip(config.data.join, sides, strict=True)):
        if not plan.is_spread(number):
            _require_different(join, side)
    return plan


def rows_each(config: Config) -> int:
    """Rows that a row of the log becomes, at most: itself, and negatives that are drawn."""
    return 1 + (config.data.negatives.per_positive if config.data.negatives else 0)


def _held_out(config: Config, folder: Path, log: Log) -> frozenset[str]:
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
    needs |= {t.truth: f"tasks.{t.name}.truth" for t in config.tasks if t.truth}
    needs |= {
        t.sample_weight: f"tasks.{t.name}.sample_weight"
        for t in config.tasks
        if t.sample_weight
    }
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


def _open_log(patterns, config: Config, own: dict[str, str], given_by_side) -> Log:
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


def _open_earlier(config: Config, folder: Path, log: Log) -> Log | None:
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


def _require_different(join: Join, side: Log) -> None:
    """Raise where two rows of a side table have one key."""
    keys = read_all(side, [join.on])[join.on]
    if len(pc.unique(keys)) < len(keys):
        raise InputError(
            f"{side.files[0]}: column {join.on!r} must differ from row to row to be "
            f"joined on. Received: {len(keys)} rows, {len(pc.unique(keys))} values."
        )


def _is_no_number(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
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


def _key_raws(config: Config, own, types, held: dict[str, str]) -> dict[str, str]:
    """How the columns are held by which events are put together.

    Raises:
        InputError: One of them, or of the values, is not in the log itself, or is of
            several values; or a column is called as a feature that is made.
    """
    found: dict[str, str] = {}
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
            if name not in own:
                raise InputError(
                    f"{where}.{key}: column {name!r} must be in the log itself, as events "
                    f"are its rows. Received: a column of {types[name][0]}."
                )
        for name in by:
            path, kind = types[name]
            said = f"{where}.by: column {name!r} of {path}"
            found[name] = raw_type("categorical", kind, said, False)
    return found


def _made(item, types, config: Config) -> Feature:
    """A feature that is made out of the log's earlier rows."""
    if item.kind == "numeric":
        clip = tuple(item.clip or ())
        return Feature(item.name, "numeric", transform=item.transform, clip=clip)
    owner = config.owner(item)
    return dataclasses.replace(
        _feature(owner, types, config),
        name=item.name,
        kind="sequence",
        max_values=item.length,
        table=item.table,
    )


def _feature(item, types: dict[str, tuple[str, pa.DataType]], config: Config) -> Feature:
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
            f"{where} is {kind}: {count} needs a list, or a separator to split by."
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


def _of_hashes(item, **said) -> Feature:
    counts = {"hashes": item.hashes, "hash_buckets": item.buckets}
    return Feature(item.name, item.kind, pooling="sum", **counts, **said)


def _require_same_values(features: tuple[Feature, ...]) -> None:
    """Raise where features are to share a table, but not a type of value."""
    raw = {feature.name: feature.raw for feature in features}
    for feature in features:
        if feature.table and raw[feature.table] != feature.raw:
            raise InputError(
                f"features.{feature.name}: shares {feature.table}'s table, but its values "
                f"are of type {feature.raw}, not {raw[feature.table]}: none would be "
                "found. Give one of them another type in the log, or tables of their own."
            )


def _task(item, types: dict[str, tuple[str, pa.DataType]], config: Config) -> Task:
    keys = {"": column(item), ".truth": item.truth, ".sample_weight": item.sample_weight}
    for key, name in keys.items():
        if name and not (config.is_stated(item) and name not in types):
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
    )
