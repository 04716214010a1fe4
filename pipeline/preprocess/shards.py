"""Files of about as many rows each, however a log's rows lie in its windows.

Rows are cut into shards before anybody knows how many a window has: as many shards as the
whole log would need.  Once all were counted, shards that follow one another make up a
file.  Equal rows are in one shard, and so in one file.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import apache_beam as beam

from steadyrank.pipeline.preprocess.plan import Plan, rows_each

OF_WINDOWS = "rows of"  # in the counts


def count_windows(keyed: Mapping[str, object]) -> Counter:
    """How many rows each window of each split has.

    Args:
        keyed: Tables by key, ``split/window/shard``.
    """
    counts: Counter = Counter()
    for key, rows in keyed.items():
        counts[_window(key)] += len(rows)
    return counts


def file_of(key: str, counts: Mapping[str, int], shards: int, rows: int) -> str:
    """The key of the file that a shard's rows go into.

    Args:
        key: ``split/window/shard``.
        counts: What ``count_windows`` gives, of the whole log.
        shards: Of each window.
        rows: About so many a file.
    """
    head, _, shard = key.rpartition("/")
    files = -(-counts[_window(key)] // rows)
    if 2 * files > shards:  # else some files would have one shard, and some two
        files = shards
    return f"{head}/{int(shard) * files // shards:05d}"


def filed(parts: beam.PCollection, counts: beam.PCollection, plan: Plan):
    """Parts by the key of their file; as they are where the config does not ask for it."""
    rows = plan.config.data.rows_per_shard
    if not rows:
        return parts
    put = partial(_put, shards=plan.shards, rows=max(1, rows // rows_each(plan.config)))
    return parts | "by file" >> beam.Map(put, beam.pvalue.AsSingleton(counts))


def _put(item: tuple, counts: Mapping[str, int], shards: int, rows: int) -> tuple[str, Any]:
    key, part = item
    return file_of(key, counts, shards, rows), part


def _window(key: str) -> str:
    return f"{OF_WINDOWS}/{key.rpartition('/')[0]}"
