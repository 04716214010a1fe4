"""The Apache Beam job that makes examples of either kind: what is done in which order.

    loads ─ read, key ─ group by shard ─ settle ┐
       ┌────────────────────────────────────────┘
       ├ training split: analyse ─ merge ─ learn ┐ (side input)
       └───────────────────────────────── encode ┴ write ─ summary

Arrow tables go from end to end, by file: Beam carries where rows stand, not rows.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.scratch import set_aside
from steadyrank.pipeline.preprocess import counts, known
from steadyrank.pipeline.preprocess import vocabulary as vocab
from steadyrank.pipeline.preprocess.blocks import (
    Block,
    BlockFile,
    Stored,
    groups_of,
    read_block,
    schema_of,
)
from steadyrank.pipeline.preprocess.engines import gave_up, options_of
from steadyrank.pipeline.preprocess.files import UNFINISHED, create_file
from steadyrank.pipeline.preprocess.memory import give_back_memory, system_pool, trim
from steadyrank.pipeline.preprocess.pools import require_pool
from steadyrank.pipeline.preprocess.spill import NEWEST, SPILL, Asked, Spill
from steadyrank.pipeline.raw_log.formats.base import Batch, Piece
from steadyrank.pipeline.raw_log.rejected import samples

RAW_ROWS = 1000  # sequences of each evaluation file, kept raw to compare signatures on
SIDE_OUTPUTS = ("rejected", "counts", "failed", "kept")
MERGED = 4  # analyses that wait to be added up
SAMPLES = "rejected/samples.json"  # of each reason, its first row


@dataclass(frozen=True)
class Steps:
    """What a kind of examples does in each step of the job; all of it is pickled.

    Args:
        key: Called with some rows of the log and their file; gives a table for each
            shard's key, rejected tables, and counts.
        settle: A shard's key and ``Part``s, and the counts of all files, to
            ``(<split>/..., final rows, stored)``; with outputs ``rejected``, ``counts`` and
            ``kept`` (what is to be said of raw rows), too.
        analyse: Training rows to what is learned from numbers; these are merged.
        values: Training rows to values, or lists of them, that are counted, by name.
        counted: These names, and how values are held: ``"string"`` or ``"integer"``.
        base: The set that is added to: its counts are, too.
        horizons: Counted name -> the first day of which values are alive, where they
            expire.
        dated: Likewise, the day that a base's values are taken to be of where it does not
            say.
        learn: Merged analysis and what was ``Counted`` by name, to what encoding needs.
        write_learned: Called with what was learned; gives the schema.
        encode: Final rows and what was learned to a file; gives what is to be said of it.
        spreads: Joins that are made by bucket; ``carry`` makes them, see ``side_join``.
        accumulate: Adds to the merged analysis what was analysed before; None: nothing.
        filed: Called with keyed parts and the counts of all files; gives the parts by the
            keys of their files.  None: they are.
        catalogues: Called with the parts of all shards and the counts of all files; gives
            what ``settle`` draws from, by name, which ``learn`` is told as well.
    """

    key: Callable[[Batch, str], tuple[dict, list, dict]]
    settle: beam.DoFn
    analyse: Callable[[Stored], vocab.Analysis]
    values: Callable[[Stored], dict[str, Iterator]]
    counted: dict[str, str]
    learn: Callable[[vocab.Analysis, dict[str, counts.Counted]], Any]
    write_learned: Callable[[Any], dict]
    encode: beam.DoFn
    accumulate: Callable[[vocab.Analysis], vocab.Analysis] | None = None
    base: Path | None = None
    horizons: dict[str, str] = field(default_factory=dict)
    dated: dict[str, str] = field(default_factory=dict)
    spreads: Sequence[Asked] = ()
    carry: Callable | None = None
    filed: Callable | None = None
    catalogues: Callable | None = None


def run_job(
    loads: Iterable[Sequence[Piece]],
    steps: Steps,
    output: Path,
    beam_flags: Iterable[str],
) -> dict:
    """Run the job.

    Args:
        loads: Of the log; see ``spill``.
        steps: What is done with them.
        output: The folder to write into.
        beam_flags: Passed to Beam, such as ``--runner=FlinkRunner``.

    Returns:
        What the workers found: ``counts``, ``files``, ``kept``, the ``schema`` and, of
        features from events, ``histories``.

    Raises:
        InputError: A file could not be read.
        PassingError: The same, or no worker came up, or an engine lost a machine; the
            next try may do.
    """
    options = options_of(beam_flags)
    require_pool(options)
    try:
        with system_pool(), beam.Pipeline(options=options) as pipeline:
            _build(pipeline, list(loads), steps, str(output))
    except Exception as error:
        if told := gave_up(error, options):
            raise told from error
        raise
    finally:
        known.close()
    _clear(output)
    path, samples_path = output / "summary.json", output / SAMPLES
    summary = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    summary["samples"] = {}
    if samples_path.exists():
        summary["samples"] = json.loads(samples_path.read_text(encoding="utf-8"))
    for kind in (InputError, PassingError):  # what no other try mends goes first
        said = {text for name, text in summary["failed"] if name == kind.__name__}
        if said:
            raise kind("; ".join(sorted(said)))
    return summary


def _clear(output: Path) -> None:
    """Remove what steps left for one another, and what tries left that did not end."""
    shutil.rmtree(output / SPILL, ignore_errors=True)
    if (output / SPILL).exists():
        set_aside(output / SPILL, output)
    for path in output.rglob(f"*{UNFINISHED}"):
        path.unlink()


def _build(pipeline: beam.Pipeline, loads: list, steps: Steps, output: str) -> None:
    analyse = steps.analyse  # not to pickle all steps with it
    read = (
        pipeline
        | "loads" >> beam.Create(loads)
        | "spread" >> beam.Reshuffle()
        | "read"
        >> beam.ParDo(Read(steps.key, output, steps.spreads)).with_outputs(
            *SIDE_OUTPUTS, "wanted", main="rows"
        )
    )
    rows, failed, more, lists = read.rows, [read.failed], {}, {}
    of_files = read.counts | "what files hold" >> beam.CombineGlobally(add_counts)
    if steps.carry:
        asked = steps.spreads
        carried = steps.carry(pipeline, rows, read.wanted, asked, found=of_files)
        rows, failed = carried.parts, failed + carried.failed
        if carried.histories is not None:
            more["histories"] = beam.pvalue.AsList(carried.histories)
            lists["lists"] = beam.pvalue.AsDict(carried.lists)
    if steps.filed:
        rows = steps.filed(rows, of_files)
    shards = rows | "by shard" >> beam.GroupByKey()
    drawn = {}
    if steps.catalogues:
        found = steps.catalogues(shards, of_files)
        drawn["catalogues"] = beam.pvalue.AsDict(found)
    how = {**drawn, **lists}
    settle = beam.ParDo(steps.settle, beam.pvalue.AsSingleton(of_files), **how)
    settled = shards | "settle" >> settle.with_outputs(*SIDE_OUTPUTS, main="rows")
    training = settled.rows | "training" >> beam.Filter(
        lambda item: item[0].startswith("train/")
    )
    analysed = (
        training
        | "analyse" >> beam.MapTuple(lambda _, rows: analyse(rows))
        | "merge" >> beam.CombineGlobally(MergeAnalyses())
    )
    if steps.accumulate:
        analysed = analysed | "accumulate" >> beam.Map(steps.accumulate)
    counted = _count(pipeline, training, steps, output)
    learned = analysed | "learn" >> beam.Map(
        steps.learn, beam.pvalue.AsDict(counted), **drawn
    )
    written = learned | "write learned" >> beam.Map(steps.write_learned)
    files = settled.rows | "encode" >> beam.ParDo(
        steps.encode, beam.pvalue.AsSingleton(learned)
    )
    rejected = (
        (read.rejected, settled.rejected)
        | "all rejected" >> beam.Flatten()
        | "one file" >> beam.Map(lambda table: (0, table))
        | "gather rejected" >> beam.GroupByKey()
        | "write rejected" >> beam.MapTuple(lambda _, t: write_rejected(t, output))
    )
    total = (
        (read.counts, settled.counts, rejected)
        | "all counts" >> beam.Flatten()
        | "add counts" >> beam.CombineGlobally(add_counts)
    )
    _ = (
        pipeline
        | "once" >> beam.Create([None])
        | "summary"
        >> beam.Map(
            write_summary,
            output,
            counts=beam.pvalue.AsSingleton(total),
            files=beam.pvalue.AsList(files),
            kept=beam.pvalue.AsList(settled.kept),
            failed=beam.pvalue.AsList(failed | "all failed" >> beam.Flatten()),
            schema=beam.pvalue.AsSingleton(written),
            **more,
        )
    )


def _count(pipeline: beam.Pipeline, training, steps: Steps, output: str):
    """Names and what was ``Counted``."""
    base, raws, horizons = steps.base, dict(steps.counted), dict(steps.horizons)
    seeds = (
        pipeline
        | "names" >> beam.Create(list(raws))
        | "seed" >> beam.FlatMap(counts.seed, base, output, dict(steps.dated))
    )
    count = beam.ParDo(counts.Count(steps.values, output, horizons))
    found = training | "count" >> count
    return (
        (seeds, found)
        | "all parts" >> beam.Flatten()
        | "by name" >> beam.GroupByKey()
        | "add up" >> beam.Map(counts.add_up, raws, output, horizons)
    )


class Read(beam.DoFn):
    """Some pieces of the log to keyed parts; a file that cannot be read is reported."""

    def __init__(self, key: Callable, output: str, spreads: Sequence[Asked]):
        self.key, self.folder, self.spreads = key, f"{output}/{SPILL}", spreads

    def setup(self):
        give_back_memory()

    def process(self, load: Sequence[Piece]):
        counts: Counter = Counter()
        rejected: list[Block] = []
        with Spill(self.folder, self.spreads) as spill, BlockFile(self.folder) as file:
            try:
                for piece in load:
                    rejected += map(file.append, self._read(piece, spill, counts))
            except (InputError, PassingError) as error:
                failed = type(error).__name__, str(error)
                yield beam.pvalue.TaggedOutput("failed", failed)
        trim()
        yield from spill.parts
        for block in rejected:
            yield beam.pvalue.TaggedOutput("rejected", block)
        for item in spill.wanted:
            yield beam.pvalue.TaggedOutput("wanted", item)
        yield beam.pvalue.TaggedOutput("counts", dict(counts) | spill.newest)

    def _read(self, piece: Piece, spill: Spill, counts: Counter) -> Iterator[pa.Table]:
        """Add the rows of a piece; those that are rejected are given."""
        for batch in piece.batches():
            malformed = batch.malformed
            lines = 0 if malformed is None else len(malformed)
            counts["read"] += len(batch.table) + lines
            if malformed is not None:
                source = pa.array([piece.path] * lines)
                malformed = malformed.append_column("source", source)
                malformed = malformed.append_column("value", malformed["text"])
                yield malformed
            keyed, rejected, counted = self.key(batch, piece.path)
            counts.update(counted)
            counts["unkeyed"] += lines + sum(map(len, rejected))
            yield from rejected
            spill.add(keyed)


class MergeAnalyses(beam.CombineFn):
    """``vocab.merge`` as Beam wants it, a few at a time."""

    def create_accumulator(self):
        return []

    def add_input(self, accumulator, analysis):
        return self.merged([*accumulator, analysis], MERGED)

    def merge_accumulators(self, accumulators):
        return self.merged([a for accumulator in accumulators for a in accumulator], 1)

    def extract_output(self, accumulator):
        return vocab.merge(accumulator)

    def merged(self, analyses, most):
        return analyses if len(analyses) <= most else [vocab.merge(analyses)]


def write_rejected(blocks: Iterable[Block], output: str) -> dict[str, int]:
    """Write rejected rows into one Parquet file, and count them by reason."""
    blocks = sorted(blocks)
    with create_file(f"{output}/rejected/rows.parquet") as file:
        schema = pa.unify_schemas([schema_of(block) for block in blocks])
        with pq.ParquetWriter(file, schema) as writer:
            for some in groups_of(blocks):
                tables = [schema.empty_table(), *map(read_block, some)]
                table = pa.concat_tables(tables, promote_options="default")
                writer.write_table(table.combine_chunks())
    found = samples(map(read_block, blocks))
    with create_file(f"{output}/{SAMPLES}") as file:
        file.write(json.dumps(found, indent=1).encode())
    return {f"rejected/{reason}": sample["rows"] for reason, sample in found.items()}


def write_summary(_, output: str, **found) -> None:
    """Leave for the launcher, which may be another machine, what the workers found."""
    with create_file(f"{output}/summary.json") as file:
        file.write(json.dumps(found).encode())


def add_counts(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Add up counters; of moments (``NEWEST``) the last one is."""
    total: Counter = Counter()
    for some in counts:
        last = {k: max(n, total.get(k, n)) for k, n in some.items() if NEWEST in k}
        total.update(some)
        dict.update(total, last)
    return dict(total)
