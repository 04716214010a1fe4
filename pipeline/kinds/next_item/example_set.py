"""Sequences on disk: what preprocessing publishes and the other stages open.

``manifest.json`` (files and counts; written last), ``schema.json``, ``statistics.json``,
``vocab/item.txt`` (one item a line, the most frequent first), ``counts/item.parquet``,
``train|validation|test/all-<shard>.tfrecord``, ``raw/<split>/…parquet`` (raw items of the
first sequences of evaluation files) and ``rejected/``.

A TFRecord holds blocks of up to 4096 sequences, each a ``tf.train.Example`` of bytes
features, little-endian: ``items`` int32, all sequences one after the other; ``lengths``
int32, how many items are each sequence's; ``group`` int64, its user's number.  Ids: 1 to V
are the known items by falling count, V + 1 is any other; 0, padding, is not stored.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from steadyrank.pipeline.examples.example_set import SEQUENCES, check_size, vocab_path
from steadyrank.pipeline.examples.records import BLOCK_ROWS, encode_block
from steadyrank.pipeline.files.errors import InputError, PassingError
from steadyrank.pipeline.files.object_store import stream_with_tensorflow
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.staging import SOURCE

FORMAT = f"{SEQUENCES} 1"
ITEM = "item"
SEQUENCE_SET = "a set of sequences"


@dataclass(frozen=True)
class SequenceSchema:
    """What all stages must agree on.

    Attributes:
        items: V, the known items.
        raw: Type of an item in the log: ``"string"`` or ``"integer"``.
        length: Items of a sequence at most, the one to be foretold among them.
        fingerprint: SHA-256 over this and the vocabulary.
    """

    items: int
    raw: str
    length: int
    fingerprint: str = ""

    @property
    def unknown(self) -> int:
        """The id of an item that is not in the vocabulary."""
        return self.items + 1

    @property
    def history(self) -> int:
        """Items that a model reads."""
        return self.length - 1

    def to_dict(self) -> dict:
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, document: dict, source: Path) -> "SequenceSchema":
        """Read what ``to_dict`` gave.

        Raises:
            InputError: It is of another format or incomplete.
        """
        if document.get("format") != FORMAT:
            raise InputError(
                f"{source}: format must be {FORMAT!r}. Received: "
                f"{document.get('format')!r}. It is of a ranking model, or of another "
                "version: preprocess the log with this config."
            )
        try:
            return cls(**{f.name: document[f.name] for f in dataclasses.fields(cls)})
        except KeyError as error:
            raise InputError(f"{source} is corrupt: {error}") from None

    def sealed(self, vocab: Path) -> "SequenceSchema":
        """The same with its fingerprint."""
        plain = dataclasses.replace(self, fingerprint="")
        digest = hashlib.sha256(json.dumps(plain.to_dict(), sort_keys=True).encode())
        digest.update(vocab_path(vocab, ITEM).read_bytes())
        return dataclasses.replace(self, fingerprint=digest.hexdigest())


@dataclass(frozen=True)
class SequenceSet:
    """A whole set of sequences; see the module."""

    path: Path
    schema: SequenceSchema
    manifest: dict
    source: str = ""

    @classmethod
    def open(cls, path: Path) -> "SequenceSet":
        """Open a set and check that all its files are there, whole.

        Raises:
            InputError: It is not one, or a file is missing or cut off; it is named.
        """
        path = Path(path)
        manifest = read_json(path / "manifest.json", SEQUENCE_SET)
        document = read_json(path / "schema.json", SEQUENCE_SET)
        schema = SequenceSchema.from_dict(document, path / "schema.json")
        if not vocab_path(path / "vocab", ITEM).exists():
            raise InputError(f"{vocab_path(path / 'vocab', ITEM)} is missing.")
        found = schema.sealed(path / "vocab").fingerprint
        if not found == schema.fingerprint == manifest["fingerprint"]:
            raise InputError(
                f"{path}: schema.json or vocab/ was changed after it was written; ids "
                "would mean other items. Preprocess the log again."
            )
        source = (path / SOURCE).read_text() if (path / SOURCE).exists() else ""
        if source:
            stream_with_tensorflow()
        for file in () if source else manifest["files"]:
            check_size(path / file["path"], file["bytes"])
        _check_rows(path, manifest)
        return cls(path, schema, manifest, source)

    def files(self, split: str) -> list[str]:
        """The files of a split, in order, by the names that TensorFlow reads them by."""
        names = [f["path"] for f in self.manifest["files"] if f["split"] == split]
        return [f"{self.source or self.path}/{name}" for name in sorted(names)]

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """All sequences of a split, in memory: 4 bytes an item.

        Returns:
            int32 ``[N, length]``, padded with 0 on the left, and int64 ``[N]`` groups.
        """
        length, blocks, groups = self.schema.length, [], []
        for items, lengths, group in read_blocks(self.files(split)):
            blocks.append(pad_left(items, lengths, length))
            groups.append(group)
        self._require_all(split, sum(map(len, groups)))
        if not blocks:
            return np.zeros((0, length), np.int32), np.zeros(0, np.int64)
        return np.concatenate(blocks), np.concatenate(groups)

    def _require_all(self, split: str, found: int) -> None:
        """Raise where fewer sequences came than were written: a file is cut in use, or a
        store answers with less than there is."""
        files = [file for file in self.manifest["files"] if file["split"] == split]
        wanted = sum(file["sequences"] for file in files)
        if found != wanted:
            said = f"{self.source or self.path}: {split} must hold {wanted} sequences. "
            said += f"Received: {found}. "
            if self.source:
                raise PassingError(said + "Try again.")
            raise InputError(said + "Preprocess the log again.")

    def counts(self) -> np.ndarray:
        """How often each known item was seen in training, ``[V]``."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        from steadyrank.pipeline.examples.example_set import counts_path

        counts = pq.read_table(counts_path(self.path, ITEM))
        text = vocab_path(self.path / "vocab", ITEM).read_text(encoding="utf-8")
        known = pa.array(text.split("\n")[:-1], pa.string())
        # by value: the vocabulary leaves out what does not fit on a line
        rows = pc.index_in(known, value_set=counts["value"].cast(pa.string()))
        return counts["count"].take(rows).to_numpy()


def _check_rows(path: Path, manifest: dict) -> None:
    """Nothing lost: events read are in sequences, duplicates, rejected or left out."""
    rows = manifest["rows"]
    written = sum(file["rows"] for file in manifest["files"])
    rest = sum(rows["rejected"].values()) + sum(rows["dropped"].values())
    kept = written + rows["duplicates"] + rest
    if written != rows["written"] or kept != rows["read"]:
        raise InputError(
            f"{path / 'manifest.json'}: the counts do not add up: {rows}, and {written} "
            "events in the files. Preprocess the log again."
        )


def pad_left(items: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """Sequences one after the other as rows, 0 before the first: int32 ``[N, width]``."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    ends = np.cumsum(lengths)
    place = np.arange(len(items)) - np.repeat(ends - width, lengths)
    matrix = np.zeros((len(lengths), width), np.int32)
    matrix[rows, place] = items
    return matrix


def encode_sequences(items: np.ndarray, lengths: np.ndarray, group: np.ndarray):
    """Serialise sequences block by block.

    Args:
        items: Ids of all sequences, one after the other.
        lengths: How many are each one's.
        group: Number of each one's user.

    Yields:
        Serialised ``tf.train.Example`` messages.
    """
    ends = np.concatenate([[0], np.cumsum(lengths)])
    for start in range(0, len(lengths), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(lengths))
        yield encode_block(
            {
                "items": items[ends[start] : ends[stop]].astype("<i4"),
                "lengths": lengths[start:stop].astype("<i4"),
                "group": group[start:stop].astype("<i8"),
            }
        )


def read_blocks(files: list[str]) -> Iterator[tuple[np.ndarray, ...]]:
    """The blocks of some files: items, lengths and group of each."""
    import tensorflow as tf

    kinds = {"items": tf.int32, "lengths": tf.int32, "group": tf.int64}
    scalar = tf.io.FixedLenFeature([], tf.string)
    for record in tf.data.TFRecordDataset(files) if files else ():
        parsed = tf.io.parse_single_example(record, dict.fromkeys(kinds, scalar))
        yield tuple(tf.io.decode_raw(parsed[k], kind).numpy() for k, kind in kinds.items())
