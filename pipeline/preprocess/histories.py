"""What came before each row, by bucket; and what a set keeps of it.

    log ─ events by bucket ──┐          ┌ row, what came before ─ beside its rows
    base ─ events it kept ───┴ look back┼ events that later rows need ─┐
                                        └ what a next row would have ──┴ a file a key

``histories/events`` is what the next addition to the set looks back on: of each key the
last events that its features still need, up to the end of the training rows, from where
an addition reads the log.  ``histories/latest`` is for who serves: what a request right
after the newest event would be given.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.accounts import counts_under
from steadyrank.pipeline.preprocess.blocks import Block, BlockFile, read_block
from steadyrank.pipeline.preprocess.files import create_checked
from steadyrank.pipeline.preprocess.looked_back import LookedBack
from steadyrank.pipeline.preprocess.memory import give_back_memory, trim
from steadyrank.pipeline.preprocess.past import EVENTS, LATEST, TIME, Past
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import HIGH, LOW, read_times
from steadyrank.pipeline.preprocess.spill import (
    EVENTS_ALONE,
    LOAD_ROWS,
    NEWEST,
    NO_FILE,
    SPILL,
    by_bucket,
)
from steadyrank.pipeline.raw_log.findings import Findings, count_spellings
from steadyrank.pipeline.raw_log.fingerprint import fingerprint
from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.join import ROW
from steadyrank.pipeline.raw_log.split import DAY, assign_window, window_name

FOLDER = "histories"  # of an example set
ROW_GROUP = 65_536
READ, AGAIN = "read of/", "read again of/"  # in the counts: rows by window
EARLIER, UNREADABLE = "earlier events", "earlier events without a time"


def look_back(pipeline, of_log, pasts: Sequence[Past], *, found, plan: Plan, output: str):
    """What came before each row of the log.

    Args:
        pipeline: The job's.
        of_log: ``(past, bucket)`` and, of events of the log, their file and block.
        pasts: What is asked.
        found: What files hold: the counts of all.
        plan: The plan.
        output: The folder of the job's output.

    Returns:
        ``rows``: a file, and of its rows the number of the past and a block of what was
        found; ``lists``: feature and bucket, and a block of the values of its lists; what
        is to be said of the files that are kept; and what failed.
    """
    before = (
        pipeline
        | "loads of events" >> beam.Create([load for p in pasts for load in _loads(p)])
        | "spread events" >> beam.Reshuffle()
        | "read events"
        >> beam.ParDo(ReadEvents(output)).with_outputs("failed", main="rows")
    )
    looked = (
        (of_log, before.rows)
        | "all events" >> beam.Flatten()
        | "events by bucket" >> beam.GroupByKey()
        | "look back"
        >> beam.ParDo(
            LookBack(pasts, plan, output), beam.pvalue.AsSingleton(found)
        ).with_outputs("kept", "lists", main="rows")
    )
    files = [
        ((what, past.number), None)
        for past in pasts
        for what in (EVENTS, LATEST)
        if what == LATEST or past.border is not None
    ]
    seeds = pipeline | "files of histories" >> beam.Create(files)
    kept = (
        (seeds, looked.kept)
        | "all kept" >> beam.Flatten()
        | "kept by file" >> beam.GroupByKey()
        | "write histories" >> beam.Map(partial(write_kept, pasts=pasts, output=output))
    )
    return looked, kept, before.failed


def _loads(past: Past) -> Iterator[tuple[Past, list[int]]]:
    """The row groups of what a base keeps, some million rows together."""
    if past.held:
        groups, each = pq.ParquetFile(past.held).num_row_groups, LOAD_ROWS // ROW_GROUP
        for start in range(0, groups, each):
            yield past, list(range(start, min(start + each, groups)))


@dataclass
class ReadEvents(beam.DoFn):
    """Events that a base keeps to blocks by bucket."""

    output: str

    def setup(self):
        give_back_memory()

    def process(self, load):
        past, groups = load
        found = []
        try:
            with BlockFile(f"{self.output}/{SPILL}") as file:
                held = pq.ParquetFile(past.held, page_checksum_verification=True)
                for group in groups:
                    events = _before(held.read_row_group(group), past)
                    for bucket, some in by_bucket(*past.numbered(events)):
                        place = past.number, bucket
                        found.append((place, (NO_FILE, file.append(some))))
        except (pa.ArrowException, OSError) as error:
            said = f"{past.held} is corrupt: {error}. Preprocess the whole log again."
            yield beam.pvalue.TaggedOutput("failed", (InputError.__name__, said))
            return
        trim()
        yield from found


def _before(events: pa.Table, past: Past) -> pa.Table:
    """Without those of windows that are read from the log: a base whose last windows have
    no training rows keeps their events, too."""
    data = past.config.data
    window = assign_window(data, events[TIME].to_numpy(), len(events))
    names = {n: window_name(data, n) <= past.after for n in np.unique(window).tolist()}
    early = [number for number, is_early in names.items() if is_early]
    return events.filter(pa.array(np.isin(window, early)))


def count_read(keyed: Mapping[str, pa.Table], plan: Plan) -> Counter:
    """Rows by window: of those that are read, and of those that the base has read.

    Args:
        keyed: Tables by key, ``split/window/shard``.
        plan: The plan.
    """
    counts: Counter = Counter()
    for key, rows in keyed.items():
        window = key.split("/")[1]
        if plan.takes(window):
            counts[READ + window] += len(rows)
        elif window <= plan.after and window[:DAY] not in plan.addition.without:
            counts[AGAIN + window] += len(rows)
    return counts


def earlier_events(batch: Batch, plan: Plan) -> tuple[dict, list, Counter]:
    """Some rows of the second log, which are events alone; as ``key_rows`` gives rows."""
    high, low = fingerprint(batch.table)
    names = [n for n in plan.event_columns if n in batch.table.column_names]
    table = batch.table.select(names)
    counts = count_spellings(table, [n for n in plan.texts if n in names])
    _, bad = read_times(table[plan.config.data.time], plan.config.data)
    table = table.append_column(HIGH, pa.array(high)).append_column(LOW, pa.array(low))
    counts.update({"read": -len(table), EARLIER: len(table), UNREADABLE: int(bad.sum())})
    return {EVENTS_ALONE: table.filter(pa.array(~bad))}, [], counts


def said_of_histories(plan: Plan, summary: Mapping, base: ExampleSet | None) -> dict:
    """What the manifest says of features from events; nothing where there are none.

    ``windows`` are the rows that were read of each; a window of the base that the log has
    more of now has rows that came late.
    """
    if not plan.past_names:
        return {}
    counts, data = summary["counts"], plan.config.data
    before = base.manifest["histories"]["windows"] if base else {}
    before = {window: n for window, n in before.items() if window <= plan.after}
    first = min(before, default="")
    late = {
        window: n - before.get(window, 0)
        for window, n in sorted(counts_under(counts, AGAIN).items())
        if window >= first
    }
    found = Findings.of(counts, data, data.time, plan.spelled)
    said = {
        **_of_earlier(counts, plan),
        "newest": newest(counts, found),
        "files": sorted(summary["histories"], key=lambda file: file["path"]),
        "windows": dict(sorted((before | counts_under(counts, READ)).items())),
        "late": {window: n for window, n in late.items() if n > 0},
    }
    return {"histories": said}


def _of_earlier(counts: Mapping[str, int], plan: Plan) -> dict:
    if plan.earlier is None:
        return {}
    rows, bad = counts.get(EARLIER, 0), counts.get(UNREADABLE, 0)
    if bad > plan.config.data.max_rejected * rows:
        raise InputError(
            f"data.earlier_events: {bad} of {rows} rows of "
            f"{', '.join(plan.earlier.files)} have no readable {plan.config.data.time}, "
            f"more than data.max_rejected={plan.config.data.max_rejected} allows."
        )
    return {"earlier": {"rows": rows, "unreadable": bad, "files": [*plan.earlier.files]}}


def newest(counts: Mapping[str, int], found: Findings) -> int | None:
    """The last moment of rows that are in time, ms; None: there are none."""
    moments = np.array([ms for k, ms in counts.items() if k.startswith(NEWEST)], np.int64)
    moments = moments[found.in_time(moments)]
    return int(moments.max()) if len(moments) else None


@dataclass
class LookBack(beam.DoFn):
    """What came before each row of one bucket of keys."""

    pasts: Sequence[Past]
    plan: Plan
    output: str

    def setup(self):
        give_back_memory()

    def process(self, item, counts: dict):
        (number, bucket), blocks = item
        (past,) = (each for each in self.pasts if each.number == number)
        data = self.plan.config.data
        found = Findings.of(counts, data, data.time, self.plan.spelled)
        blocks = sorted(blocks)  # those of the base first
        events = pa.concat_tables(read_block(block) for _, block in blocks)
        held = sum(block.rows for path, block in blocks if path == NO_FILE)
        looked, rows = LookedBack(events, past, found, held), events[ROW].slice(held)
        places, kept, lists, start = [], {}, {}, 0
        with BlockFile(f"{self.output}/{SPILL}") as file:
            for path, block in blocks:
                if path == NO_FILE:
                    continue
                columns = looked.columns(start, block.rows, bucket)
                row = rows.slice(start, block.rows)
                found_here = file.append(columns.append_column(ROW, row))
                places.append((path, (number, found_here)))
                start += block.rows
            for name, values in looked.values.items():
                lists[name, bucket] = file.append(pa.table({name: values}), packed=False)
            if past.border is not None:
                kept[EVENTS] = file.append(looked.kept(past.border))
            if (now := newest(counts, found)) is not None:
                kept[LATEST] = file.append(looked.latest(now + 1))
        del looked, events
        trim()
        yield from places
        for place in lists.items():
            yield beam.pvalue.TaggedOutput("lists", place)
        for what, block in kept.items():
            yield beam.pvalue.TaggedOutput("kept", ((what, number), (bucket, block)))


def write_kept(item, pasts: Sequence[Past], output: str) -> dict:
    """All that is kept of one key in one file, a bucket after another; what is said of it.

    Args:
        item: What it is, the number of the past, and ``(bucket, block)``s, None among them.
        pasts: What is asked.
        output: The folder of the job's output.
    """
    (what, number), found = item
    (past,) = (each for each in pasts if each.number == number)
    schema = past.schema if what == EVENTS else past.latest_schema
    blocks = [block for _, block in sorted(each for each in found if each)]
    path, rows = f"{FOLDER}/{what}/{past.title}.parquet", sum(b.rows for b in blocks)
    with create_checked(f"{output}/{path}") as file:
        _write(blocks, schema, file)
    said = {"path": path, "what": what, "by": list(past.by), "rows": rows}
    return said | {"bytes": file.bytes, "checksum": file.checksum}


def _write(blocks: Iterable[Block], schema: pa.Schema, file) -> None:
    how = {"compression": "zstd", "write_page_checksum": True}
    with pq.ParquetWriter(file, schema, **how) as writer:
        for block in blocks:
            if block.rows:
                writer.write_table(read_block(block).cast(schema), ROW_GROUP)
