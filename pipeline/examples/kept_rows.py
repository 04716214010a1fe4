"""The raw rows that an example set keeps of its evaluation splits, read back."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from steadyrank.pipeline.examples.example_set import ExampleSet, check_size
from steadyrank.pipeline.files.errors import InputError, unreadable
from steadyrank.pipeline.raw_log.join import join_side


def raw_files(examples: ExampleSet, split: str) -> list[dict]:
    """What the manifest says of the files of a split that have raw rows, in order."""
    files = sorted(examples.manifest["files"], key=lambda file: file["path"])
    return [file for file in files if file["split"] == split and "raw" in file]


def kept_schema(examples: ExampleSet, split: str) -> pa.Schema:
    """Name and type of each raw column that a split keeps; of its first file.

    Raises:
        InputError: It keeps none: it is the training split.
    """
    for file in raw_files(examples, split):
        return next(read_raw(examples, file, 1)).schema
    raise no_rows(examples, split)


def no_rows(examples: ExampleSet, split: str) -> InputError:
    """The error to raise where a split keeps no raw rows."""
    return InputError(
        f"{examples.path} kept no raw rows of {split!r}. Received: split={split!r}; "
        "take test or validation."
    )


def read_raw(
    examples: ExampleSet, file: dict, rows: int, columns: Collection[str] | None = None
) -> Iterator[pa.Table]:
    """The raw rows of a file, in the order of its records, columns of side tables beside.

    Args:
        examples: The example set.
        file: One of ``raw_files``.
        rows: Of a batch.
        columns: Those wanted; None: all.

    Yields:
        Tables of up to ``rows`` rows.

    Raises:
        InputError: The file is damaged; it is named.
    """
    path, joins = examples.path / file["raw"]["path"], file["raw"]["joins"]
    try:
        check_size(path, file["raw"]["bytes"])
        ons = {join["on"] for join in joins}
        wanted = None if columns is None else {*columns, *ons}
        sides = [_read_side(examples, join, wanted) for join in joins]
        with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
            held = parquet.schema_arrow.names
            names = [n for n in held if wanted is None or n in wanted]
            for batch in parquet.iter_batches(rows, columns=names):
                table = pa.table(batch)
                for join, side in zip(joins, sides, strict=True):
                    table, _ = join_side(table, side, join["on"], join["prefix"])
                yield table
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, error, "Preprocess the log again.") from None


def _read_side(examples: ExampleSet, join: dict, wanted) -> pa.Table:
    path: Path = examples.path / join["path"]
    check_size(path, join["bytes"])
    with pq.ParquetFile(path, page_checksum_verification=True) as parquet:
        names = [
            name
            for name in parquet.schema_arrow.names
            if wanted is None or name == join["on"] or join["prefix"] + name in wanted
        ]
        return parquet.read(names)
