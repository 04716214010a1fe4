"""Events of some keys in order, and what came before any moment of a key.

A key and a moment are one number: events stand in the order of these *lines*, so that those
of a key between two moments stand between two places, and running sums count them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.config.events import in_ms
from steadyrank.pipeline.config.tasks import column
from steadyrank.pipeline.preprocess.past import TIME, Past, label_of
from steadyrank.pipeline.preprocess.placed import as_places, lists_of, spans
from steadyrank.pipeline.preprocess.rows import HIGH, LOW
from steadyrank.pipeline.raw_log.columns import in_one_piece
from steadyrank.pipeline.raw_log.findings import Findings, as_integers

MS = 1000  # in a second
WIDEST = 2**62  # that lines may get


@dataclass(frozen=True)
class _Askers:
    """Keys and moments, in their order, and how many events come before each."""

    key: np.ndarray
    at: np.ndarray
    before: dict = field(default_factory=dict)


class LookedBack:
    """Events of some keys in order, and what came before each.

    Args:
        events: As ``Past.wanted`` gives them, of all rows of these keys.
        past: What is asked.
        found: What all rows of the log together tell.
        held: How many of them, the first ones, were kept of rows before: they are looked
            back on, and ask for nothing.
    """

    def __init__(self, events: pa.Table, past: Past, found: Findings, held: int = 0):
        self._past, self._rows, self._as_written = past, len(events) - held, events
        events = as_integers(events, found.whole)
        codes = _codes([in_one_piece(events[name]) for name in past.by])
        time = events[TIME].to_numpy()
        is_event = codes >= 0
        is_event[held:] &= found.in_time(time[held:])
        there = np.flatnonzero(is_event)
        codes, time = codes[there], time[there]
        self._clock = _Clock(time, int(codes.max(initial=0)) + 1)
        line = self._clock.line(codes, time)
        low, high = (events[name].to_numpy()[there] for name in (LOW, HIGH))
        order = _in_order(line, low, high)
        own = order[there[order] >= held]
        self._askers = _Askers(codes[own], time[own])
        self._place = there[own] - held  # of those that ask, among the rows
        if past.config.data.drop_duplicates:
            order = order[~_repeated(line[order], low[order], high[order])]
        self._line, self._key, self._at = line[order], codes[order], time[order]
        self._of_events = there[order]  # their places in what was given
        self._events = events.take(pa.array(self._of_events))
        self._marked: dict = {}

    def columns(self, first: int, rows: int, bucket: int = 0) -> pa.Table:
        """What was found for some rows: a column a number, two a list (``as_places``).

        Args:
            first: The first of them; those that were held are not counted.
            rows: How many.
            bucket: The number of these keys' bucket.
        """
        some, columns = slice(first, first + rows), {}
        for name, found in zip(self._past.names, self._found, strict=True):
            if isinstance(found, _Lists):
                columns |= as_places(name, bucket, found.low[some], found.high[some])
            else:
                columns[name] = found(some)
        return pa.table(columns)

    @property
    def values(self) -> dict[str, pa.Array]:
        """Of each feature of lists, the values that these are of."""
        pairs = zip(self._past.names, self._found, strict=True)
        return {name: found.values for name, found in pairs if isinstance(found, _Lists)}

    def kept(self, border: int) -> pa.Table:
        """Events before a moment that rows from it on can still need, in order of time."""
        features = self._past.features
        spans = [in_ms(f.window) for f in features if getattr(f, "window", None)]
        recent = border - max([*spans, *(f.delay_ms for f in features)])
        wanted = self._at >= recent
        for item in features:
            if item.kind == "sequence" or item.measure == "since":
                counted, _ = self._counts(item)
                old = np.flatnonzero(counted & (self._at < border - item.delay_ms))
                wanted[_last(old, self._key, getattr(item, "length", 1))] = True
        places = self._of_events[wanted & (self._at < border)]
        found = self._as_written.take(pa.array(places)).select(self._past.schema.names)
        return found.sort_by([(name, "ascending") for name in (TIME, HIGH, LOW)])

    def latest(self, now: int) -> pa.Table:
        """What a row at some moment after all events would have, a row a key.

        Keys of which no feature has anything (no value, or a count of 0) are left out.
        """
        keys, first = np.unique(self._key, return_index=True)
        askers = _Askers(keys, np.full(len(keys), now))
        own = self._events.select(list(self._past.by)).take(pa.array(first))
        anything = np.zeros(len(keys), bool)
        for item in self._features:
            values = self._of(item, askers, _as_is)(slice(None))
            anything |= _is_there(values, item)
            own = own.append_column(item.name, values)
        order = [(name, "ascending") for name in self._past.by]
        return own.filter(pa.array(anything)).sort_by(order)

    @property
    def _features(self) -> list:
        return self._past.features

    @cached_property
    def _found(self) -> list[Callable]:
        """Of each feature, what gives its column for some rows."""
        return [self._of(item, self._askers, self._put) for item in self._features]

    def _before(self, askers: _Askers, delay: int | None) -> np.ndarray:
        """How many events, of all, come before each moment less a delay; None: how many
        are of earlier keys."""
        if delay not in askers.before:
            lines = self._clock.line(
                askers.key, None if delay is None else askers.at - delay
            )
            askers.before[delay] = np.searchsorted(self._line, lines)
        return askers.before[delay]

    def _counts(self, item) -> tuple[np.ndarray, np.ndarray]:
        """Where an event counts for a feature, and how many do before each."""
        name = column(self._past.config.owner(item)) if item.kind == "sequence" else ""
        return self._running((item.where, name), self._is_counted)

    def _is_counted(self, where: str, name: str) -> np.ndarray:
        counted = np.ones(len(self._at), bool)
        if where:
            labels = in_one_piece(self._events[label_of(where)])
            counted = pc.fill_null(labels, False).to_numpy(zero_copy_only=False)
        return counted & self._is_known(name) if name else counted

    def _is_known(self, name: str) -> np.ndarray:
        values = in_one_piece(self._events[name])
        return values.is_valid().to_numpy(zero_copy_only=False)

    def _running(self, key, mark: Callable) -> tuple[np.ndarray, np.ndarray]:
        if key not in self._marked:
            marked = mark(*key)
            self._marked[key] = marked, np.concatenate([[0], np.cumsum(marked)])
        return self._marked[key]

    def _of(self, item, askers: _Askers, put: Callable) -> Callable:
        """Gives a feature's column, of some of those that ask."""
        ends = self._before(askers, item.delay_ms)
        window = getattr(item, "window", None)
        starts = self._before(askers, in_ms(window) if window else None)
        counted, total = self._counts(item)
        low, high = total[starts], total[ends]
        if item.kind == "sequence":
            low = np.maximum(low, high - item.length)
            name = column(self._past.config.owner(item))
            values = in_one_piece(self._events[name]).filter(pa.array(counted))
            return _Lists(values, put(low), put(high))
        if item.measure == "count":
            return _Numbers(put((high - low).astype(np.float64)), put(high >= low))
        if item.measure == "since":
            last = np.append(self._at[counted], 0)[high - 1]
            found, there = (askers.at - last) / MS, high > low
        else:
            _, total = self._running((label_of(item.where),), self._is_known)
            known = total[ends] - total[starts]
            found, there = (high - low) / np.maximum(known, 1), known > 0
        return _Numbers(put(np.where(there, found, 0.0)), put(there))

    def _put(self, values: np.ndarray) -> np.ndarray:
        """What was found of sorted rows, in the order of all; 0 of those without a key."""
        put = np.zeros(self._rows, values.dtype)
        put[self._place] = values
        return put


class _Clock:
    """Keys and moments as one number, by milliseconds where these are few enough.

    Args:
        ms: All moments of events, int64.
        keys: How many keys there are.
    """

    def __init__(self, ms: np.ndarray, keys: int):
        first, last = (int(ms.min()), int(ms.max())) if len(ms) else (0, 0)
        self._first, self._last, self._steps = first, last + 1, last + 2 - first
        self._moments = None
        if self._steps * keys > WIDEST:  # years of strays: places among moments, then
            self._moments = np.unique(ms)
            self._steps = len(self._moments) + 1

    def line(self, keys: np.ndarray, ms: np.ndarray | None) -> np.ndarray:
        """Lines of keys at some moments; None: before all of theirs."""
        if ms is None:
            return keys * self._steps
        if self._moments is not None:
            return keys * self._steps + np.searchsorted(self._moments, ms)
        return keys * self._steps + (np.clip(ms, self._first, self._last) - self._first)


@dataclass(frozen=True)
class _Lists:
    """Each row's values stand together, as all are in order of key and time."""

    values: pa.Array
    low: np.ndarray
    high: np.ndarray

    def __call__(self, some: slice) -> pa.Array:
        low = self.low[some]
        lengths = self.high[some] - low
        return lists_of(lengths, self.values.take(pa.array(spans(low, lengths))))


@dataclass(frozen=True)
class _Numbers:
    values: np.ndarray
    known: np.ndarray

    def __call__(self, some: slice) -> pa.Array:
        return pa.array(self.values[some], mask=~self.known[some])


def _as_is(found: np.ndarray) -> np.ndarray:
    return found


def _is_there(values: pa.Array, item) -> np.ndarray:
    """Where a feature has anything: a value, or a count that is not 0."""
    if item.kind == "sequence":
        return pc.list_value_length(values).to_numpy(zero_copy_only=False) > 0
    if item.measure == "count":
        return values.to_numpy(zero_copy_only=False) > 0
    return values.is_valid().to_numpy(zero_copy_only=False)


def _last(places: np.ndarray, key: np.ndarray, count: int) -> np.ndarray:
    """Of some places in the order of their keys, the last ones of each."""
    own = key[places]
    later = np.append(own[count:], np.full(min(count, len(own)), -1))
    return places[own != later]


def _in_order(line: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Places by line; of one line, which few share, by the halves of the fingerprint."""
    order = np.argsort(line, kind="stable")
    same = line[order[1:]] == line[order[:-1]]
    tied = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    some = order[tied]
    order[tied] = some[np.lexsort((low[some], high[some], line[some]))]
    return order


def _repeated(*parts: np.ndarray) -> np.ndarray:
    """Where a row is equal to the one before, in all of it."""
    same = np.zeros(len(parts[0]), bool)
    same[1:] = True
    for part in parts:
        same[1:] &= part[1:] == part[:-1]
    return same


def _codes(columns: Sequence[pa.Array]) -> np.ndarray:
    """The number of each key, int64, those of different ones different; -1: none."""
    total, missing = None, np.zeros(len(columns[0]), bool)
    for values in columns:
        encoded = values.dictionary_encode()
        codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
        missing |= values.is_null().to_numpy(zero_copy_only=False)
        if total is not None:  # numbered anew, or the product would wrap round
            both = pa.array(total * (len(encoded.dictionary) + 1) + codes)
            codes = both.dictionary_encode().indices.to_numpy()
        total = codes.astype(np.int64)
    return np.where(missing, -1, total)
