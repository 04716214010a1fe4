"""Preprocessing up to its final rows, step by step and without Beam."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa

from steadyrank.pipeline.preprocess.plan import make_plan
from steadyrank.pipeline.preprocess.rows import key_rows, settle_rows
from steadyrank.pipeline.raw_log.findings import Findings, spellings
from steadyrank.pipeline.raw_log.rejected import explained, samples


@dataclass(frozen=True)
class Settled:
    """What became of a log.

    Attributes:
        rows: Typed, with ``split`` and ``window``.
        rejected: Reason -> rows.
        said: Of each reason, what the command line shows.
        read: Rows and malformed lines.
        plan: What was planned.
        spelled: How whole numbers are written in texts.
    """

    rows: pa.Table
    rejected: dict
    said: dict
    read: int
    plan: object
    spelled: dict

    def values(self, name: str) -> Counter:
        values = self.rows[name].combine_chunks()
        if pa.types.is_list(values.type):
            values = values.flatten()
        return Counter(values.drop_null().to_pylist())


def settle(config, folder) -> Settled:
    plan = make_plan(config, folder)
    counts, keyed, rejected, read = Counter(), {}, [], 0
    for piece in plan.log.pieces:
        for batch in piece.batches():
            read += len(batch.table)
            if batch.malformed is not None:
                bad = batch.malformed.append_column("value", batch.malformed["text"])
                rejected.append(
                    bad.append_column("source", pa.array([piece.path] * len(bad)))
                )
                read += len(bad)
            tables, bad, found = key_rows(batch, piece.path, plan)
            rejected += [] if bad is None else [bad]
            counts.update(found)
            for key, table in tables.items():
                keyed.setdefault(key, []).append(table)
    data = config.data
    found = Findings.of(counts, data, data.time, plan.spelled)
    final = []
    for key, tables in keyed.items():
        split, window, _ = key.split("/")
        settled = settle_rows(tables, [], plan, (), found=found, split=split)
        rows, bad = settled.typed, settled.rejected
        rows = rows.append_column("split", pa.repeat(split, len(rows)))
        final.append(rows.append_column("window", pa.repeat(window, len(rows))))
        rejected += bad
    seen = {}
    if rejected:
        seen = samples(rejected)
    return Settled(
        pa.concat_tables(final) if final else pa.table({}),
        {reason: sample["rows"] for reason, sample in seen.items()},
        {reason: explained(reason, sample) for reason, sample in seen.items()},
        read,
        plan,
        spellings(counts),
    )
