"""What came before each row of a log, out of the log itself: which events, and how many.

An event is a row of the log with a readable time and a key.  It is in the past of a later
row, never of one of the same moment; where its label counts, only from ``label_delay`` on.
Rows are put together by key, a bucket of keys at a time; what is found goes back to where
each row stands.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.events import in_ms, is_from_events
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW, group_numbers, read_times
from steadyrank.pipeline.preprocess.spill import buckets_of
from steadyrank.pipeline.raw_log.columns import (
    Notation,
    convert,
    in_one_piece,
    to_finite,
)
from steadyrank.pipeline.raw_log.findings import Findings, as_integers, without_zeros
from steadyrank.pipeline.raw_log.fingerprint import hash_together, mix
from steadyrank.pipeline.raw_log.join import ROW

BUCKET_ROWS = 250_000  # about so many events are put in order at a time
TIME = "__time"
MS = 1000  # in a second


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
    """

    number: int
    by: tuple[str, ...]
    raws: dict[str, str]
    names: tuple[str, ...]
    config: Config
    bits: int

    @property
    def features(self) -> list[Any]:
        """As the config has them."""
        return [f for f in self.config.features if f.name in self.names]

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
        return sum(8 * (getattr(f, "length", 1) + 1) for f in self.features)

    def taken(self, table: pa.Table) -> pa.Table:
        """The columns of some rows that events are made of."""
        labels = [n for n in map(column, self.labels) if n in table.column_names]
        return table.select(list(dict.fromkeys([*self.needs, *labels])))

    def wanted(self, tables: Iterable[pa.Table]) -> tuple[pa.Table, np.ndarray]:
        """Events of some tables, one after the other, numbered, and the bucket of each."""
        events = pa.concat_tables(map(self._events, tables)).combine_chunks()
        keys = [_numbers(events[name]) for name in self.by]
        hashed = hash_together(mix(key.view(np.uint64)) for key in keys)
        events = events.append_column(ROW, pa.array(np.arange(len(events))))
        return events, buckets_of(hashed.view(np.int64), self.bits)

    def _events(self, table: pa.Table) -> pa.Table:
        data = self.config.data
        notation = Notation.of(data)
        found = {TIME: pa.array(read_times(table[data.time], data)[0])}
        found |= {name: in_one_piece(table[name]) for name in (HIGH, LOW)}
        for name, raw in self.raws.items():
            found[name] = convert(in_one_piece(table[name]), raw, "", notation)[0]
        for task in self.labels:
            found[_label(task.name)] = _is_one(table, task, notation)
        return pa.table(found)


def pasts_of(plan: Plan) -> tuple[Past, ...]:
    """The keys by which events are put together, each with its features."""
    config, first = plan.config, len(plan.config.data.join)
    features: dict[tuple[str, ...], list] = {}
    for item in filter(is_from_events, config.features):
        by = tuple(item.by or [config.data.group])
        features.setdefault(by, []).append(item)
    kinds = {f.name: f.raw for f in plan.features}
    return tuple(
        Past(
            number=first + number,
            by=by,
            raws={name: plan.key_raws[name] for name in by}
            | {
                plan.columns[item.of]: kinds[item.of]
                for item in items
                if item.kind == "sequence"
            },
            names=tuple(item.name for item in items),
            config=config,
            bits=max(1, (plan.log.rows // BUCKET_ROWS).bit_length()),
        )
        for number, (by, items) in enumerate(features.items())
    )


def _label(task: str) -> str:
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


class LookedBack:
    """Events of some keys in order, and what came before each.

    Args:
        events: As ``Past.wanted`` gives them, of all rows of these keys.
        past: What is asked.
        found: What all rows of the log together tell.
    """

    def __init__(self, events: pa.Table, past: Past, found: Findings):
        events = as_integers(events, found.whole)
        self._past, self._rows = past, len(events)
        codes = _codes([in_one_piece(events[name]) for name in past.by])
        time = events[TIME].to_numpy()
        there = np.flatnonzero((codes >= 0) & (found.out_of_time(time) == ""))
        halves = [events[name].to_numpy()[there] for name in (LOW, HIGH)]
        order = np.lexsort((*halves, time[there], codes[there]))
        self._place = there[order]  # of the sorted rows among all
        self._key, self._at = codes[self._place], time[self._place]
        once = np.ones(len(order), bool)
        if past.config.data.drop_duplicates:
            parts = [self._key, self._at, *(half[order] for half in halves)]
            same = np.ones(max(len(order) - 1, 0), bool)
            for part in parts:
                same &= part[1:] == part[:-1]
            once[1:] = ~same
        self._events = events.take(pa.array(self._place[once]))
        self._event_at = self._at[once]
        self._moments = np.unique(self._event_at)
        self._steps = len(self._moments) + 1
        ranks = np.searchsorted(self._moments, self._event_at)
        self._line = self._key[once] * self._steps + ranks  # rises: key, then time
        self._columns = [self._of(item) for item in past.features]

    def columns(self, first: int, rows: int) -> pa.Table:
        """What was found for some rows, one column a feature.

        Args:
            first: The first of them.
            rows: How many.
        """
        found = [take(first, rows) for take in self._columns]
        return pa.table(dict(zip(self._past.names, found, strict=True)))

    def _before(self, delay: int | None) -> np.ndarray:
        """How many events, of all, come before each row's time less a delay; None: how
        many are of earlier keys."""
        ranks = 0 if delay is None else np.searchsorted(self._moments, self._at - delay)
        return np.searchsorted(self._line, self._key * self._steps + ranks)

    def _label_of(self, task: str) -> tuple[np.ndarray, np.ndarray]:
        """Where events have a label, and where it is 1."""
        values = in_one_piece(self._events[_label(task)])
        known = values.is_valid().to_numpy(zero_copy_only=False)
        return known, pc.fill_null(values, False).to_numpy(zero_copy_only=False)

    def _of(self, item):
        """Gives a feature's column, of some rows."""
        everyone = np.ones(len(self._event_at), bool)
        known, positive = self._label_of(item.where) if item.where else (everyone,) * 2
        ends, starts = self._before(item.delay_ms), self._before(None)
        if item.kind == "sequence":
            name = column(self._past.config.owner(item))
            values = in_one_piece(self._events[name])
            positive = positive & values.is_valid().to_numpy(zero_copy_only=False)
            low, high = self._between(positive, starts, ends)
            low = np.maximum(low, high - item.length)
            return _Lists(values.filter(pa.array(positive)), *self._put(low, high))
        if item.measure == "since":
            low, high = self._between(positive, starts, ends)
            last = np.append(self._event_at[positive], 0)[high - 1]
            return self._numbers((self._at - last) / MS, high > low)
        starts = self._before(in_ms(item.window))
        low, high = self._between(positive, starts, ends)
        if item.measure == "count":
            return self._numbers(high - low, np.ones(len(low), bool))
        first, last = self._between(known, starts, ends)
        return self._numbers((high - low) / np.maximum(last - first, 1), last > first)

    def _between(self, counted: np.ndarray, starts, ends) -> tuple[np.ndarray, np.ndarray]:
        """Of the events that count, the first between two places, and the one after."""
        total = np.concatenate([[0], np.cumsum(counted)])
        return total[starts], total[ends]

    def _put(self, *found: np.ndarray) -> Iterator[np.ndarray]:
        """What was found of sorted rows, in the order of all; 0 of those without a key."""
        for values in found:
            put = np.zeros(self._rows, values.dtype)
            put[self._place] = values
            yield put

    def _numbers(self, values: np.ndarray, there: np.ndarray) -> "_Numbers":
        known, numbers = self._put(there, np.where(there, values, 0.0).astype(np.float64))
        return _Numbers(numbers, known)


@dataclass(frozen=True)
class _Lists:
    """Each row's values stand together, as all are in order of key and time."""

    values: pa.Array
    low: np.ndarray
    high: np.ndarray

    def __call__(self, first: int, rows: int) -> pa.Array:
        low, high = self.low[first : first + rows], self.high[first : first + rows]
        lengths = high - low
        ends = np.cumsum(lengths)
        index = np.repeat(low - (ends - lengths), lengths) + np.arange(lengths.sum())
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        return pa.ListArray.from_arrays(offsets, self.values.take(pa.array(index)))


@dataclass(frozen=True)
class _Numbers:
    values: np.ndarray
    known: np.ndarray

    def __call__(self, first: int, rows: int) -> pa.Array:
        some = slice(first, first + rows)
        return pa.array(self.values[some], mask=~self.known[some])


def _codes(columns: Sequence[pa.Array]) -> np.ndarray:
    """The number of each key, int64, those of different ones different; -1: none."""
    total: np.ndarray = np.zeros(len(columns[0]), np.int64)
    missing = np.zeros(len(total), bool)
    for values in columns:
        encoded = values.dictionary_encode()
        codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
        total = total * (len(encoded.dictionary) + 1) + codes
        total = np.unique(total, return_inverse=True)[1]  # or the product may wrap round
        missing |= values.is_null().to_numpy(zero_copy_only=False)
    return np.where(missing, -1, total)
