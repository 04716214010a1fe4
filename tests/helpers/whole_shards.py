"""Preprocessing with all rows in memory and every shard whole, without Beam or files."""

import io
from collections import Counter

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.examples.records import encode_blocks, write_records
from steadyrank.pipeline.preprocess import append, vocabulary
from steadyrank.pipeline.preprocess.blocks import BlockFile, Store
from steadyrank.pipeline.preprocess.counts import Counted
from steadyrank.pipeline.preprocess.encode import encode_rows
from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.rows import HIGH, key_rows, settle_rows
from steadyrank.pipeline.raw_log.findings import Findings
from steadyrank.pipeline.raw_log.open import read_all


class InMemory:
    """A table as analysing wants it: whole columns, an array each."""

    def __init__(self, table: pa.Table):
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def arrays(self, name: str):
        yield self._table[name].combine_chunks()


def counted(tables, features, folder) -> dict[str, Counted]:
    """How often each value is there, by plain Python."""
    found = {}
    for feature in features:
        if feature.kind == "numeric":
            continue
        seen: Counter = Counter()
        for table in tables:
            for array in table.arrays(f"feature/{feature.name}"):
                values = array.flatten() if pa.types.is_list(array.type) else array
                seen.update(value for value in values.to_pylist() if value is not None)
        order = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
        kind = pa.int64() if feature.raw == "integer" else pa.string()
        values = pa.array([value for value, _ in order], kind)
        counts = pa.array([count for _, count in order], pa.int64())
        with BlockFile(folder) as file:
            store = Store(file)
            store.add(pa.table({"value": values, "count": counts}))
            found[feature.name] = Counted(store.finish(), seen.total())
    return found


def learned(tables, plan, folder):
    """What encoding needs, from tables."""
    analyses = [vocabulary.analyse(InMemory(table), plan) for table in tables]
    seen = counted(list(map(InMemory, tables)), plan.features, str(folder))
    return append.learn(vocabulary.merge(analyses), seen, plan, str(folder))


def values_of(learned, name: str) -> list:
    """A vocabulary's values."""
    return [v for array in learned.vocabularies[name].arrays() for v in array.to_pylist()]


def records(config, folder, scratch) -> tuple[dict[str, bytes], dict]:
    """Record files by their path, and statistics."""
    plan, keyed, counts = make_plan(config, folder), {}, {}
    for piece in plan.log.pieces:
        for batch in piece.batches():
            tables, _, found = key_rows(batch, piece.path, plan)
            for name, count in found.items():
                counts[name] = counts.get(name, 0) + count
            for key, table in tables.items():
                keyed.setdefault(key, []).append(table)
    found = Findings.of(counts, config.data, config.data.time)
    sides = [read_all(log, log.schema.names) for log in plan.sides]
    typed = {}
    for key, tables in keyed.items():
        settled = settle_rows(tables, sides, plan, (), found=found)
        if len(settled.typed):
            typed[key] = settled.typed
    training = [table for key, table in typed.items() if key.startswith("train/")]
    known = learned(training, plan, scratch)
    layout, encoding = known.schema.layout, known.schema.fingerprint
    files = {}
    for key, table in typed.items():
        split, window, shard = key.split("/")
        arrays, _ = encode_rows(table, known)
        file = io.BytesIO()
        write_records(file, encode_blocks(layout.matrices(arrays), encoding))
        files[f"{split}/{window}-{shard}.tfrecord"] = file.getvalue()
    return files, known.statistics


def fingerprints(tables: list[pa.Table]) -> np.ndarray:
    """Upper halves of all rows' fingerprints, as they come."""
    return np.concatenate([table[HIGH].to_numpy() for table in tables])
