"""Side tables of a row an impression, joined without ever being whole anywhere.

What a worker would hold of them grows with the log.  So the keys of the log and the side
table's rows are parted by a hash of the key; each bucket is joined by itself, and what
was found goes back to where its row stands.  Where rows stand goes through Beam:

    log ─ rows by shard and range ───────────────────────────┐
        └ key, row ─ by bucket ─┐                            ├ by file ─ beside its rows
    side table ──── by bucket ──┴ join ─ row, what was found ┘
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.preprocess.blocks import Block, BlockFile, read_block
from steadyrank.pipeline.preprocess.histories import look_back
from steadyrank.pipeline.preprocess.memory import give_back_memory
from steadyrank.pipeline.preprocess.past import Past
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.spill import (
    BUFFER_BYTES,
    SPILL,
    Spread,
    buckets_of,
    by_bucket,
    loads_of,
    whole_keys,
)
from steadyrank.pipeline.raw_log.columns import in_one_piece
from steadyrank.pipeline.raw_log.formats.base import Piece
from steadyrank.pipeline.raw_log.join import ROW, carried_name
from steadyrank.pipeline.raw_log.open import first_malformed

BUCKET_ROWS = 500_000  # about so many of a side table are joined at a time
PIECE_BITS = 40  # of a row's number in a side table: the rest says which piece


class Carried(NamedTuple):
    """Parts of the log with what was found for their rows.

    ``histories`` is what is to be said of the files that are kept of them, and ``lists``
    where the values are that rows point at (``placed``); None: there are no histories.
    """

    parts: beam.PCollection
    failed: list[beam.PCollection]
    histories: beam.PCollection | None
    lists: beam.PCollection | None


def spreads_of(plan: Plan) -> tuple[Spread, ...]:
    """The joins that are made by bucket."""
    return tuple(
        Spread(
            number,
            join.on,
            plan.side_columns(number),
            max(1, (side.rows // BUCKET_ROWS).bit_length()),
        )
        for number, (join, side) in enumerate(
            zip(plan.config.data.join, plan.sides, strict=True)
        )
        if plan.is_spread(number)
    )


def carry(pipeline, parts, wanted, asked: Sequence, *, found, plan: Plan, output: str):
    """Parts of the log with the columns of side tables and histories beside them.

    Args:
        pipeline: The job's.
        parts: Key and ``Part``.
        wanted: ``(join, bucket)`` and, of rows of the log, their file and a block of
            ``KEY`` and ``ROW``.
        asked: The joins, and the ``Past``s.
        found: What files hold: the counts of all.
        plan: The plan.
        output: The folder of the job's output.

    Returns:
        The parts, and what else is known.
    """
    spreads = [each for each in asked if isinstance(each, Spread)]
    pasts = [each for each in asked if isinstance(each, Past)]
    numbers = [each.number for each in spreads]
    of_log, of_sides = wanted | "which" >> beam.Partition(
        lambda item, _: int(item[0][0] in numbers), 2
    )
    histories = lists = None
    if pasts:
        looked, histories, unread = look_back(
            pipeline, of_log, pasts, found=found, plan=plan, output=output
        )
    loads = [
        (spread, first, load)
        for spread in spreads
        for first, load in _numbered(loads_of(*_pieces(plan, spread.number)))
    ]
    sides = (
        pipeline
        | "loads of sides" >> beam.Create(loads)
        | "spread sides" >> beam.Reshuffle()
        | "read sides" >> beam.ParDo(ReadSide(output)).with_outputs("failed", main="rows")
    )
    joined = (
        {"side": sides.rows, "wanted": of_sides}
        | "by bucket" >> beam.CoGroupByKey()
        | "join buckets"
        >> beam.ParDo(JoinBucket(spreads, plan, output)).with_outputs("failed", main="rows")
    )
    failed, found_all = [sides.failed, joined.failed], joined.rows
    if pasts:
        failed.append(unread)
        found_all = (joined.rows, looked.rows) | "all found" >> beam.Flatten()
        lists = looked.lists
    by_file = parts | "by file" >> beam.Map(lambda item: (item[1].block.path, item))
    carried = (
        {"parts": by_file, "joined": found_all}
        | "by file of the log" >> beam.CoGroupByKey()
        | "carry back" >> beam.ParDo(CarryBack(output))
    )
    return Carried(carried, failed, histories, lists)


def _pieces(plan: Plan, number: int) -> tuple[Sequence[Piece], int]:
    side = plan.sides[number]
    return side.pieces, side.rows


def _numbered(loads: Iterable[Sequence[Piece]]) -> Iterator[tuple[int, Sequence[Piece]]]:
    """Loads with the number of their first piece."""
    first = 0
    for load in loads:
        yield first, load
        first += len(load)


class ReadSide(beam.DoFn):
    """Pieces of a side table to blocks by bucket, their rows numbered as they stand."""

    def __init__(self, output: str):
        self.folder = f"{output}/{SPILL}"

    def setup(self):
        give_back_memory()

    def process(self, item):
        spread, first, load = item
        held, found = [], []
        try:
            with BlockFile(self.folder) as file:
                for table in _rows(spread, first, load):
                    held.append(table)
                    if sum(each.nbytes for each in held) >= BUFFER_BYTES:
                        found += _write(file, held, spread)
                        held = []
                if held:
                    found += _write(file, held, spread)
        except (InputError, PassingError) as error:
            failed = type(error).__name__, str(error)
            yield beam.pvalue.TaggedOutput("failed", failed)
            return
        yield from found


def _rows(spread: Spread, first: int, load: Sequence[Piece]) -> Iterator[pa.Table]:
    for number, piece in enumerate(load, start=first):
        rows = number << PIECE_BITS
        for batch in piece.batches():
            if batch.malformed is not None:
                raise first_malformed(piece.path, batch.malformed)
            table = batch.table.select(list(spread.names))
            places = np.arange(rows, rows + len(table))
            yield table.append_column(ROW, pa.array(places))
            rows += len(table)


def _write(file: BlockFile, tables: list[pa.Table], spread: Spread):
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    keys = whole_keys(table[spread.on])[0]
    for bucket, some in by_bucket(table, buckets_of(keys, spread.bits)):
        yield (spread.number, bucket), file.append(some)


@dataclass
class JoinBucket(beam.DoFn):
    """The rows of one bucket and the keys of the log that fall into it."""

    spreads: Sequence[Spread]
    plan: Plan
    output: str

    def process(self, item):
        (number, bucket), found = item
        (spread,) = (each for each in self.spreads if each.number == number)
        log = self.plan.sides[number]
        kinds = [(name, log.schema.field(name).type) for name in spread.names]
        empty = pa.schema([*kinds, (ROW, pa.int64())]).empty_table()
        tables = [empty, *map(read_block, sorted(found["side"]))]
        side = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        keys, there = whole_keys(side[spread.on])
        side, keys = side.filter(pa.array(there)), keys[there]
        order = np.lexsort((in_one_piece(side[ROW]).to_numpy(), keys))
        keys, side = keys[order], side.take(pa.array(order))
        double = np.flatnonzero(keys[1:] == keys[:-1])
        if len(double):
            yield beam.pvalue.TaggedOutput("failed", self._twice(log, spread, keys, double))
        with BlockFile(f"{self.output}/{SPILL}") as file:
            blocks = [
                (path, file.append(_joined(spread, side, keys, read_block(block))))
                for path, block in sorted(found["wanted"])
            ]
        for path, block in blocks:
            yield path, (number, block)

    def _twice(self, log, spread: Spread, keys: np.ndarray, double: np.ndarray):
        key = int(keys[double[0]])
        return InputError.__name__, (
            f"{log.files[0]}: column {spread.on!r} must differ from row to row to be "
            f"joined on. Received: {int((keys == key).sum())} rows with {key}."
        )


def _joined(spread: Spread, side: pa.Table, keys: np.ndarray, log: pa.Table) -> pa.Table:
    """For each row of the log that wants one: the side table's, null where it has none."""
    wanted, there = whole_keys(log[spread.on])
    index = np.searchsorted(keys, wanted)
    index[index == len(keys)] = 0
    hit = there & (keys[index] == wanted) if len(keys) else np.zeros(len(wanted), bool)
    places = pa.array(index, mask=~hit)
    columns = {
        carried_name(spread.number, name): in_one_piece(side[name]).take(places)
        for name in side.column_names
        if name != spread.on
    }
    return pa.table({ROW: log[ROW], **columns})


class CarryBack(beam.DoFn):
    """What was found for the rows of one file to blocks beside theirs."""

    def __init__(self, output: str):
        self.folder = f"{output}/{SPILL}"

    def process(self, item):
        _, found = item
        beside = self._in_order(found["joined"])
        parts, start = sorted(found["parts"], key=lambda item: item[1].block.start), 0
        with BlockFile(self.folder) as file:
            carried = []
            for key, part in parts:
                rows = beside.slice(start, part.block.rows)
                carried.append((key, part._replace(beside=file.append(rows))))
                start += part.block.rows
        if start != len(beside):
            raise RuntimeError(f"rows were lost in a join: {start=} {len(beside)=}")
        yield from carried

    def _in_order(self, joined: Iterable[tuple[int, Block]]) -> pa.Table:
        """All joins' and histories' columns, side by side, in the order of the file."""
        columns: dict = {}
        blocks: dict[int, list[Block]] = {}
        for number, block in sorted(joined):
            blocks.setdefault(number, []).append(block)
        for some in blocks.values():
            tables = map(read_block, some)
            table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
            table = table.take(pa.array(np.argsort(table[ROW].to_numpy())))
            columns |= {n: table[n] for n in table.column_names if n != ROW}
        return pa.table(columns)
