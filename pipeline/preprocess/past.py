"""What came before each row of a log, out of the log itself: which events, and how many.

An event is a row of the log with a readable time and a key.  It is in the past of a later
row, never of one of the same moment; where its label counts, only from ``label_delay`` on.
Rows are put together by key, a bucket of keys at a time (``looked_back``); what is found
goes back to where each row stands (``histories``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW, group_numbers, read_times
from steadyrank.pipeline.preprocess.spill import NEWEST, buckets_of
from steadyrank.pipeline.raw_log.columns import (
    Notation,
    convert,
    in_one_piece,
    to_finite,
)
from steadyrank.pipeline.raw_log.findings import without_zeros
from steadyrank.pipeline.raw_log.fingerprint import hash_together, mix
from steadyrank.pipeline.raw_log.join import ROW
from steadyrank.pipeline.raw_log.split import why_no_border
from steadyrank.pipeline.raw_log.times import DAY_MS

BUCKET_ROWS = 250_000  # about so many events are put in order at a time
TIME = "__time"
EVENTS, LATEST = "events", "latest"  # what a set keeps of them
KINDS = {"string": pa.string(), "integer": pa.int64()}


@dataclass(frozen=True)
class Past:
    """Features of the events that share a key with the row.

    Attributes:
        number: Of what is carried back to the rows, unlike that of any join.
        by: The columns of the key.
        raws: Column -> how its values are held: ``"string"`` or ``"integer"``.
        names: Of the features.
        config: The run's.
        bits: Of a key's hash, that say which bucket it is in.
        title: What files of them are called.
        held: The file of the events before these rows; ``""``: there is none.
        after: The last window of which it holds any.
        border: The moment up to which events are kept for rows to come; None: none are.
    """

    looks_back: ClassVar = True
    number: int
    by: tuple[str, ...]
    raws: dict[str, str]
    names: tuple[str, ...]
    config: Config
    bits: int
    title: str = ""
    held: str = ""
    after: str = ""
    border: int | None = None

    @property
    def features(self) -> list[Any]:
        """As the config has them."""
        return [f for f in self.config.from_events if f.name in self.names]

    @property
    def labels(self) -> list[Any]:
        """The tasks whose labels say which events count."""
        asked = {f.where for f in self.features}
        return [task for task in self.config.tasks if task.name in asked]

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns of the log, but for labels that it may lack."""
        return self.config.data.time, HIGH, LOW, *self.raws

    @property
    def bytes_each(self) -> int:
        """About what is carried back to a row."""
        return 16 * len(self.features)

    def taken(self, table: pa.Table) -> pa.Table:
        """The columns of some rows that events are made of."""
        labels = [n for n in map(column, self.labels) if n in table.column_names]
        return table.select(list(dict.fromkeys([*self.needs, *labels])))

    def wanted(self, tables: Iterable[pa.Table]) -> tuple[pa.Table, np.ndarray]:
        """Events of some tables, one after the other, numbered, and the bucket of each."""
        return self.numbered(pa.concat_tables(map(self._events, tables)))

    def numbered(self, events: pa.Table) -> tuple[pa.Table, np.ndarray]:
        """Events as they are kept, numbered, and the bucket of each."""
        events = events.combine_chunks()
        keys = [_numbers(events[name]) for name in self.by]
        hashed = hash_together(mix(key.view(np.uint64)) for key in keys)
        events = events.append_column(ROW, pa.array(np.arange(len(events))))
        return events, buckets_of(hashed.view(np.int64), self.bits)

    def newest(self, events: pa.Table) -> dict[str, int]:
        """The last moment of each day of some events, for the counts of what is read."""
        ms = events[TIME].to_numpy()
        days = pa.table({"day": ms // DAY_MS, "ms": ms}).group_by("day")
        found = days.aggregate([("ms", "max")]).to_pydict()
        pairs = zip(found["day"], found["ms_max"], strict=True)
        return {f"{NEWEST}{day}": last for day, last in pairs}

    @property
    def schema(self) -> pa.Schema:
        """Of events, as a set keeps them."""
        own = [(TIME, pa.int64()), (HIGH, pa.uint64()), (LOW, pa.uint64())]
        own += [(name, KINDS[raw]) for name, raw in self.raws.items()]
        return pa.schema(own + [(label_of(task.name), pa.bool_()) for task in self.labels])

    @property
    def latest_schema(self) -> pa.Schema:
        """Of what a key's next row would have."""
        found: list = [(name, KINDS[self.raws[name]]) for name in self.by]
        for item in self.features:
            kind = pa.float64()
            if item.kind == "sequence":
                kind = pa.list_(KINDS[self.raws[column(self.config.owner(item))]])
            found.append((item.name, kind))
        return pa.schema(found)

    def _events(self, table: pa.Table) -> pa.Table:
        data = self.config.data
        notation = Notation.of(data)
        found = {TIME: pa.array(read_times(table[data.time], data)[0])}
        found |= {name: in_one_piece(table[name]) for name in (HIGH, LOW)}
        for name, raw in self.raws.items():
            found[name] = convert(in_one_piece(table[name]), raw, "", notation)[0]
        for task in self.labels:
            found[label_of(task.name)] = _is_one(table, task, notation)
        return pa.table(found)


def pasts_of(
    plan: Plan, base: Path | None = None, kept: Sequence[dict] = ()
) -> tuple[Past, ...]:
    """The keys by which events are put together, each with its features.

    Args:
        plan: The plan.
        base: The set that is added to, which keeps the events of earlier rows.
        kept: What its manifest says of the files that it keeps them in.
    """
    config, first = plan.config, len(plan.config.data.join)
    features: dict[tuple[str, ...], list] = {}
    for item in config.from_events:
        by = tuple(item.by or [config.data.group])
        features.setdefault(by, []).append(item)
    kinds = {f.name: f.raw for f in plan.features}
    files = {tuple(file["by"]): file for file in kept if file["what"] == EVENTS}
    found = []
    for number, (by, items) in enumerate(features.items()):
        of = [item.of for item in items if item.kind == "sequence"]
        held = files.get(by, {"path": "", "rows": 0})
        rows = plan.log.rows + held["rows"] + (plan.earlier.rows if plan.earlier else 0)
        found.append(
            Past(
                number=first + number,
                by=by,
                raws={name: plan.key_raws[name] for name in by}
                | {plan.columns[name]: kinds[name] for name in of},
                names=tuple(item.name for item in items),
                config=config,
                bits=max(1, (rows // BUCKET_ROWS).bit_length()),
                title="-".join(by).replace("/", "_"),
                held=str(base / held["path"]) if held["path"] else "",
                after=plan.after,
                border=_border(config.data),
            )
        )
    return tuple(found)


def _border(data) -> int | None:
    """The moment at which training rows end, where a set can be added to from there."""
    return None if why_no_border(data) else data.moment_ms(data.split.training_ends)


def list_kinds(plan: Plan) -> dict[str, pa.DataType]:
    """Feature of lists that are made out of earlier rows -> the type of its values."""
    raws = {feature.name: feature.raw for feature in plan.features}
    made = (item for item in plan.config.from_events if item.kind == "sequence")
    return {item.name: KINDS[raws[item.of]] for item in made}


def label_of(task: str) -> str:
    """The column that says of which events a task's label is 1."""
    return f"label/{task}"


def _is_one(table: pa.Table, task, notation: Notation) -> pa.Array:
    """Whether a task's label is 1; null where it has none."""
    if column(task) not in table.column_names:  # stated: of all rows
        return pa.array(np.ones(len(table), bool))
    values = to_finite(in_one_piece(table[column(task)]), notation)[0]
    if task.at_least is None:
        return pc.equal(values, 1.0)
    return pc.greater_equal(values, task.at_least)


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    """A key's values as int64, 107.0 as 107: which bucket they are in hangs on it."""
    array = in_one_piece(values)
    if pa.types.is_string(array.type):
        array = without_zeros(array)
    return group_numbers(array).to_numpy()
