"""The best rows of each user out of all parts, with memory for a share of the users.

Each part holds the best of its own batches.  All of it is spread over as many files as
are needed for one of them to fit, by the hash of the value that rows are parted by.
"""

import contextlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.raw_log.columns import in_one_piece
from steadyrank.pipeline.raw_log.fingerprint import hash_values
from steadyrank.pipeline.score.pieces import Part
from steadyrank.pipeline.score.rows import best_rows

ROWS_AT_ONCE = 2_000_000


def merge_top(parts: Path, final: Path, *, spill: Path, by: str, top: int) -> int:
    """Write parts that hold the best rows of each value, the best first.

    Args:
        parts: The folder of those that hold the best of their batches.
        final: Where the new ones shall stand.
        spill: A folder that is there, for what lies in between.
        by: The column whose values part the rows.
        top: Rows of each value.

    Returns:
        Rows that are left.
    """
    files = sorted(parts.glob("part-*.parquet"))
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    buckets = 1 + rows // ROWS_AT_ONCE
    with contextlib.ExitStack() as stack:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for path in files:
            for batch in pq.ParquetFile(path).iter_batches():
                table = pa.Table.from_batches([batch])
                place = hash_values(in_one_piece(table[by])) % np.uint64(buckets)
                for bucket in np.unique(place).tolist():
                    some = table.filter(pa.array(place == bucket))
                    if bucket not in writers:
                        new = pa.ipc.new_stream(str(spill / f"{bucket:05d}"), some.schema)
                        writers[bucket] = stack.enter_context(new)
                    writers[bucket].write_table(some)
    left = 0
    for bucket in sorted(writers):
        with pa.memory_map(str(spill / f"{bucket:05d}")) as file:
            best = best_rows(pa.ipc.open_stream(file).read_all(), by, top)
            with Part(final / f"part-{bucket:05d}.parquet") as part:
                part.write(best)
            left += len(best)
        (spill / f"{bucket:05d}").unlink()
    return left
