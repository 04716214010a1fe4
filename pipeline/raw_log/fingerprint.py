"""128-bit fingerprints of rows, column by column: equal rows meet, whatever the runner.

Preprocessing sorts by them.  That finds exact duplicates, shuffles the rows of a
window once and for all, and makes the output independent of the order in which a
runner happens to deliver batches.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.raw_log.columns import in_one_piece, is_bytes, is_number, is_text

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
NULL = np.uint64(0x6A09E667F3BCC909)
SEEDS = (np.uint64(0x243F6A8885A308D3), np.uint64(0x13198A2E03707344))


def fingerprint(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Fingerprint every row.

    Args:
        table: Columns of any types; those of lists and structs by what they hold.

    Returns:
        Two uint64 arrays ``[rows]``, which together make up the fingerprint.
    """
    halves = []
    for seed in SEEDS:
        columns = (in_one_piece(table[name]) for name in sorted(table.column_names))
        halves.append(hash_together(hash_values(each, seed) for each in columns))
    return halves[0], halves[1]


def hash_values(values: pa.Array, seed: np.uint64 = SEEDS[0]) -> np.ndarray:
    """Hash every value of a column: uint64 ``[rows]``."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        hashed = _hash_segments(hash_values(values.flatten(), seed), values, seed)
    elif is_text(kind) or is_bytes(kind):
        hashed = _hash_segments(*_bytes_of(values), seed)
    elif pa.types.is_struct(kind):
        hashed = hash_together([hash_values(v, seed) for v in values.flatten()])
    elif pa.types.is_null(kind):
        hashed = np.zeros(len(values), np.uint64)
    elif is_number(kind) and not pa.types.is_decimal(kind) or _is_time(kind):
        hashed = mix(_bits(values) + seed)
    else:  # exact decimals, and what a log hardly ever holds
        texts = [None if v is None else repr(v) for v in values.to_pylist()]
        hashed = _hash_segments(*_bytes_of(pa.array(texts, pa.string())), seed)
    if values.null_count:
        hashed = np.where(values.is_null().to_numpy(zero_copy_only=False), NULL, hashed)
    return hashed


def hash_together(columns: Iterable[np.ndarray]) -> np.ndarray:
    """One hash of several columns' hashes, each uint64 ``[rows]``, in their order."""
    total = np.uint64(0)
    for index, hashed in enumerate(columns):
        total = mix(total + hashed * np.uint64(2 * index + 1))
    return total


def mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: a bijection that spreads every bit over all."""
    x = x + GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _is_time(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind) and not pa.types.is_interval(kind)


def _bits(values: pa.Array) -> np.ndarray:
    """Integers and times as they are, reals by their float64 bits (-0 as 0)."""
    if pa.types.is_floating(values.type):
        reals = pc.fill_null(values.cast(pa.float64(), safe=False), 0.0)
        return (reals.to_numpy(zero_copy_only=False) + 0.0).view(np.uint64)
    if pa.types.is_temporal(values.type):
        width = values.type.bit_width
        values = values.view(pa.int64() if width == 64 else pa.int32())
    whole = pc.fill_null(values.cast(pa.int64(), safe=False), 0)
    return whole.to_numpy(zero_copy_only=False).view(np.uint64)


def _bytes_of(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The bytes of strings as numbers, and the strings, whose lengths are in bytes."""
    data = pc.fill_null(values.cast(pa.large_binary()), b"")
    return data.buffers()[2], data


def _hash_segments(items, values: pa.Array, seed: np.uint64) -> np.ndarray:
    """Hash runs of items by their content, order and length.

    Each item is weighted by an odd number that belongs to its place in the run, so
    that a run's hash is one segmented sum.
    """
    lengths = _lengths(values)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    if isinstance(items, pa.Buffer | type(None)):
        first = int(values.buffers()[1] and _offsets(values)[0])
        raw = np.frombuffer(items or b"", np.uint8)[first : first + int(lengths.sum())]
        items = raw.astype(np.uint64) + np.uint64(1)
    place = np.arange(len(items)) - np.repeat(starts, lengths)
    longest = int(lengths.max()) if len(lengths) else 0
    weights = mix(np.arange(longest, dtype=np.uint64) + seed) | np.uint64(1)
    prefix = np.concatenate(
        [np.zeros(1, np.uint64), np.cumsum(items * weights[place], dtype=np.uint64)]
    )
    return mix(prefix[ends] - prefix[starts] + lengths.astype(np.uint64) * GOLDEN)


def _lengths(values: pa.Array) -> np.ndarray:
    measure = pc.list_value_length if pa.types.is_nested(values.type) else pc.binary_length
    return pc.fill_null(measure(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)


def _offsets(values: pa.Array) -> np.ndarray:
    return np.frombuffer(values.buffers()[1], np.int64)[values.offset :]
