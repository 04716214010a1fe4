"""What the days of some rows amount to, by the vocabularies of a set: without Beam."""

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.preprocess import known
from steadyrank.pipeline.preprocess.catalogue import look, merge_window
from steadyrank.pipeline.preprocess.encode import encode_rows, profile_rows
from steadyrank.pipeline.preprocess.held import profiles_of
from steadyrank.pipeline.preprocess.known import KnownWriter
from steadyrank.pipeline.preprocess.negatives import Draw
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import settle_rows
from steadyrank.pipeline.preprocess.settle import REPEATED, read_side
from steadyrank.pipeline.preprocess.spill import Spill
from steadyrank.pipeline.preprocess.stage import key_taken
from steadyrank.pipeline.preprocess.vocabulary import Learned, read_values
from steadyrank.pipeline.raw_log.findings import Findings
from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.split import DAY


def learned_of(examples: Path, folder: str) -> Learned:
    """What a set's rows were encoded with.

    Args:
        examples: The set.
        folder: For files of known values.
    """
    schema = ExampleSet.read_schema(examples)
    vocabularies = {}
    for feature in schema.features:
        if feature.has_vocabulary:
            with KnownWriter(folder, feature.raw) as writer:
                writer.add(read_values(examples, feature.name, feature.raw))
                vocabularies[feature.name] = writer.finish()
    return Learned(schema.features, schema.tasks, vocabularies, {}, schema)


def days_of(
    plan: Plan, examples: Path, batches: Iterable[tuple[str, Batch]]
) -> dict[str, dict]:
    """Day -> what its rows amount to, encoded with the vocabularies of a set.

    Args:
        plan: Of the log; no side table is too large to be held.
        examples: The set.
        batches: Files, and rows of them.
    """
    counts: Counter = Counter()
    keyed: dict[str, list] = {}
    files: list[dict] = []
    for path, batch in batches:
        tables, _, found = key_taken(batch, path, plan)
        counts.update(found)
        for key, table in tables.items():
            keyed.setdefault(key, []).append(table)
    sides = [read_side(plan, number) for number in range(len(plan.sides))]
    findings = Findings.of(counts, plan.config.data, plan.config.data.time, plan.spelled)
    of_all_days = {"split": "test", "derived": plan.derived}
    with tempfile.TemporaryDirectory() as folder:
        learned = learned_of(examples, folder)
        of_all = catalogues_of(keyed, plan, findings, folder)
        for key in sorted(keyed):
            split, window, _ = key.split("/")
            how = {"found": findings, "split": split}
            if of_all is not None:
                how["draw"] = Draw(plan, split, of_all)
            settled = settle_rows(keyed.pop(key), sides, plan, (), **how)
            counts[f"{REPEATED}/{window[:DAY]}"] += settled.counts["duplicates"]
            arrays, unknown = encode_rows(settled.typed, learned)
            # as all of them are new to the set, whatever their split
            amounts = profile_rows(settled.typed, arrays, unknown, learned, **of_all_days)
            files.append({"window": window, "profile": amounts})
        known.close()
    return profiles_of(files, counts)


def catalogues_of(keyed: dict[str, list], plan: Plan, found: Findings, folder: str):
    """What negatives are drawn from, of those rows; None: none are."""
    if plan.config.data.negatives is None:
        return None
    parts: dict[str, list] = {}
    with Spill(folder) as spill:
        for key, tables in keyed.items():
            for table in tables:
                spill.add({key: table})
    for key, part in spill.parts:
        parts.setdefault(key, []).append(part)
    windows: dict[str, list] = {}
    for key, some in parts.items():
        for name, held in look(key, some, plan, found=found, folder=folder):
            windows.setdefault(name, []).append(held)
    return {name: merge_window(held, folder) for name, held in windows.items()}
