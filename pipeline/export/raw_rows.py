"""Rows as a client sends them: those that preprocessing kept raw, and requests of them."""

from collections.abc import Iterator

import numpy as np

from steadyrank.pipeline.examples.dataset import file_dataset
from steadyrank.pipeline.examples.example_set import ExampleSet
from steadyrank.pipeline.examples.kept_rows import no_rows, raw_files, read_raw
from steadyrank.pipeline.export.raw_inputs import raw_inputs
from steadyrank.pipeline.export.signatures import (
    CANDIDATES,
    ENCODED,
    RAW,
    SERIALIZED,
    TF_EXAMPLE,
)
from steadyrank.pipeline.export.warmup import serialize_rows

FIRST_ROWS = 1000  # of a file, to compare signatures on


def kept_files(export, examples: ExampleSet, split: str) -> Iterator[tuple[dict, dict]]:
    """The first raw rows of each of a split's files that has some, and the same encoded.

    Args:
        export: The ``Export``, of which the features are read.
        examples: The example set.
        split: The split; of ``"train"`` none were kept.

    Yields:
        Feature name -> NumPy array, of both.
    """
    features, columns = export.schema.features, export.columns
    names = {*columns.values()}
    for file in raw_files(examples, split):
        path = examples.path / file["path"]
        table = next(read_raw(examples, file, FIRST_ROWS, names))
        encoded, _, _ = next(iter(file_dataset(examples, [path], len(table))))
        encoded = {f.name: encoded[f.name].numpy() for f in features}
        yield raw_inputs(table, features, columns), encoded


def kept_rows(export, examples: ExampleSet, split: str) -> tuple[dict, dict]:
    """Those of the first such file.

    Raises:
        InputError: None were kept.
    """
    for rows in kept_files(export, examples, split):
        return rows
    raise no_rows(examples, split)


def requests_of(raw: dict, encoded: dict, shared, rows: int, *, names) -> dict[str, dict]:
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
