"""Negatives of a log of positives alone: items of its window, by the row's hash.

A row's user, time and all else that is not the item's stay.  What its user had in the
window is left out.  So drawn, k of N items stand for all that the user did not have: the
rate of negatives is k / N, whatever the user had.  Where popular items are likelier, a
negative weighs N q less, q being its likelihood: its weights are 1 on the average.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.config.ranking import DRAWN
from steadyrank.pipeline.examples.records import NO_GROUP
from steadyrank.pipeline.preprocess.blocks import read_block
from steadyrank.pipeline.preprocess.catalogue import (
    COUNT,
    ITEM,
    Catalogue,
    name_of,
    numbers_of,
    open_pairs,
    pairs_of,
    periods_of,
)
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW
from steadyrank.pipeline.raw_log.fingerprint import GOLDEN, mix
from steadyrank.pipeline.raw_log.split import uniform

DRAW_THEM = (
    "For a log of positives alone, data.negatives: {item: COLUMN} draws negatives; see "
    "docs/logs.md#negatives."
)
TRAINING = name_of("train", 0)[:-1]
WRITTEN, HAD, UNREADABLE = (f"negatives/{w}" for w in ("written", "had", "unreadable"))


@dataclass(frozen=True)
class Drawn:
    """Negatives of some rows.

    Attributes:
        table: Like those rows, with the columns of other items.
        weights: Of each in the loss, float64.
        places: Where they stand among those rows: after their positive.
        had: How many draws were left out: their users had them.
    """

    table: pa.Table
    weights: np.ndarray
    places: np.ndarray
    had: int

    def labelled(self, typed: pa.Table, plan: Plan) -> pa.Table:
        """Typed rows with their labels: 0, and none of tasks that are given another."""
        rows = len(typed)
        for task in plan.tasks:
            drawn = task.name == plan.config.drawn_task
            values = np.zeros(rows) if drawn else np.full(rows, np.nan)
            put = {f"label/{task.name}": pa.array(values, from_pandas=True)}
            if task.sample_weight == DRAWN:
                put[f"weight/{task.name}"] = pa.array(self.weights)
            for name, column in put.items():
                typed = typed.set_column(typed.column_names.index(name), name, column)
        return typed

    def without_labels(self, table: pa.Table, plan: Plan) -> pa.Table:
        """Raw rows without the labels of their positives."""
        for task in plan.tasks:
            name = plan.columns[task.name]
            if name in table.column_names:
                place = table.column_names.index(name)
                nothing = pa.nulls(len(table), table.schema.field(name).type)
                table = table.set_column(place, name, nothing)
        return table

    def counted(self, readable: np.ndarray) -> dict[str, int]:
        """What became of the draws."""
        good = int(readable.sum())
        return {WRITTEN: good, HAD: self.had, UNREADABLE: len(readable) - good}


class Draw:
    """Draws for the rows of a shard.

    Args:
        plan: The plan.
        split: Whose rows they are.
        catalogues: By ``name_of`` each period.
    """

    def __init__(self, plan: Plan, split: str, catalogues: Mapping[str, Catalogue]):
        self._plan, self._split, self._of = plan, split, catalogues
        self._opened: dict[int, _Window] = {}

    def __call__(self, table: pa.Table, places: np.ndarray) -> Iterator[Drawn]:
        """Draw, for the rows of one period after another.

        Args:
            table: Rows of the log, of one type, with fingerprints.
            places: Of them in their shard.
        """
        period = periods_of(table, self._plan)
        for number in np.unique(period).tolist():
            here, window = np.flatnonzero(period == number), self._window(number)
            if len(window.item):
                yield self._draw(table.take(pa.array(here)), places[here], window)

    def _draw(self, table: pa.Table, places: np.ndarray, window: "_Window") -> Drawn:
        asked = self._plan.config.data.negatives
        high, low = (table[name].to_numpy()[:, None] for name in (HIGH, LOW))
        slots = GOLDEN * np.arange(1, asked.per_positive + 1, dtype=np.uint64)
        popular = asked.source == "popularity" and self._split == "train"
        index = window.pick(uniform(mix(mix(high + slots) + low)), popular)
        users = numbers_of(table, self._plan.config.data.group)[:, None]
        own = numbers_of(table, asked.item)[:, None]
        drawn = window.item[index]
        pairs = pairs_of(np.broadcast_to(users, drawn.shape).copy(), drawn)
        had = (drawn == own) | (window.holds(pairs) & (users != NO_GROUP))
        row, slot = np.nonzero(~had)
        index = index[row, slot]
        weights = window.weights[index] if popular else np.ones(len(index))
        low = mix(low[row, 0] + slots[slot])
        table = _put(table.take(pa.array(row)), {LOW: pa.array(low)})
        table = _put(table, window.columns_of(index))
        places = places[row] + (slot + 1) / (asked.per_positive + 1)
        return Drawn(table, weights, places, int(had.sum()))

    def _window(self, period: int) -> "_Window":
        if period not in self._opened:
            self._opened[period] = _Window(self._of[name_of(self._split, period)])
        return self._opened[period]


class _Window:
    """A catalogue that is open."""

    def __init__(self, found: Catalogue):
        table = read_block(found.items) if found.items else None
        self._table, self._pairs = table, open_pairs(found.pairs)
        self.item = np.zeros(0, np.int64) if table is None else table[ITEM].to_numpy()
        counts = np.zeros(0) if table is None else table[COUNT].to_numpy()
        self._ends = np.cumsum(counts)
        self.weights = counts.sum() / (len(counts) * counts)  # of the uniform, over ours

    def pick(self, drawn: np.ndarray, popular: bool) -> np.ndarray:
        """Places of items, from numbers in [0, 1)."""
        if not popular:
            return (drawn * len(self.item)).astype(np.int64)
        return np.searchsorted(self._ends, drawn * self._ends[-1], side="right")

    def holds(self, pairs: np.ndarray) -> np.ndarray:
        """Which pairs of a user and an item are there."""
        if not len(self._pairs):
            return np.zeros(pairs.shape, bool)
        order = np.argsort(pairs, axis=None)  # one way through the file
        sought, found = pairs.ravel()[order], np.zeros(pairs.size, bool)
        place = np.minimum(np.searchsorted(self._pairs, sought), len(self._pairs) - 1)
        found[order] = self._pairs[place] == sought
        return found.reshape(pairs.shape)

    def columns_of(self, index: np.ndarray) -> dict[str, pa.ChunkedArray]:
        """The item's columns, of items by their places."""
        names = [n for n in self._table.column_names if n not in (ITEM, COUNT, HIGH, LOW)]
        return {name: self._table[name].take(pa.array(index)) for name in names}


def _put(table: pa.Table, columns: Mapping) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def rate_of(catalogues: Mapping[str, Catalogue], per_positive: int) -> float:
    """The fraction of all negatives that the training split's draws are; nan: of none."""
    own = [found for key, found in catalogues.items() if key.startswith(TRAINING)]
    every = sum(found.rows * found.distinct for found in own)
    return per_positive * sum(found.rows for found in own) / every if every else np.nan
