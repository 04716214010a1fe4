"""Raw columns as a client of an export's raw signature would send them."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from steadyrank.models.features import Feature, raw_features
from steadyrank.pipeline.export.signatures import MISSING, is_listed
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.raw_log.columns import (
    convert,
    in_one_piece,
    is_list,
    raw_type,
    to_strings,
    to_vectors,
)
from steadyrank.pipeline.raw_log.times import require_time, to_moments


def require_columns(
    features: Iterable[Feature],
    columns: Mapping[str, str],
    schema: pa.Schema,
    role: str,
    *,
    where: str,
) -> None:
    """Raise unless raw rows have what a model reads, in a type that it can read.

    Args:
        features: The model's.
        columns: Feature -> column.
        schema: Of the raw rows.
        role: What the model is, for the message: ``"baseline"``.
        where: What the rows are.

    Raises:
        InputError: A column is missing, or of a type that does not suit; all are named.
    """
    faults = []
    for feature in raw_features(features):
        name = columns[feature.name]
        if name not in schema.names:
            faults.append(f"column {name!r} (feature {feature.name}) is not there")
        elif not _suits(feature, schema.field(name).type):
            kind = schema.field(name).type
            faults.append(f"column {name!r} is {kind}, not what {feature.name} reads")
    if faults:
        raise InputError(
            f"{role} cannot score {where}: {'; '.join(faults)}. Name missing columns in "
            "data.keep_columns and preprocess again, or take another model."
        )


def _suits(feature: Feature, kind: pa.DataType) -> bool:
    if pa.types.is_null(kind):
        return True
    if feature.separator and is_list(kind) or is_listed(feature) and not is_list(kind):
        return False
    try:
        if feature.moments:
            require_time(kind, "")
            return True
        wanted = "vector" if feature.width else feature.kind
        raw_type(wanted, kind, "", bool(feature.max_values))
    except InputError:
        return False
    return True


def raw_inputs(
    table: pa.Table, features: Iterable[Feature], columns: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Raw columns as a client of the raw signature would send them.

    Args:
        table: Raw columns.
        features: The model's features.
        columns: Feature -> column.

    Returns:
        Feature name -> ``[rows]``, or ``[rows, values]`` of a list or a vector.

    Raises:
        InputError: A value cannot be read as the feature's.
    """
    return {
        f.name: _raw(in_one_piece(table[columns[f.name]]), f)
        for f in raw_features(features)
    }


def _raw(values: pa.Array, feature: Feature) -> np.ndarray:
    if feature.separator:
        return to_strings(values)[0].fill_null("").to_numpy(zero_copy_only=False)
    listed = is_listed(feature)
    if listed and pa.types.is_null(values.type):
        values = pa.nulls(len(values), pa.list_(pa.null()))
    raw = "float" if feature.kind == "numeric" else feature.raw
    if feature.width:
        matrix, bad = to_vectors(values, feature.width)
        _require_read(bad, values, feature, f"list of {feature.width} floats")
        return matrix
    if feature.moments:
        typed, bad = to_moments(values, *feature.moments)
        _require_read(bad, values, feature, "time")
    else:
        typed, bad = convert(values, raw, "")
        _require_read(bad, values, feature, raw)
    if feature.kind == "numeric":
        return typed.to_numpy(zero_copy_only=False).astype(np.float32)
    if listed:
        return _matrix(typed, feature)
    return typed.fill_null(MISSING[raw]).to_numpy(zero_copy_only=False)


def _require_read(bad: np.ndarray, values: pa.Array, feature: Feature, raw: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"feature {feature.name}: {bad.sum()} rows hold what is no {raw}, such as "
            f"{values[row].as_py()!r}; the model was trained on {raw}s."
        )


def _matrix(lists: pa.Array, feature: Feature) -> np.ndarray:
    """The values of lists that the model will read, filled up with missing ones."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    width = min(int(lengths.max(initial=0)), feature.max_values)
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if feature.kind == "sequence":  # the last ones
        place -= np.repeat(np.maximum(lengths - width, 0), lengths)
    kept = (place >= 0) & (place < width)
    rows = np.repeat(np.arange(len(lists)), lengths)
    kind = object if feature.raw == "string" else np.int64
    matrix = np.full((len(lists), width), MISSING[feature.raw], kind)
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    matrix[rows[kept], place[kept]] = flat[kept]
    return matrix
