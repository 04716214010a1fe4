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
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.examples.compatibility import read_by_preprocessing
from steadyrank.pipeline.examples.example_set import vocab_path
from steadyrank.pipeline.examples.records import write_records
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import publish, refuse_existing, write_json
from steadyrank.pipeline.kinds.next_item.events import key_events, settle_events
from steadyrank.pipeline.kinds.next_item.example_set import (
    ITEM,
    SequenceSchema,
    encode_sequences,
)
from steadyrank.pipeline.kinds.next_item.plan import SequencePlan, make_plan
from steadyrank.pipeline.kinds.protocol import NEXT_ITEM, require
from steadyrank.pipeline.preprocess import vocabulary as vocab
from steadyrank.pipeline.preprocess.beam_job import (
    RAW_ROWS,
    Steps,
    check_rejected,
    counts_under,
    create_file,
    run_job,
)
from steadyrank.pipeline.preprocess.blocks import (
    BlockFile,
    Store,
    Stored,
    to_bytes,
)
from steadyrank.pipeline.preprocess.plan import WHOLE_LOG, Addition
from steadyrank.pipeline.preprocess.spill import SPILL, loads_of
from steadyrank.pipeline.raw_log.findings import spellings
from steadyrank.pipeline.raw_log.split import SPLITS


def preprocess(
    config: SequenceConfig,
    folder: Path,
    output: Path,
    beam_flags: Iterable[str] = (),
    *,
    overwrite: bool = False,
    addition: Addition = WHOLE_LOG,
) -> dict:
    """Turn a raw log into a set of sequences; see ``pipeline.preprocess.stage``.

    Returns:
        The manifest.

    Raises:
        InputError: The input does not suit, too much of it had to be rejected, or an
            addition was asked for.
    """
    refuse_existing(Path(output), overwrite)
    if addition != WHOLE_LOG:
        require(NEXT_ITEM, "append")
    plan = make_plan(config, folder)
    with publish(output, overwrite) as work:
        loads = loads_of(plan.log.pieces, plan.log.rows)
        summary = run_job(loads, _steps(plan, work), work, beam_flags)
        manifest = _manifest(plan, work, summary)
        write_json(work / "manifest.json", manifest)
    return manifest


def _steps(plan: SequencePlan, output: Path) -> Steps:
    return Steps(
        key=partial(key_events, plan=plan),
        settle=Settle(plan, str(output)),
        analyse=count_items,
        learn=partial(learn, plan=plan),
        write_learned=partial(write_learned, output=str(output), plan=plan),
        encode=Encode(str(output)),
    )


class Settle(beam.DoFn):
    """All events of one shard's users to their sequences, by split."""

    def __init__(self, plan: SequencePlan, output: str):
        self.plan, self.output = plan, output

    def process(self, item, known: dict):
        shard, parts = item
        tables = [part.read() for part in parts]
        sequences, rejected, counts = settle_events(tables, self.plan, known)
        for table in rejected:
            yield beam.pvalue.TaggedOutput("rejected", to_bytes(table))
        yield beam.pvalue.TaggedOutput("counts", dict(counts))
        for split, table in sequences.items():
            with BlockFile(f"{self.output}/{SPILL}") as file:
                store = Store(file)
                store.add(table)
                stored = store.finish()
            yield f"{split}/all-{shard:05d}", stored


def count_items(sequences: Stored) -> vocab.Analysis:
    """How often each item is in some training sequences."""
    return vocab.Analysis({ITEM: vocab.count_values(sequences.arrays("items"))})


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
        key, stored = item
        table, (known, _), split = stored.table(), learned, key.partition("/")[0]
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


def _manifest(plan: SequencePlan, work: Path, summary: dict) -> dict:
    """Check what the workers found, seal the schema, and sum everything up."""
    counts, files = summary["counts"], summary["files"]
    rejected, dropped = (counts_under(counts, f"{w}/") for w in ("rejected", "dropped"))
    read, written = counts.get("read", 0), sum(file["rows"] for file in files)
    duplicates = counts.get("duplicates", 0)
    if not read:
        raise InputError(f"{', '.join(plan.log.files)}: no rows.")
    check_rejected(plan, rejected, read, samples=summary["samples"])
    lost = sum(rejected.values()) + sum(dropped.values())
    if read != written + duplicates + lost:
        raise RuntimeError(
            f"events were lost: {read=} {written=} {duplicates=} {rejected=} {dropped=}"
        )
    splits = {split: _split_counts(files, split) for split in SPLITS}
    _check_splits(plan, splits, dropped)
    schema = SequenceSchema.from_dict(summary["schema"], work).sealed(work / "vocab")
    if not schema.items:
        raise InputError(
            "no item was seen data.sequences.min_count="
            f"{plan.config.data.sequences.min_count} times in training. Lower it."
        )
    write_json(work / "schema.json", schema.to_dict())
    return {
        "fingerprint": schema.fingerprint,
        "rows": {
            "read": read,
            "written": written,
            "duplicates": duplicates,
            "rejected": rejected,
            "dropped": {name: n for name, n in dropped.items() if n},
        },
        "samples": summary["samples"],
        "spellings": spellings(counts),
        "passed_over": plan.log.passed_over,
        "absent": {name: list(paths) for name, paths in plan.log.absent.items()},
        "splits": splits,
        "input": list(plan.log.files),
        "config": read_by_preprocessing(plan.config),
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
