"""Raw logs to sequences, as an Apache Beam job.

In: an event log of a config.  Out: a set of sequences (``example_set.py`` says what it
holds).

    steadyrank preprocess --config C --output DIR [-- BEAM FLAGS]

    pieces ─ read, type, key ─ group by shard of users ─ order, cut, split ┐
       ┌──────────────────────────────────────────────────────────────────┘
       ├ training split: count items ─ merge ─ vocabulary ┐ (side input)
       └──────────────────────────────────────── encode ──┴ write ─ summary
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline import vocab
from pipeline.config.sequences import SequenceConfig
from pipeline.errors import InputError
from pipeline.example_set import vocab_path
from pipeline.examples import write_records
from pipeline.plan import WHOLE_LOG, Addition
from pipeline.preprocess import (
    DEFAULT_RUNNER,
    RAW_ROWS,
    SIDE_OUTPUTS,
    MergeAnalyses,
    add_counts,
    check_rejected,
    counts_under,
    create_file,
    from_bytes,
    to_bytes,
    write_counts,
    write_rejected,
    write_summary,
)
from pipeline.readers import Piece
from pipeline.sequences.events import key_events, settle_events
from pipeline.sequences.example_set import ITEM, SequenceSchema, encode_sequences
from pipeline.sequences.plan import SequencePlan, make_plan
from pipeline.split import SPLITS
from pipeline.storage import publish, refuse_existing, write_json

PIECE_ROWS = 1 << 40  # more than any piece has: places of its events in the log


def preprocess(
    config: SequenceConfig,
    folder: Path,
    output: Path,
    beam_flags: Iterable[str] = (),
    overwrite: bool = False,
    addition: Addition = WHOLE_LOG,
) -> dict:
    """Turn a raw log into a set of sequences; see ``pipeline.preprocess``.

    Returns:
        The manifest.

    Raises:
        InputError: The input does not suit, too much of it had to be rejected, or an
            addition was asked for.
    """
    refuse_existing(Path(output), overwrite)
    if addition != WHOLE_LOG:
        raise InputError(
            "--append adds to the examples of ranking models. Sequences of a user change "
            "with what comes: preprocess the whole log again."
        )
    plan = make_plan(config, folder)
    flags = list(beam_flags)
    if not any(flag.startswith("--runner") for flag in flags):
        flags.insert(0, DEFAULT_RUNNER)
    with publish(output, overwrite) as partial:
        _run_beam(plan, str(partial), PipelineOptions(flags))
        summary = json.loads((partial / "summary.json").read_text(encoding="utf-8"))
        (partial / "summary.json").unlink()
        manifest = _manifest(plan, partial, summary)
        write_json(partial / "manifest.json", manifest)
    return manifest


def _run_beam(plan: SequencePlan, output: str, options: PipelineOptions) -> None:
    with beam.Pipeline(options=options) as pipeline:
        read = (
            pipeline
            | "pieces" >> beam.Create(list(enumerate(plan.log.pieces)))
            | "spread" >> beam.Reshuffle()
            | "read" >> beam.ParDo(Read(plan)).with_outputs(*SIDE_OUTPUTS, main="events")
        )
        settled = (
            read.events
            | "by shard" >> beam.GroupByKey()
            | "settle" >> beam.ParDo(Settle(plan)).with_outputs("counts", main="sequences")
        )
        analysed = (
            settled.sequences
            | "training" >> beam.Filter(lambda item: item[0].startswith("train/"))
            | "count" >> beam.MapTuple(lambda _, table: count_items(from_bytes(table)))
            | "merge" >> beam.CombineGlobally(MergeAnalyses())
        )
        learned = analysed | "learn" >> beam.Map(learn, plan)
        counted = analysed | "write counts" >> beam.Map(write_counts, output)
        written = learned | "write learned" >> beam.Map(write_learned, output, plan)
        files = settled.sequences | "encode" >> beam.ParDo(
            Encode(output), beam.pvalue.AsSingleton(learned)
        )
        rejected = (
            read.rejected
            | "one file" >> beam.Map(lambda table: (0, table))
            | "gather rejected" >> beam.GroupByKey()
            | "write rejected" >> beam.MapTuple(lambda _, t: write_rejected(t, output))
        )
        counts = (
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
                counts=beam.pvalue.AsSingleton(counts),
                files=beam.pvalue.AsList(files),
                failed=beam.pvalue.AsList(read.failed),
                schema=beam.pvalue.AsSingleton(written),
                counted=beam.pvalue.AsSingleton(counted),
            )
        )


class Read(beam.DoFn):
    """A piece of the log to events by shard; a file that cannot be read is reported."""

    def __init__(self, plan: SequencePlan):
        self.plan = plan

    def process(self, numbered: tuple[int, Piece]):
        number, piece = numbered
        counts, place = Counter(), number * PIECE_ROWS
        try:
            for table, malformed in piece.batches():
                lines = 0 if malformed is None else len(malformed)
                counts["read"] += len(table) + lines
                if malformed is not None:
                    source = pa.array([piece.path] * lines)
                    malformed = malformed.append_column("source", source)
                    yield beam.pvalue.TaggedOutput("rejected", to_bytes(malformed))
                events, rejected, left_out = key_events(table, piece.path, place, self.plan)
                counts.update(left_out)
                for part in rejected:
                    yield beam.pvalue.TaggedOutput("rejected", to_bytes(part))
                for shard, part in events.items():
                    yield shard, to_bytes(part)
                place += len(table)
        except InputError as error:
            yield beam.pvalue.TaggedOutput("failed", str(error))
        yield beam.pvalue.TaggedOutput("counts", dict(counts))


class Settle(beam.DoFn):
    """All events of one shard's users to their sequences, by split."""

    def __init__(self, plan: SequencePlan):
        self.plan = plan

    def process(self, item):
        shard, tables = item
        tables = [from_bytes(table) for table in tables]
        sequences, counts = settle_events(tables, self.plan)
        yield beam.pvalue.TaggedOutput("counts", dict(counts))
        for split, table in sequences.items():
            yield f"{split}/all-{shard:05d}", to_bytes(table)


def count_items(table: pa.Table) -> vocab.Analysis:
    """How often each item is in some training sequences."""
    return vocab.Analysis(
        {ITEM: vocab.count_values(table["items"].combine_chunks().flatten())}
    )


def learn(analysis: vocab.Analysis, plan: SequencePlan) -> tuple[pa.Array, dict]:
    """The known items, the most frequent first, and what statistics say of them."""
    least = plan.config.data.sequences.min_count
    return vocab.known_values(analysis.counts.get(ITEM), least, plan.item)


def write_learned(learned: tuple[pa.Array, dict], output: str, plan: SequencePlan) -> dict:
    """Write vocabulary and statistics; give the schema back, without its fingerprint."""
    known, statistics = learned
    with create_file(str(vocab_path(Path(output) / "vocab", ITEM))) as file:
        lines = known.cast(pa.string()).to_pylist()
        file.write("".join(f"{line}\n" for line in lines).encode())
    with create_file(f"{output}/statistics.json") as file:
        file.write(json.dumps({"items": statistics}, indent=1).encode())
    return SequenceSchema(
        len(known), plan.item, plan.config.data.sequences.length
    ).to_dict()


class Encode(beam.DoFn):
    """A shard's sequences to their file; yields what the manifest says of it."""

    def __init__(self, output: str):
        self.output = output

    def process(self, item, learned: tuple[pa.Array, dict]):
        key, table = item
        table, (known, _), split = from_bytes(table), learned, key.partition("/")[0]
        lists = table["items"].combine_chunks()
        ids = look_up(lists.flatten(), known)
        lengths = lists.value_lengths().to_numpy()
        records = encode_sequences(ids, lengths, table["group"].to_numpy())
        with create_file(f"{self.output}/{key}.tfrecord") as file:
            size = write_records(file, records)
        if split != "train":
            with create_file(f"{self.output}/raw/{key}.parquet") as file:
                pq.write_table(table.select(["items"]).slice(0, RAW_ROWS), file)
        own, unknown = pc.sum(table["own"]).as_py(), ids == len(known) + 1
        yield {
            "path": f"{key}.tfrecord",
            "split": split,
            "rows": own,
            "sequences": len(table),
            "read_again": len(ids) - own,
            "unknown": int(unknown.sum()),
            "unknown_targets": int(unknown[np.cumsum(lengths) - 1].sum()),
            "bytes": size,
        }


def look_up(items: pa.Array, known: pa.Array) -> np.ndarray:
    """Ids of raw items, int32: 1 to V by their place among the known, V + 1 elsewhere."""
    places = pc.fill_null(pc.index_in(items, value_set=known), len(known))
    return places.to_numpy(zero_copy_only=False).astype(np.int32) + 1


def _manifest(plan: SequencePlan, partial: Path, summary: dict) -> dict:
    """Check what the workers found, seal the schema, and sum everything up."""
    counts, files = summary["counts"], summary["files"]
    if summary["failed"]:
        raise InputError("; ".join(sorted(set(summary["failed"]))))
    rejected, dropped = (counts_under(counts, f"{w}/") for w in ("rejected", "dropped"))
    read, written = counts.get("read", 0), sum(file["rows"] for file in files)
    duplicates = counts.get("duplicates", 0)
    if not read:
        raise InputError(f"{', '.join(plan.log.files)}: no rows.")
    check_rejected(plan, rejected, read)
    lost = sum(rejected.values()) + sum(dropped.values())
    if read != written + duplicates + lost:
        raise RuntimeError(
            f"events were lost: {read=} {written=} {duplicates=} {rejected=} {dropped=}"
        )
    splits = {split: _split_counts(files, split) for split in SPLITS}
    _check_splits(plan, splits, dropped)
    schema = SequenceSchema.from_dict(summary["schema"], partial).sealed(partial / "vocab")
    if not schema.items:
        raise InputError(
            "no item was seen data.sequences.min_count="
            f"{plan.config.data.sequences.min_count} times in training. Lower it."
        )
    write_json(partial / "schema.json", schema.to_dict())
    return {
        "fingerprint": schema.fingerprint,
        "rows": {
            "read": read,
            "written": written,
            "duplicates": duplicates,
            "rejected": rejected,
            "dropped": {name: n for name, n in dropped.items() if n},
        },
        "splits": splits,
        "input": list(plan.log.files),
        "files": sorted(files, key=lambda file: file["path"]),
    }


def _split_counts(files: list[dict], split: str) -> dict:
    names = ("rows", "sequences", "read_again", "unknown", "unknown_targets")
    own = [file for file in files if file["split"] == split]
    return {name: sum(file[name] for file in own) for name in names}


def _check_splits(plan: SequencePlan, splits: dict, dropped: dict) -> None:
    for split, counts in splits.items():
        if not counts["sequences"]:
            found = {name: c["sequences"] for name, c in splits.items()}
            raise InputError(
                f"the {split} split has no sequences: data.split is "
                f"{plan.config.data.split.model_dump(mode='json')}, sequences are {found}, "
                f"left out were {dropped}. Move data.split, or lower "
                "data.sequences.min_length."
            )
