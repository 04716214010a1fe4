"""Preprocessing with all rows in memory and every shard whole, without Beam or files."""

import io

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.examples.records import encode_blocks, write_records
from steadyrank.pipeline.preprocess import append, vocabulary
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


def records(config, folder) -> tuple[dict[str, bytes], dict]:
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
    training = [InMemory(table) for key, table in typed.items() if key[:5] == "train"]
    analyses = [vocabulary.analyse(table, plan) for table in training]
    learned = append.learn(vocabulary.merge(analyses), plan)
    layout, encoding = learned.schema.layout, learned.schema.fingerprint
    files = {}
    for key, table in typed.items():
        split, window, shard = key.split("/")
        arrays, _ = encode_rows(table, learned)
        file = io.BytesIO()
        write_records(file, encode_blocks(layout.matrices(arrays), encoding))
        files[f"{split}/{window}-{shard}.tfrecord"] = file.getvalue()
    return files, learned.statistics


def fingerprints(tables: list[pa.Table]) -> np.ndarray:
    """Upper halves of all rows' fingerprints, as they come."""
    return np.concatenate([table[HIGH].to_numpy() for table in tables])
