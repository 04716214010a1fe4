"""The items of each window, and who had which: what negatives are drawn from.

    parts by shard ─ items and pairs of each window ─ by window ─ merge ─ catalogue

What trains draws from training rows alone, what is judged on from all rows of its window.
Of a window with more than ``MOST`` items those are drawn from whose hashes are lowest: a
fair sample, the same whatever the shards, as is its first row of each item.  Pairs lie
in a sorted file that is mapped.  What is held at once does not grow with the log.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from steadyrank.pipeline.examples.records import NO_GROUP
from steadyrank.pipeline.preprocess.blocks import Block, BlockFile, read_block
from steadyrank.pipeline.preprocess.memory import give_back_memory, trim
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import (
    HIGH,
    LOW,
    group_numbers,
    in_order,
    read_times,
)
from steadyrank.pipeline.preprocess.spill import SPILL, Part, gather
from steadyrank.pipeline.raw_log.columns import in_one_piece
from steadyrank.pipeline.raw_log.findings import Findings
from steadyrank.pipeline.raw_log.fingerprint import hash_together, mix
from steadyrank.pipeline.raw_log.join import carried_name
from steadyrank.pipeline.raw_log.one_type import in_one_type
from steadyrank.pipeline.raw_log.split import assign_window
from steadyrank.pipeline.raw_log.zones import utc_offset_ms

MOST = 65_536  # items of a window that are drawn from
SORTED_ROWS = 1_000_000  # pairs that are sorted at once, about
ITEM, COUNT = "__item", "__count"


class Found(NamedTuple):
    """What a shard holds of a window.

    Attributes:
        items: As ``items_of`` gives them; None: there are none.
        pairs: A file of sorted uint64, or ``""``.
        rows: How many there are.
    """

    items: Block | None
    pairs: str
    rows: int


class Catalogue(NamedTuple):
    """What a period holds.

    Attributes:
        items: ``ITEM``, ``COUNT``, the item's columns: in the order of a hash; None: none.
        distinct: How many items it has; estimated, where they are more than ``MOST``.
        pairs: A file of sorted uint64: which user had which item.
        rows: How many there are.
    """

    items: Block | None
    distinct: float
    pairs: str
    rows: int


def periods_of(table: pa.Table, plan: Plan) -> np.ndarray:
    """Number of each row's time that items are drawn from, int64."""
    data = plan.config.data
    if data.time is None:
        return np.zeros(len(table), np.int64)
    ms, _ = read_times(table[data.time], data)
    length = data.negatives.within_ms
    if length is None:
        return assign_window(data, ms, len(table))
    return (ms + utc_offset_ms(ms, data.timezone)) // length


def name_of(split: str, period: int) -> str:
    """What a catalogue is called that rows of a split are drawn from."""
    return f"{'train' if split == 'train' else 'judged'}/{period}"


def numbers_of(table: pa.Table, name: str) -> np.ndarray:
    """A column's values as int64, ``NO_GROUP`` where there is none."""
    return group_numbers(in_one_piece(table[name])).to_numpy()


def pairs_of(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """A uint64 for each user and item, int64 both."""
    return hash_together(mix(each.view(np.uint64)) for each in (users, items))


def items_of(table: pa.Table, plan: Plan) -> pa.Table:
    """Each item of some rows once: how often it is there, and its columns.

    Args:
        table: Rows of one type, with fingerprints.
        plan: The plan.
    """
    asked = plan.config.data.negatives
    beside = tuple(
        carried_name(number, "")
        for number, join in enumerate(plan.config.data.join)
        if join.on in asked.item_columns and plan.is_spread(number)
    )
    names = [n for n in table.column_names if n.startswith(beside)] if beside else []
    item = numbers_of(table, asked.item)
    found = table.select([*asked.item_columns, *names, HIGH, LOW])
    found = found.append_column(ITEM, pa.array(item))
    found = found.append_column(COUNT, pa.array(np.ones(len(item), np.int64)))
    return merged([in_one_type([found.filter(pa.array(item != NO_GROUP))])])


def merged(tables: Iterable[pa.Table]) -> pa.Table:
    """Items of several tables, each once, by a hash, the columns of its first row."""
    held: dict[tuple, pa.Table] = {}
    for table in tables:
        kinds = tuple(table.schema.types)
        before = [held[kinds]] if kinds in held else []
        held[kinds] = _once(pa.concat_tables([*before, table]))
    return _once(in_one_type(list(held.values())))


def _once(table: pa.Table) -> pa.Table:
    keys = mix(table[ITEM].to_numpy().view(np.uint64))
    order = np.lexsort((table[LOW].to_numpy(), table[HIGH].to_numpy(), keys))
    if not len(order):
        return table
    first = np.flatnonzero(np.append(True, np.diff(keys[order]) != 0))
    counts = np.add.reduceat(table[COUNT].to_numpy()[order], first)[: MOST + 1]
    table = table.combine_chunks().take(pa.array(order[first[: MOST + 1]]))
    return table.set_column(table.column_names.index(COUNT), COUNT, pa.array(counts))


def look(
    key: str, parts: Iterable[Part], plan: Plan, *, found: Findings, folder: str
) -> Iterator[tuple[str, Found]]:
    """What a shard holds, by ``name_of`` each period."""
    held: dict[int, pa.Table] = {}
    pairs: dict[int, list[np.ndarray]] = {}
    rows: Counter = Counter()
    for tables in gather(parts):
        for table, _, _ in in_order(tables, plan, found, Counter()):
            period = periods_of(table, plan)
            for number in np.unique(period).tolist():
                some = table.filter(pa.array(period == number))
                before = [held[number]] if number in held else []
                held[number] = merged([*before, items_of(some, plan)])
                pairs.setdefault(number, []).append(_pairs_in(some, plan))
                rows[number] += len(some)
    with BlockFile(folder) as file:
        blocks = {n: file.append(items) for n, items in held.items() if len(items)}
    for number in rows:
        path = _write(folder, [np.unique(np.concatenate(pairs[number]))])
        found_here = Found(blocks.get(number), path, rows[number])
        split = key.split("/")[0]
        yield name_of(split, number), found_here
        if split == "train" and not plan.config.data.split.by_moments:
            yield name_of("test", number), found_here


def _pairs_in(table: pa.Table, plan: Plan) -> np.ndarray:
    data = plan.config.data
    users, items = (numbers_of(table, n) for n in (data.group, data.negatives.item))
    known = (users != NO_GROUP) & (items != NO_GROUP)
    return pairs_of(users[known], items[known])


def merge_window(parts: Iterable[Found], folder: str) -> Catalogue:
    """The catalogue of a window, of all its shards."""
    parts = sorted(parts, key=lambda part: (part.rows, part.pairs))
    items = merged([read_block(p.items) for p in parts if p.items] or [_nothing()])
    distinct = float(len(items))
    if distinct > MOST:
        last = mix(items[ITEM].to_numpy()[MOST:].view(np.uint64))[0]
        distinct = MOST / (float(last) / 2.0**64)
    with BlockFile(folder) as file:
        block = file.append(items.slice(0, MOST)) if len(items) else None
    pairs = _write(folder, _sorted([part.pairs for part in parts]))
    return Catalogue(block, distinct, pairs, sum(part.rows for part in parts))


def _nothing() -> pa.Table:
    kinds = {ITEM: pa.int64(), COUNT: pa.int64(), HIGH: pa.uint64(), LOW: pa.uint64()}
    return pa.schema(kinds).empty_table()


def _sorted(paths: Sequence[str]) -> Iterator[np.ndarray]:
    """Values of sorted files, each once and in order, about so many at a time."""
    files = [open_pairs(path) for path in paths]
    ranges = 1 + sum(map(len, files)) // SORTED_ROWS
    steps = [(number << 64) // ranges for number in range(1, ranges)]
    ends = np.array(steps, np.uint64)
    cuts = [[0, *np.searchsorted(file, ends).tolist(), len(file)] for file in files]
    for number in range(ranges):
        yield np.unique(
            np.concatenate(
                [f[c[number] : c[number + 1]] for f, c in zip(files, cuts, strict=True)]
            )
        )


def _write(folder: str, arrays: Iterable[np.ndarray]) -> str:
    path = f"{folder}/{secrets.token_hex(8)}.pairs"
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for array in arrays:
            array.tofile(file)
    return path


def open_pairs(path: str) -> np.ndarray:
    """A file of pairs, mapped: uint64, sorted."""
    if not Path(path).stat().st_size:
        return np.zeros(0, np.uint64)
    return np.memmap(path, np.uint64, "r")


class Look(beam.DoFn):
    """``look``, of a shard's parts."""

    def __init__(self, plan: Plan, output: str):
        self.plan, self.folder = plan, f"{output}/{SPILL}"

    def setup(self):
        give_back_memory()

    def process(self, item, known: dict):
        key, parts = item
        data = self.plan.config.data
        found = Findings.of(known, data, data.time, self.plan.spelled)
        yield from look(key, parts, self.plan, found=found, folder=self.folder)
        trim()


def catalogues(
    shards: beam.PCollection, of_files: beam.PCollection, plan: Plan, output: str
) -> beam.PCollection:
    """``name_of`` each period, and its ``Catalogue``."""
    folder = f"{output}/{SPILL}"
    return (
        shards
        | "look" >> beam.ParDo(Look(plan, output), beam.pvalue.AsSingleton(of_files))
        | "by period" >> beam.GroupByKey()
        | "merge periods"
        >> beam.MapTuple(lambda name, parts: (name, merge_window(parts, folder)))
    )
