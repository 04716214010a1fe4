"""Raw logs to sequences, as an Apache Beam job.

In: an event log of a config.  Out: a set of sequences (``example_set.py`` says what it
holds).

    steadyrank preprocess --config C --output DIR [--append] [-- BEAM FLAGS]

    pieces ─ read, type, key ─ group by shard of users ─ order, cut, split ┐
       ┌──────────────────────────────────────────────────────────────────┘
       ├ training split: count items ─ merge ─ vocabulary ┐ (side input; with --append
       │                                                  │ the base's counts and items)
       └──────────────────────────────────────── encode ──┴ write ─ summary

With ``--append``, the base's last events of each user are read beside the log: what came
since is cut into sequences that go on from them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.pipeline.config.next_item import SequenceConfig
from steadyrank.pipeline.examples.compatibility import (
    FREE,
    require_made_for,
)
from steadyrank.pipeline.examples.example_set import seal, vocab_path
from steadyrank.pipeline.examples.identity import identify
from steadyrank.pipeline.examples.records import write_records
from steadyrank.pipeline.files.errors import (
    InputError,
    NoRowsError,
    NothingToTrainOnError,
)
from steadyrank.pipeline.files.publish import publish, refuse_existing, write_json
from steadyrank.pipeline.files.room import require_room
from steadyrank.pipeline.kinds.next_item.events import key_events, settle_events
from steadyrank.pipeline.kinds.next_item.example_set import (
    ITEM,
    SequenceSchema,
    SequenceSet,
    encode_sequences,
)
from steadyrank.pipeline.kinds.next_item.plan import HISTORIES, SequencePlan, make_plan
from steadyrank.pipeline.kinds.protocol import NEXT_ITEM
from steadyrank.pipeline.preprocess import vocabulary as vocab
from steadyrank.pipeline.preprocess.accounts import (
    counts_under,
    identities,
    take_account,
    told,
)
from steadyrank.pipeline.preprocess.append import MOVES_ON, last_window, take_over
from steadyrank.pipeline.preprocess.beam_job import (
    RAW_ROWS,
    Steps,
    run_job,
)
from steadyrank.pipeline.preprocess.blocks import (
    BlockFile,
    Store,
    Stored,
)
from steadyrank.pipeline.preprocess.counts import Counted
from steadyrank.pipeline.preprocess.files import create_checked, create_file
from steadyrank.pipeline.preprocess.known import Known
from steadyrank.pipeline.preprocess.memory import system_pool
from steadyrank.pipeline.preprocess.plan import WHOLE_LOG, Addition
from steadyrank.pipeline.preprocess.settle import file_name
from steadyrank.pipeline.preprocess.size import EXAMPLES, size_of
from steadyrank.pipeline.preprocess.spill import SPILL, loads_of
from steadyrank.pipeline.raw_log.fingerprint import hash_together, hash_values, mix
from steadyrank.pipeline.raw_log.split import SPLITS


@system_pool()
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
        InputError: The input does not suit, or too much of it had to be rejected.
    """
    refuse_existing(Path(output), overwrite)
    base = None if addition.base is None else SequenceSet.open(addition.base)
    if base:
        require_made_for(config, base.manifest, base.path, FREE | MOVES_ON)
    after = last_window(base, config.data) if base else ""
    plan = make_plan(config, folder, addition, base, after=after)
    require_room(Path(output), size_of(plan), EXAMPLES)
    with publish(output, overwrite) as work:
        loads = loads_of(plan.pieces, plan.log.rows)
        summary = run_job(loads, _steps(plan, work), work, beam_flags)
        manifest = _manifest(plan, work, summary, base)
        write_json(work / "manifest.json", manifest)
    return manifest


def _steps(plan: SequencePlan, output: Path) -> Steps:
    return Steps(
        key=partial(key_events, plan=plan),
        settle=Settle(plan, str(output)),
        analyse=no_numbers,
        values=items_of,
        counted={ITEM: plan.item},
        learn=partial(learn, plan=plan, folder=f"{output}/{SPILL}"),
        write_learned=partial(write_learned, output=str(output)),
        encode=Encode(str(output), plan),
        base=plan.addition.base,
    )


class Settle(beam.DoFn):
    """All events of one shard's users to their sequences, by split and window."""

    def __init__(self, plan: SequencePlan, output: str):
        self.plan, self.output = plan, output

    def process(self, item, known: dict):
        shard, parts = item
        settled = settle_events([part.read() for part in parts], self.plan, known)
        with BlockFile(f"{self.output}/{SPILL}") as file:
            rejected = list(map(file.append, settled.rejected))
        for block in rejected:
            yield beam.pvalue.TaggedOutput("rejected", block)
        yield beam.pvalue.TaggedOutput("counts", dict(settled.counts))
        if self.plan.grows:
            kept, path = settled.histories, f"{HISTORIES}/{shard:05d}.parquet"
            with create_checked(f"{self.output}/{path}") as whole:
                pq.write_table(kept, whole, row_group_size=max(len(kept), 1))
            found = {"path": path, "bytes": whole.bytes, "checksum": whole.checksum}
            yield beam.pvalue.TaggedOutput("kept", found)
        for key, table in settled.sequences.items():
            with BlockFile(f"{self.output}/{SPILL}") as file:
                store = Store(file)
                store.add(table)
                stored = store.finish()
            yield f"{key}/{shard:05d}", stored


@dataclass(frozen=True)
class Learned:
    """What encoding needs: the items, the most frequent first, and the schema."""

    known: Known
    statistics: dict
    schema: SequenceSchema


def no_numbers(_: Stored) -> vocab.Analysis:
    """Sequences hold none that something is learned from."""
    return vocab.Analysis()


def items_of(sequences: Stored) -> dict:
    """The items of some training sequences, each where it is their own."""
    return {ITEM: (own_items(table) for table in sequences.blocks())}


def own_items(table: pa.Table) -> pa.Array:
    """The items of sequences that are counted there."""
    lists = table["items"].combine_chunks()
    lengths, own = lists.value_lengths().to_numpy(), table["own"].to_numpy()
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths), lengths)
    return lists.flatten().filter(pa.array(place >= -np.repeat(own, lengths)))


def learn(_, counted: Mapping[str, Counted], plan: SequencePlan, folder: str) -> Learned:
    """The known items; those of a base keep their places."""
    sequences, base = plan.config.data.sequences, plan.addition.base
    least, most = sequences.min_count, sequences.max_size
    before = base and SequenceSet.read_schema(base)
    old = before and vocab.read_values(base, ITEM, before.raw)
    known, statistics = vocab.known_values(
        counted[ITEM], least, plan.item, folder, old=old, most=most
    )
    schema = SequenceSchema(len(known), plan.item, sequences.length)
    schema = seal(schema, lambda _: known.lines(), before)
    return Learned(known, statistics, schema)


def write_learned(learned: Learned, output: str) -> dict:
    """Write vocabulary and statistics; give the schema back."""
    with create_file(str(vocab_path(Path(output) / "vocab", ITEM))) as file:
        file.writelines(learned.known.lines())
    with create_file(f"{output}/statistics.json") as file:
        file.write(json.dumps({"items": learned.statistics}, indent=1).encode())
    return learned.schema.to_dict()


class Encode(beam.DoFn):
    """A shard's sequences to their file; yields what the manifest says of it."""

    def __init__(self, output: str, plan: SequencePlan):
        self.output = output
        named = plan.config.data.sequences
        self.key = tuple(sorted((named.user, named.time)))

    def process(self, item, learned: Learned):
        key, stored = item
        split, window, _ = key.split("/")
        table, name, raw = stored.table(), file_name(key), {}
        lists, own = table["items"].combine_chunks(), table["own"].to_numpy()
        ids = look_up(lists.flatten(), learned.known)
        lengths = lists.value_lengths().to_numpy()
        encoding, group = learned.schema.fingerprint, table["group"].to_numpy()
        records = encode_sequences(ids, lengths, own=own, group=group, encoding=encoding)
        with create_checked(f"{self.output}/{name}.tfrecord") as file:
            write_records(file, records)
        if split != "train":
            raw = {"raw": self._keep(table, f"raw/{name}.parquet"),
                   "identity": self._identity(table)}  # fmt: skip
        unknown = ids == learned.schema.unknown
        yield {
            "path": f"{name}.tfrecord",
            "split": split,
            "window": window,
            "rows": int(own.sum()),
            "sequences": len(table),
            "read_again": len(ids) - int(own.sum()),
            "unknown": int(unknown.sum()),
            "unknown_targets": int(unknown[np.cumsum(lengths) - 1].sum()),
            "bytes": file.bytes,
            "checksum": file.checksum,
            "encoding": encoding,
            "items": learned.schema.items,
            **raw,
        }

    def _keep(self, table: pa.Table, path: str) -> dict:
        """The first sequences' raw items, as ``examples.kept_rows`` reads them."""
        with create_checked(f"{self.output}/{path}") as file:
            pq.write_table(table.select(["items"]).slice(0, RAW_ROWS), file)
        return {"path": path, "bytes": file.bytes, "checksum": file.checksum, "joins": []}

    def _identity(self, table: pa.Table) -> dict:
        """Sequences are known by whose they are and when; the label is the last item."""
        lists = table["items"].combine_chunks()
        last = pc.take(lists.flatten(), pc.subtract(lists.offsets[1:], 1))
        label = (hash_values(last) >> np.uint64(11)).astype(np.float64)
        columns = (table[name].to_numpy().view(np.uint64) for name in ("group", "ms"))
        keys = {self.key: hash_together(map(mix, columns))}
        return identify(keys, {NEXT_ITEM: (label, np.ones(len(label), bool))})


def look_up(items: pa.Array, known: Known) -> np.ndarray:
    """Ids of raw items, int32: 1 to V by their place among the known, V + 1 elsewhere."""
    places = known.find(items)
    return np.where(places < 0, len(known), places).astype(np.int32) + np.int32(1)


def _manifest(
    plan: SequencePlan, work: Path, summary: dict, base: SequenceSet | None
) -> dict:
    """Check what the workers found, seal the schema, and sum everything up."""
    dropped = counts_under(summary["counts"], "dropped/")
    account = take_account(plan, summary, dropped)
    account.require_all()
    taken = take_over(base, work) if base else []
    files = taken + summary["files"]
    splits = {split: _split_counts(files, split) for split in SPLITS}
    _check_splits(plan, splits, dropped)
    if not summary["schema"]["items"]:
        raise InputError(
            "no item was seen data.sequences.min_count="
            f"{plan.config.data.sequences.min_count} times in training. Lower it."
        )
    write_json(work / "schema.json", summary["schema"])
    found = told(plan, summary, account, taken)
    found["rows"]["dropped"] = {name: n for name, n in dropped.items() if n}
    own = [(f["split"], f.pop("identity")) for f in files if "identity" in f]
    return {
        **found,
        "splits": splits,
        "identity": identities(own),
        HISTORIES: sorted(summary["kept"], key=lambda file: file["path"]),
        "files": sorted(files, key=lambda file: file["path"]),
    }


def _split_counts(files: list[dict], split: str) -> dict:
    names = ("rows", "sequences", "read_again", "unknown", "unknown_targets")
    own, windows = [file for file in files if file["split"] == split], Counter()
    for file in own:
        windows[file["window"]] += file["rows"]
    counts = {name: sum(file[name] for file in own) for name in names}
    return {**counts, "windows": dict(sorted(windows.items()))}


def _check_splits(plan: SequencePlan, splits: dict, dropped: dict) -> None:
    for split, counts in splits.items():
        if not counts["sequences"]:
            found = {name: c["sequences"] for name, c in splits.items()}
            raise (NothingToTrainOnError if split == "train" else NoRowsError)(
                f"the {split} split has no sequences: data.split is "
                f"{plan.config.data.split.model_dump(mode='json')}, sequences are {found}, "
                f"left out were {dropped}. Move data.split, or lower "
                "data.sequences.min_length."
            )
