"""Rows of a shard become final: read by ranges, joined, typed, and stored in blocks."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

import apache_beam as beam
import pyarrow as pa

from steadyrank.pipeline.preprocess.blocks import Block, BlockFile, Store, read_block
from steadyrank.pipeline.preprocess.files import create_checked
from steadyrank.pipeline.preprocess.kept import keep_rows, raw_columns
from steadyrank.pipeline.preprocess.memory import give_back_memory, trim
from steadyrank.pipeline.preprocess.negatives import Draw
from steadyrank.pipeline.preprocess.past import list_kinds
from steadyrank.pipeline.preprocess.placed import Values, with_lists
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import settle_rows
from steadyrank.pipeline.preprocess.spill import SPILL, gather
from steadyrank.pipeline.raw_log.columns import in_one_piece
from steadyrank.pipeline.raw_log.findings import Findings, as_integers, count_spellings
from steadyrank.pipeline.raw_log.one_type import in_their_order
from steadyrank.pipeline.raw_log.open import read_all
from steadyrank.pipeline.raw_log.split import DAY

REPEATED = "repeated"  # in the counts: duplicates by day


class Settle(beam.DoFn):
    """All parts of one shard to its final, typed rows; those to judge on stay raw, too."""

    def __init__(self, plan: Plan, output: str):
        self.plan, self.output, self.kinds = plan, output, list_kinds(plan)

    def setup(self):
        give_back_memory()
        numbers = range(len(self.plan.sides))
        self.sides = [
            None if self.plan.is_spread(number) else read_side(self.plan, number)
            for number in numbers
        ]

    def process(
        self,
        item,
        known: dict,
        catalogues: dict | None = None,
        lists: dict[tuple[str, int], Block] | None = None,
    ):
        key, parts = item
        data = self.plan.config.data
        found = Findings.of(known, data, data.time, self.plan.spelled)
        columns = () if key.startswith("train/") else raw_columns(self.plan)
        counts: Counter = Counter()
        how: dict = {"found": found, "split": key.split("/")[0]}
        if lists is not None:
            how["made"] = partial(with_lists, kinds=self.kinds, values=_values_in(lists))
        if catalogues is not None:
            how["draw"] = Draw(self.plan, key.split("/")[0], catalogues)
        raw, rows, rejected, folder = [], 0, [], f"{self.output}/{SPILL}"
        with BlockFile(folder) as file, BlockFile(folder) as others:
            store = Store(file)
            for tables in gather(parts):
                settled = settle_rows(tables, self.sides, self.plan, columns, **how)
                rejected += map(others.append, settled.rejected)
                counts.update(settled.counts)
                store.add(settled.typed)
                raw += [(table, rows + numbers) for table, numbers in settled.raw]
                rows += len(settled.typed)
            typed = store.finish()
        for block in rejected:
            yield beam.pvalue.TaggedOutput("rejected", block)
        if twice := counts["duplicates"]:
            counts[f"{REPEATED}/{key.split('/')[1][:DAY]}"] = twice
        yield beam.pvalue.TaggedOutput("counts", dict(counts))
        trim()
        if not rows:
            return
        if columns:
            labels = typed.select([f"label/{task.name}" for task in self.plan.tasks])
            both, name = (in_their_order(raw), labels), file_name(key)
            put = {"name": name, "create": self._create}
            kept = keep_rows(*both, self.sides, self.plan, **put)
            yield beam.pvalue.TaggedOutput("kept", kept)
            del both, raw
            trim()
        yield key, typed

    def _create(self, path: str):
        return create_checked(f"{self.output}/{path}")


def _values_in(lists: Mapping[tuple[str, int], Block]) -> Values:
    def values(name: str, bucket: int) -> pa.Array:
        return in_one_piece(read_block(lists[name, bucket])[name])

    return values


def read_side(plan: Plan, number: int) -> pa.Table:
    """All of a side table that its rows are joined to."""
    side = read_all(plan.sides[number], list(plan.side_columns(number)))
    found = Findings.of(count_spellings(side, side.column_names), plan.config.data, "")
    return as_integers(side, found.whole)


def file_name(key: str) -> str:
    """A shard's file, without ending: ``test/2024-03-06-00000``."""
    split, window, shard = key.split("/")
    return f"{split}/{window}-{shard}"
