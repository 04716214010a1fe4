"""Rows as a client sends them: those that preprocessing kept raw, and requests of them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from steadyrank.models.features import MISSING_INTEGER, Feature
from steadyrank.pipeline.examples.dataset import file_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.export.signatures import (
    CANDIDATES,
    ENCODED,
    RAW,
    SERIALIZED,
    TF_EXAMPLE,
)
from steadyrank.pipeline.export.warmup import serialize_rows
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import is_list


def raw_path(examples: ExampleSet, path: Path) -> Path:
    """Where the raw values of a file's first rows are."""
    relative = path.relative_to(examples.path)
    return examples.path / "raw" / relative.with_suffix(".parquet")


def raw_features(table: pa.Table, features: Iterable[Feature]) -> dict[str, tf.Tensor]:
    """Typed rows as a client of the raw signature would send them.

    Args:
        table: Columns ``feature/<name>`` as preprocessing typed them.
        features: The model's features.

    Returns:
        Feature name -> tensor.
    """
    return {f.name: _raw(table[f"feature/{f.name}"].combine_chunks(), f) for f in features}


def _raw(values: pa.Array, feature: Feature) -> tf.Tensor:
    if feature.kind == "numeric":
        return tf.constant(values.to_numpy(zero_copy_only=False).astype(np.float32))
    if is_list(values.type):
        lists = values.to_pylist()
        if feature.separator:
            return tf.constant([feature.separator.join(items or []) for items in lists])
        filler = "" if feature.raw == "string" else MISSING_INTEGER
        kind = tf.string if feature.raw == "string" else tf.int64
        ragged = tf.ragged.constant([items or [] for items in lists], kind, 1)
        return ragged.to_tensor(filler)
    if feature.raw == "string":
        return tf.constant(values.fill_null("").to_pylist(), tf.string)
    return tf.constant(values.fill_null(MISSING_INTEGER).to_numpy(), tf.int64)


def kept_files(
    examples: ExampleSet, features: Sequence[Feature], split: str
) -> Iterator[tuple[dict, dict]]:
    """The raw rows of each of a split's files that has some, and the same rows encoded.

    Yields:
        Feature name -> NumPy array, of both.
    """
    for path in [path for paths in examples.windows(split).values() for path in paths]:
        kept = raw_path(examples, path)
        if not kept.exists() or not (table := pq.read_table(kept)).num_rows:
            continue
        encoded, _, _ = next(iter(file_dataset(examples, [path], len(table))))
        raw = raw_features(table, features)
        yield (
            {f.name: raw[f.name].numpy() for f in features},
            {f.name: encoded[f.name].numpy() for f in features},
        )


def kept_rows(
    examples: ExampleSet, features: Sequence[Feature], split: str
) -> tuple[dict, dict]:
    """Those of the first such file.

    Raises:
        InputError: None were kept.
    """
    for rows in kept_files(examples, features, split):
        return rows
    raise InputError(
        f"{examples.path} kept no raw rows of {split!r}. Received: split={split!r}; "
        "take test or validation."
    )


def requests_of(raw: dict, encoded: dict, shared, rows: int, names) -> dict[str, dict]:
    """One user's request of some size, in the form of each signature.

    Args:
        raw: Rows, which are repeated where they do not suffice.
        encoded: The same rows.
        shared: Features that all rows take from the first one.
        rows: Size of the request.
        names: Signatures that the export has.

    Returns:
        Signature -> inputs.
    """

    def repeated(columns):
        return {
            name: values[np.arange(rows) % len(values) * (name not in shared)]
            for name, values in columns.items()
        }

    whole = repeated(raw)
    requests = {RAW: whole, ENCODED: repeated(encoded)}
    if TF_EXAMPLE in names:
        requests[TF_EXAMPLE] = {SERIALIZED: serialize_rows(whole)}
    if CANDIDATES in names:
        one = {name: v[:1] if name in shared else v for name, v in whole.items()}
        requests[CANDIDATES] = one
    return requests
