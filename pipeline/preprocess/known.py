"""The known values of a feature in files: in the order of their ids, and to be searched.

Small where Beam carries it, whatever its size; a worker maps the files and holds what it
touches.  Arrow's ``index_in`` would build its hash table anew in every call.
"""

import functools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.preprocess.blocks import BLOCK_ROWS
from steadyrank.pipeline.raw_log.fingerprint import hash_values

STRING = "string"  # as a feature's ``raw``
SPARSE, WIDEST = 16, 1 << 22  # numbers in a table of ids: for each that is known, and all


@dataclass(frozen=True)
class Known:
    """Known values.

    Attributes:
        path: What the names of its files begin with.
        raw: ``"string"`` or ``"integer"``.
        size: How many there are.
    """

    path: str
    raw: str
    size: int

    def __len__(self) -> int:
        return self.size

    def arrays(self) -> Iterator[pa.Array]:
        """The values in the order of their ids, some at a time."""
        values = _opened(self).values
        for start in range(0, self.size, BLOCK_ROWS):
            yield values[start : start + BLOCK_ROWS]

    def first(self, count: int) -> list[str]:
        """The first values, as texts."""
        found = next(self.arrays(), pa.nulls(0, pa.string()))
        return found[:count].cast(pa.string()).to_pylist()

    def lines(self) -> Iterator[bytes]:
        """What stands in the vocabulary's file: one value a line."""
        for values in self.arrays():
            texts = values.cast(pa.large_string()).to_pylist()
            yield "".join(f"{text}\n" for text in texts).encode()

    @property
    def is_dense(self) -> bool:
        """Whether they are whole numbers so near to one another that a table tells each."""
        return bool(self.size) and _opened(self).table is not None

    def find(self, values: pa.Array) -> np.ndarray:
        """Places of values among the known ones: -1 where they are not, or null."""
        if not self.size or not len(values):
            return np.full(len(values), -1, np.int64)
        if self.is_dense and pa.types.is_integer(values.type):
            found = _opened(self).among(_keys(values.fill_null(0)))
            if values.null_count:
                found[values.is_null().to_numpy(zero_copy_only=False)] = -1
            return found
        encoded = values.dictionary_encode()
        found = np.append(_opened(self).find(encoded.dictionary), -1)
        return found[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]


class KnownWriter:
    """Writes known values in the order of their ids; a context manager.

    Args:
        folder: Where its files stand, under random names; it is made.
        raw: ``"string"`` or ``"integer"``.
    """

    def __init__(self, folder: str, raw: str):
        self._path, self._raw = f"{folder}/{secrets.token_hex(8)}", raw
        self._keys: list[np.ndarray] = []
        self._size = self._bytes = 0
        Path(folder).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "KnownWriter":
        self._values = open(f"{self._path}.values", "xb")  # noqa: SIM115
        self._ends = open(f"{self._path}.ends", "xb")  # noqa: SIM115
        self._ends.write(np.zeros(1, np.int64).tobytes())
        return self

    def __exit__(self, *_) -> None:
        self._values.close()
        self._ends.close()

    def add(self, values: pa.Array) -> None:
        """Add values; none is null, or was added before."""
        if not len(values):
            return
        self._keys.append(_keys(values))
        self._size += len(values)
        if self._raw != STRING:
            self._values.write(values.cast(pa.int64()).to_numpy().tobytes())
            return
        texts = values.cast(pa.large_string())
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, np.int64)[texts.offset :][: len(texts) + 1]
        self._values.write(memoryview(data)[ends[0] : ends[-1]] if data else b"")
        self._ends.write((ends[1:] - ends[0] + self._bytes).tobytes())
        self._bytes += int(ends[-1] - ends[0])

    def finish(self) -> Known:
        """The values, once all were added."""
        self.__exit__()
        keys = np.concatenate(self._keys) if self._keys else np.zeros(0, np.int64)
        order = np.argsort(keys, kind="stable")
        keys[order].tofile(f"{self._path}.keys")
        order.astype(np.int32).tofile(f"{self._path}.order")
        return Known(self._path, self._raw, self._size)


def _keys(values: pa.Array) -> np.ndarray:
    """What values are searched by: whole numbers by themselves, texts by their hash."""
    if pa.types.is_integer(values.type):
        return values.cast(pa.int64()).to_numpy()
    return hash_values(values)


@dataclass(frozen=True)
class _Mapped:
    """The files, mapped: values by their ids, and keys, sorted, with the ids of theirs.

    ``table`` has the ids of all whole numbers from one below the least to one above the
    largest key, -1 of those that are not known; None: that would be a large one.
    """

    values: pa.Array
    keys: np.ndarray
    order: np.ndarray
    clash: bool
    table: np.ndarray | None = None

    def among(self, keys: np.ndarray) -> np.ndarray:
        """Ids of whole numbers by the table, int32."""
        below = int(self.keys[0]) - 1
        return self.table[np.clip(keys, below, int(self.keys[-1]) + 1) - below]

    def find(self, values: pa.Array) -> np.ndarray:
        if self.clash:  # two known texts of one hash: hardly ever
            index = pc.index_in(values.cast(self.values.type), value_set=self.values)
            return pc.fill_null(index, -1).to_numpy().astype(np.int64)
        keys = _keys(values)
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found = np.where(self.keys[place] == keys, self.order[place], -1).astype(np.int64)
        if not pa.types.is_integer(values.type):
            hit = np.flatnonzero(found >= 0)
            own = values.take(pa.array(hit)).cast(self.values.type)
            same = pc.equal(own, self.values.take(pa.array(found[hit])))
            found[hit[~same.to_numpy(zero_copy_only=False)]] = -1
        return found


@functools.lru_cache(maxsize=256)
def _opened(known: Known) -> _Mapped:
    def mapped(ending: str, kind) -> np.ndarray:
        path = f"{known.path}.{ending}"
        if not Path(path).stat().st_size:
            return np.zeros(0, kind)
        return np.memmap(path, kind, mode="r")

    if known.raw == STRING:
        buffers = [None, pa.py_buffer(mapped("ends", np.int64))]
        buffers.append(pa.py_buffer(mapped("values", np.uint8)))
        values = pa.Array.from_buffers(pa.large_string(), known.size, buffers)
        keys = mapped("keys", np.uint64)
        clash = bool((keys[1:] == keys[:-1]).any())
    else:
        data = pa.py_buffer(mapped("values", np.int64))
        values = pa.Array.from_buffers(pa.int64(), known.size, [None, data])
        keys, clash = mapped("keys", np.int64), False
    order = mapped("order", np.int32)
    table = None if known.raw == STRING else _table(keys, order)
    return _Mapped(values, keys, order, clash, table)


def _table(keys: np.ndarray, order: np.ndarray) -> np.ndarray | None:
    if not len(keys):
        return None
    first, last = int(keys[0]), int(keys[-1])
    if last - first > min(SPARSE * len(keys), WIDEST) or max(-first, last) > 2**62:
        return None
    table = np.full(last - first + 3, -1, np.int32)
    table[keys - (first - 1)] = order
    return table


def close() -> None:
    """Let go of all files that are mapped in this process."""
    _opened.cache_clear()
