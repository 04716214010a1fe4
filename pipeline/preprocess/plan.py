"""What preprocessing will do, settled before it starts: files, columns, types."""

import datetime
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from steadyrank.models.features import Feature, Task, raw_features
from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.features import has_column
from steadyrank.pipeline.config.tasks import beside, column
from steadyrank.pipeline.preprocess.inputs import (
    held_out,
    open_earlier,
    open_inputs,
    require_different,
)
from steadyrank.pipeline.preprocess.typed import (
    feature_of,
    key_raws,
    require_same_values,
    task_of,
)
from steadyrank.pipeline.raw_log.arrow_types import is_wide
from steadyrank.pipeline.raw_log.columns import is_text
from steadyrank.pipeline.raw_log.open import Log
from steadyrank.pipeline.raw_log.split import DAY

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
        wanted |= {name for task in tasks for name in beside(task).values()}
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
    inputs = open_inputs(config, folder)
    keys = key_raws(config, inputs)
    features = tuple(feature_of(item, inputs.types, config) for item in config.features)
    require_same_values(features)
    rows, each = inputs.log.rows * rows_each(config), config.data.rows_per_shard
    plan = Plan(
        config=config,
        log=inputs.log,
        sides=inputs.sides,
        carried=tuple(inputs.own),
        features=features,
        tasks=tuple(task_of(item, inputs.types, config) for item in config.tasks),
        columns={
            i.name: column(i) for i in [*filter(has_column, config.features), *config.tasks]
        },
        shards=1 + rows // (each or ROWS_PER_SHARD),
        held_out=held_out(config, folder, inputs.log),
        addition=addition,
        after=after,
        key_raws=keys,
        earlier=open_earlier(config, folder, inputs.log) if addition.base is None else None,
    )
    for number, (join, side) in enumerate(zip(config.data.join, inputs.sides, strict=True)):
        if not plan.is_spread(number):
            require_different(join, side)
    return plan


def rows_each(config: Config) -> int:
    """Rows that a row of the log becomes, at most: itself, and negatives that are drawn."""
    return 1 + (config.data.negatives.per_positive if config.data.negatives else 0)


def _is_no_number(kind: pa.DataType) -> bool:
    return not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
