"""Which rows of a sample preprocessing would reject: before it begins, and without Beam."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.preprocess.plan import Plan
from steadyrank.pipeline.preprocess.rows import key_rows, type_rows
from steadyrank.pipeline.raw_log.formats.base import Batch
from steadyrank.pipeline.raw_log.rejected import explained, samples, with_reason

MOSTLY = 0.5  # of a sample's files, that tell of those which were not looked at


def look_for_rejected(
    plan: Plan, batches: Iterable[tuple[str, Batch]], *, whole: bool
) -> tuple[int, int, list[str]]:
    """Count the rows of a sample that would be rejected.

    With side tables, which are not read here, features and labels are not looked at.

    Args:
        plan: Of the log.
        batches: Files, and some of their rows.
        whole: Whether these are all rows of the log.

    Returns:
        How many rows were looked at, how many of them would be rejected, and a warning
        of each reason.

    Raises:
        InputError: More of the log would be than ``data.max_rejected``: of all its rows,
            or of a sample, and of most of its files.
    """
    read: Counter = Counter()
    bad: Counter = Counter()
    found = []
    for path, batch in batches:
        tables = [*_rejected(plan, path, batch)]
        read[path] += len(batch.table) + len(batch.malformed or ())
        bad[path] += sum(map(len, tables))
        found += tables
    looked, total = read.total(), bad.total()
    why = samples(found)
    said = [f"{reason}: {s['rows']:,}{explained(reason, s)}" for reason, s in why.items()]
    most = plan.config.data.max_rejected
    files = [bad[path] > most * read[path] for path in read]
    if total > most * looked and (whole or np.mean(files) > MOSTLY):
        raise InputError(
            f"{total:,} of {looked:,} rows{'' if whole else ' that were looked at'} would "
            f"be rejected, more than data.max_rejected={most:g} allows. Reasons: "
            f"{'; '.join(said)}. Mend the log, or raise the limit."
        )
    return looked, total, [f"warning: would be rejected: {line}" for line in said]


def _rejected(plan: Plan, path: str, batch: Batch) -> Iterator[pa.Table]:
    """The rows of a batch that would be, with their reasons, as ``samples`` takes them."""
    if (malformed := batch.malformed) is not None:
        source = pa.array([path] * len(malformed))
        malformed = malformed.append_column("source", source)
        yield malformed.append_column("value", malformed["text"])
    keyed, rejected, _ = key_rows(batch, path, plan)
    if rejected is not None:
        yield rejected
    if plan.sides or not keyed:
        return
    table = pa.concat_tables(keyed.values())
    _, reasons, about, _ = type_rows(table, plan)
    for reason in np.unique(reasons[reasons != ""]):
        bad = table.filter(reasons == reason)
        yield with_reason(bad, reason, about[reason], plan.log.files)
