"""The scored rows of an evaluation, as Parquet: raw columns, labels, predictions."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.examples.kept_rows import raw_files, read_raw
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.metrics.scored import Scored

FILE = "predictions.parquet"
BATCH_ROWS = 65_536


def write_predictions(
    folder: Path, scored: Scored, examples: ExampleSet, split: str
) -> None:
    """Write ``predictions.parquet``: a row a row of the split, in the order of the files.

    Beside the raw columns that the examples keep (none of the training split) stand, of
    each task, ``label_<task>``, null outside of its sample space, ``predicted_<task>``,
    and ``predicted_score``.

    Args:
        folder: Where the file shall stand.
        scored: All rows of the split.
        examples: The example set.
        split: Its split.

    Raises:
        InputError: The raw rows are damaged, or not those that were scored.
    """
    held = sum(file["rows"] for file in raw_files(examples, split))
    if held and held != scored.rows:
        raise InputError(
            f"{examples.path} keeps {held:,} raw rows of {split!r}, of which "
            f"{scored.rows:,} were scored. Preprocess the log again."
        )
    writer, at = None, 0
    try:
        for raw in _raw(examples, split, scored.rows):
            table = _beside(raw, scored, at)
            at += len(table)
            writer = writer or pq.ParquetWriter(folder / FILE, table.schema)
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _raw(examples: ExampleSet, split: str, rows: int) -> Iterator[pa.Table]:
    """Raw rows of a split by batch; of one that keeps none, only how many there are."""
    files = raw_files(examples, split)
    for file in files:
        yield from read_raw(examples, file, BATCH_ROWS)
    for first in range(0, 0 if files else rows, BATCH_ROWS):
        yield pa.table({"row": np.arange(first, min(first + BATCH_ROWS, rows))})


def _beside(raw: pa.Table, scored: Scored, at: int) -> pa.Table:
    """Raw rows with what was predicted of them, the first of which is row ``at``."""
    part = slice(at, at + len(raw))
    columns = {name: raw[name] for name in raw.column_names}
    for task, label in scored.labels.items():
        if task in scored.outputs:
            outside = ~(scored.masks[task][part] > 0)
            columns[f"label_{task}"] = pa.array(label[part], mask=outside)
    named = [*scored.labels, *scored.outputs]  # in the config's order, the score last
    for name in (n for n in dict.fromkeys(named) if n in scored.outputs):
        columns[f"predicted_{name}"] = pa.array(scored.outputs[name][part])
    return pa.table(columns)
