"""How often each value was seen: counted by shard, carried by file, added up by hash.

training rows ─ count, a table a feature ─ by feature ─ add up by ranges of the hash ┐
                                                        └ most frequent first ───────┘
"""

import datetime
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.pipeline.examples.example_set import counts_path
from steadyrank.pipeline.preprocess.blocks import BlockFile, Store, Stored
from steadyrank.pipeline.preprocess.files import create_file
from steadyrank.pipeline.preprocess.rows import HIGH
from steadyrank.pipeline.preprocess.spill import SPILL, Part, by_range, gather
from steadyrank.pipeline.raw_log.columns import in_one_piece, is_list
from steadyrank.pipeline.raw_log.fingerprint import hash_values
from steadyrank.pipeline.raw_log.split import DAY

LAST = "last"  # the day of a value's last training row, where values expire
ORDER = [("count", "descending"), ("value", "ascending")]
PART_VALUES = 65_536  # at least, in each part of a table that is cut by hash
ADDED_VALUES = 1_000_000  # at least, that are added up at a time
COUNTED = 4  # blocks that are counted before their counts are added up
ROW_GROUP = 1 << 20
NEAR = 2  # whole numbers in a table of counts, for each value that is counted
NO_DAYS: Mapping[str, str] = types.MappingProxyType({})


@dataclass(frozen=True)
class Counted:
    """How often each value of a feature was seen.

    Attributes:
        rows: ``value`` and ``count``, the most frequent first, ties by value.
        seen: All values.
    """

    rows: Stored
    seen: int


class Count(beam.DoFn):
    """Training rows to their values' counts: name and ``Part``.

    Args:
        values: Called with the rows: name -> the values, or lists of them, to be counted.
        output: The folder of the job's output.
        horizons: Name -> the first day of which values are alive, where they expire.
    """

    def __init__(
        self,
        values: Callable[[Stored], dict[str, Iterator]],
        output: str,
        horizons: Mapping[str, str] | None = None,
    ):
        self.values, self.folder = values, f"{output}/{SPILL}"
        self.horizons = horizons or {}

    def process(self, item):
        found = []
        with BlockFile(self.folder) as file:
            for name, arrays in self.values(item[1]).items():
                counted = count_values(arrays)
                if name in self.horizons:
                    counted = _dated(counted, item[0].split("/")[1][:DAY])
                found += [(name, part) for part in _parts(counted, file)]
        yield from found


def _dated(counted: pa.Table, day: str) -> pa.Table:
    days = pa.array(np.full(len(counted), day, "datetime64[D]"))
    return counted.append_column(LAST, days)


def seed(name: str, base: Path | None, output: str, dated: Mapping[str, str] = NO_DAYS):
    """A name that is there though no row may have a value of it, and the base's counts.

    Args:
        name: The name.
        base: The set that is added to; None: a new one is made.
        output: The folder of the job's output.
        dated: Name -> the day on which the base's values are taken to have been seen last
            where it does not say; of names that expire.
    """
    yield name, None
    if base is not None:
        with BlockFile(f"{output}/{SPILL}") as file:
            held = pq.ParquetFile(counts_path(base, name))
            found = [
                part
                for batch in held.iter_batches(ROW_GROUP)
                for part in _parts(_as_dated(pa.table(batch), dated.get(name)), file)
            ]
        for part in found:
            yield name, part


def _as_dated(counted: pa.Table, day: str | None) -> pa.Table:
    """Counts of a base, with days where values expire and without where they do not."""
    if day is None:
        return counted.select(["value", "count"])
    return counted if LAST in counted.column_names else _dated(counted, day)


def _parts(counts: pa.Table, file: BlockFile) -> list[Part]:
    hashed = hash_values(in_one_piece(counts["value"]))
    table = counts.append_column(HIGH, pa.array(hashed))
    return [
        Part(first, width, file.append(some))
        for first, width, some in by_range(table, PART_VALUES)
    ]


def count_values(arrays: Iterable[pa.Array]) -> pa.Table:
    """Each value, and how often it is there: ``value`` and ``count``.

    Args:
        arrays: Values, or lists of them, one after another.
    """
    held: list[pa.Table] = []
    for values in arrays:
        if is_list(values.type):
            values = values.flatten()
        held.append(_counted(values.drop_null() if values.null_count else values))
        if len(held) == COUNTED:
            held = [_added(held)]
    return held[0] if len(held) == 1 else _added(held)


def _counted(values: pa.Array) -> pa.Table:
    """Each of some values, and how often; whole numbers near to one another in a table."""
    if pa.types.is_integer(values.type) and len(values):
        numbers = values.cast(pa.int64()).to_numpy()
        first, last = int(numbers.min()), int(numbers.max())
        if last - first < NEAR * len(numbers):
            counts = np.bincount(numbers - first)
            found = np.flatnonzero(counts)
            value = pa.array(found + first).cast(values.type)
            return pa.table({"value": value, "count": counts[found]})
    counts = values.value_counts()
    return pa.table({"value": counts.field("values"), "count": counts.field("counts")})


def _added(parts: list[pa.Table]) -> pa.Table:
    whole = pa.concat_tables(parts)
    days = [(LAST, "max")] if LAST in whole.column_names else []
    grouped = whole.group_by("value").aggregate([("count", "sum"), *days])
    return grouped.rename_columns(["value", "count", *(name for name, _ in days)])


def add_up(
    item, raws: dict[str, str], output: str, horizons: Mapping[str, str] | None = None
) -> tuple[str, Counted]:
    """All counts of one name, written for the set to grow from; of the living alone.

    Args:
        item: The name and its parts, None among them.
        raws: Name -> how its values are held: ``"string"`` or ``"integer"``.
        output: The folder of the job's output.
        horizons: As for ``Count``.
    """
    name, parts = item
    parts, folder, runs = [part for part in parts if part], f"{output}/{SPILL}", []
    horizon = (horizons or {}).get(name)
    nothing = _nothing(raws[name], dated=horizon is not None)
    with BlockFile(folder) as file:
        for tables in gather(parts, ADDED_VALUES):
            store = Store(file)
            added = _added([table.select(nothing.column_names) for table in tables])
            store.add(_living(added, horizon).sort_by(ORDER))
            runs.append(store.finish())
    if len(runs) != 1:
        with BlockFile(folder) as file:
            store = Store(file)
            store.add(nothing)
            for table in in_order(runs):
                store.add(table)
            runs = [store.finish()]
    (rows,) = runs
    return name, Counted(rows, _write(name, rows, nothing, output))


def _nothing(raw: str, *, dated: bool = False) -> pa.Table:
    kind = pa.int64() if raw == "integer" else pa.string()
    days = [(LAST, pa.date32())] if dated else []
    return pa.schema([("value", kind), ("count", pa.int64()), *days]).empty_table()


def _living(counted: pa.Table, horizon: str | None) -> pa.Table:
    """Counts without the values that were seen last before a day: those are forgotten."""
    if horizon is None:
        return counted
    first = pa.scalar(datetime.date.fromisoformat(horizon), pa.date32())
    return counted.filter(pc.greater_equal(counted[LAST], first))


def _write(name: str, rows: Stored, nothing: pa.Table, output: str) -> int:
    """Write the counts; how many values were seen."""
    seen, held = 0, [nothing]
    with create_file(str(counts_path(Path(output), name))) as file:
        with pq.ParquetWriter(file, nothing.schema, compression="zstd") as writer:
            for table in rows.blocks():
                seen += pc.sum(table["count"]).as_py() or 0
                held.append(table)
                if sum(map(len, held)) >= ROW_GROUP:
                    writer.write_table(pa.concat_tables(held).combine_chunks())
                    held = [nothing]
            if len(held) > 1 or not seen:
                writer.write_table(pa.concat_tables(held).combine_chunks())
    return seen


def in_order(runs: list[Stored]) -> Iterator[pa.Table]:
    """Tables that are in order each, as one that is: some rows of each at a time."""
    blocks = [run.blocks() for run in runs]
    heads = [next(each, None) for each in blocks]
    while any(head is not None for head in heads):
        lasts = [(-h["count"][-1].as_py(), h["value"][-1].as_py()) for h in heads if h]
        least, value = min(lasts)
        ready = []
        for number, head in enumerate(heads):
            if head is None:
                continue
            upto = _before(head, -least, value)
            ready.append(head.slice(0, upto))
            rest = head.slice(upto)
            heads[number] = rest if len(rest) else next(blocks[number], None)
        yield pa.concat_tables(ready).sort_by(ORDER)


def _before(table: pa.Table, count: int, value) -> int:
    """How many rows of a table in order come no later than a count and a value."""
    falling = -table["count"].to_numpy()
    start, end = np.searchsorted(falling, -count), np.searchsorted(falling, -count, "right")
    equal = table["value"].slice(start, end - start)
    same = pc.less_equal(equal, pa.scalar(value, equal.type))
    return int(start) + (pc.sum(same).as_py() or 0)
