"""Sequences on disk: what preprocessing publishes and the other stages open.

What ``pipeline.examples.example_set`` says of an example set, with one vocabulary,
``vocab/item.txt``; ``raw/`` holds the raw items of the first sequences of evaluation
files.  A set that can grow has ``histories/<shard>.parquet``, too: each user's last
training events, which what comes next is foretold from.

A TFRecord holds blocks of up to 4096 sequences, each a ``tf.train.Example`` of bytes
features, little-endian: ``items`` int32, all sequences one after the other; ``lengths``
int32, how many items are each sequence's; ``own`` int32, how many of them, the last ones,
are counted here, and learned; ``group`` int64, its user's number; and ``encoding``.
Ids: 1 to V are the known items, V + 1 is any other; 0, padding, is not stored.  V is that
of the file's encoding, which the manifest has as ``items``.
"""

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.pipeline.examples.example_set import (
    SEQUENCES,
    ExampleSet,
    counts_path,
    vocab_path,
)
from steadyrank.pipeline.examples.records import BLOCK_ROWS, encode_block
from steadyrank.pipeline.files.documents import require
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.scratch import unlinked
from steadyrank.pipeline.files.shapes import SequenceManifest, SequenceSchemaFields

ITEM = "item"


@dataclass(frozen=True)
class SequenceSchema:
    """What all stages must agree on.

    Attributes:
        items: V, the known items.
        raw: Type of an item in the log: ``"string"`` or ``"integer"``.
        length: Items of a sequence at most, the one to be foretold among them.
        fingerprint: SHA-256 over this and the vocabulary.
        ancestors: Fingerprints of the sets that this one grew from, the first one first.
    """

    FORMAT: ClassVar = f"{SEQUENCES} 2"
    items: int
    raw: str
    length: int
    fingerprint: str = ""
    ancestors: tuple[str, ...] = ()

    @property
    def line(self) -> tuple[str, ...]:
        """Fingerprints of all that it grew from, and its own."""
        return (*self.ancestors, self.fingerprint)

    @property
    def unknown(self) -> int:
        """The id of an item that is not in the vocabulary."""
        return self.items + 1

    @property
    def history(self) -> int:
        """Items that a model reads."""
        return self.length - 1

    @property
    def vocabularies(self) -> dict[str, int]:
        """The one there is, and its known items."""
        return {ITEM: self.items}

    def fits(self, other: "SequenceSchema") -> bool:
        """Whether a model of one has the layers of the other's, whatever was learned."""
        return (self.raw, self.length) == (other.raw, other.length)

    def to_dict(self) -> dict:
        found = {"format": self.FORMAT, **dataclasses.asdict(self)}
        return {**found, "ancestors": list(self.ancestors)}

    @classmethod
    def from_dict(cls, document: dict, source: Path) -> "SequenceSchema":
        """Read what ``to_dict`` gave.

        Raises:
            InputError: It is of another format or incomplete.
        """
        if document.get("format") != cls.FORMAT:
            raise InputError(
                f"{source}: format must be {cls.FORMAT!r}. Received: "
                f"{document.get('format')!r}. It is of a ranking model, or of another "
                "version: preprocess the log with this config."
            )
        require(document, SequenceSchemaFields, source)
        found = {f.name: document[f.name] for f in dataclasses.fields(cls)}
        return cls(**{**found, "ancestors": tuple(found["ancestors"])})


@dataclass(frozen=True)
class SequenceSet(ExampleSet):
    """A whole set of sequences; see the module."""

    SCHEMA: ClassVar = SequenceSchema
    WHAT: ClassVar = "a set of sequences"
    MANIFEST: ClassVar = SequenceManifest

    def blocks(self, path: Path) -> int:
        """How many records one of the files must give, each time that it is read."""
        return -(-self._files[path]["sequences"] // BLOCK_ROWS)

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """All sequences of a split, in a file that goes with the process.

        Returns:
            int32 ``[N, length]``, padded with 0 on the left, mapped and not to be written
            to; and int64 ``[N]`` groups.
        """
        rows, _, groups = self._read(split, None)
        return rows, groups

    def training(
        self, windows: Collection[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """All sequences to train on, of some windows or of all, in such a file.

        Returns:
            int32 ``[N, length]``, mapped, and int32 ``[N]``: how many of the last items of
            each are to be learned; those before are there for them.
        """
        return self._read("train", windows)[:2]

    def _read(self, split: str, windows: Collection[str] | None) -> tuple:
        from steadyrank.pipeline.examples.damage import naming_damage

        held, width = self.windows(split), self.schema.length
        paths = [p for w in held if windows is None or w in windows for p in held[w]]
        owns, groups = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        with unlinked() as file:  # mapped, it stays until nobody reads it
            with naming_damage(self):
                for items, lengths, own, group in read_blocks(self, paths):
                    file.write(pad_left(items, lengths, width).data)
                    owns.append(own)
                    groups.append(group)
            file.flush()
            own, group = np.concatenate(owns), np.concatenate(groups)
            if not len(own):
                return np.zeros((0, width), np.int32), own, group
            return np.memmap(file, np.int32, "r", shape=(len(own), width)), own, group

    def counts(self) -> np.ndarray:
        """How often each known item was seen in training, ``[V]``."""
        counts = pq.read_table(counts_path(self.path, ITEM))
        text = vocab_path(self.path / "vocab", ITEM).read_text(encoding="utf-8")
        known = pa.array(text.split("\n")[:-1], pa.string())
        # by value: the vocabulary leaves out what does not fit on a line
        rows = pc.index_in(known, value_set=counts["value"].cast(pa.string()))
        return counts["count"].take(rows).to_numpy()


def pad_left(items: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """Sequences one after the other as rows, 0 before the first: int32 ``[N, width]``."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths)
    place = np.arange(len(items)) - np.repeat(ends - width, lengths)
    matrix = np.zeros((len(lengths), width), np.int32)
    matrix[rows, place] = items
    return matrix


def encode_sequences(
    items: np.ndarray,
    lengths: np.ndarray,
    *,
    own: np.ndarray,
    group: np.ndarray,
    encoding: str,
) -> Iterator[bytes]:
    """Serialise sequences block by block.

    Args:
        items: Ids of all sequences, one after the other.
        lengths: How many are each one's.
        own: How many of these, the last ones, are to be learned.
        group: Number of each one's user.
        encoding: Fingerprint of the schema.

    Yields:
        Serialised ``tf.train.Example`` messages.
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    for start in range(0, len(lengths), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(lengths))
        block = {
            "items": items[ends[start] : ends[stop]].astype("<i4"),
            "lengths": lengths[start:stop].astype("<i4"),
            "own": own[start:stop].astype("<i4"),
            "group": group[start:stop].astype("<i8"),
        }
        yield encode_block(block, encoding)


def read_blocks(examples: SequenceSet, paths: list[Path]) -> Iterator[tuple]:
    """The blocks of some files, by the ids of the set: items, lengths, own and group."""
    import tensorflow as tf

    from steadyrank.pipeline.examples.dataset import records_of
    from steadyrank.pipeline.examples.records import parse_arrays

    integers = dict.fromkeys(("items", "lengths", "own"), tf.int32)
    known = {file["encoding"]: file["items"] for file in examples.manifest["files"]}
    for record, encoding in records_of(examples, paths) if paths else ():
        block = parse_arrays(record, encoding, {**integers, "group": tf.int64})
        items, *others = (values.numpy() for values in block.values())
        unknown = items == known[encoding.numpy().decode()] + 1
        yield np.where(unknown, examples.schema.unknown, items), *others
