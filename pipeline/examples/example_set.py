"""An example set on disk: what preprocessing publishes and the other stages open.

``manifest.json`` (files, rows, counts; written last), ``schema.json`` (features and
tasks with what was learned), ``statistics.json``, ``vocab/<feature>.txt`` (one value a
line, in the order of the ids), ``counts/<feature>.parquet`` (how often each value was
seen in training rows, for the set to grow from),
``train|validation|test/<window>-<shard>.tfrecord``,
``raw/<split>/…parquet`` (the raw columns of evaluation files, see ``kept_rows``),
``histories/`` (what came before later rows, see ``preprocess.histories``) and
``rejected/``.

Of each file the manifest says its rows, bytes, checksum (SHA-256) and ``encoding``: the
fingerprint of the schema by which its ids were given.  That is the set's own, or one of
its ancestors', whose ids mean the same: their vocabularies are its first lines.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from steadyrank.models.features import Feature, Task
from steadyrank.pipeline.examples.records import BLOCK_ROWS, Layout
from steadyrank.pipeline.files.checksum import READ_AT_ONCE
from steadyrank.pipeline.files.documents import require
from steadyrank.pipeline.files.errors import InputError, fault
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import RankingManifest, RankingSchema, Statistics
from steadyrank.pipeline.files.staging import SOURCE
from steadyrank.pipeline.raw_log.split import span_of

FORMAT = 2
READ = (1, FORMAT)  # of schemas: models of an earlier format are still read
SEQUENCES = "sequences"  # begins the format of a next-item model's


@dataclass(frozen=True)
class Schema:
    """What all stages must agree on.

    Attributes:
        features, tasks: With what was learned from the training split.
        score: The formula of the ranking score.
        truths: Tasks whose true probability the examples hold.
        group: Whether rows have a group.
        fingerprint: SHA-256 over all of this, the vocabularies and the format.
        ancestors: Fingerprints of the sets that this one grew from, the first one first:
            their ids mean the same here.
        earlier: Of sets before those, the first one first: some of their ids are now of
            other values, which were dead; of values that are alive all mean the same.
    """

    FORMAT: ClassVar = FORMAT
    features: tuple[Feature, ...]
    tasks: tuple[Task, ...]
    score: str
    truths: tuple[str, ...]
    group: bool
    fingerprint: str = ""
    ancestors: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()

    @property
    def line(self) -> tuple[str, ...]:
        """Fingerprints of all that it grew from, and its own."""
        return (*self.earlier, *self.ancestors, self.fingerprint)

    @property
    def layout(self) -> Layout:
        return Layout.of(self.features, self.tasks, self.truths, self.group)

    @property
    def vocabularies(self) -> dict[str, int]:
        """Feature -> its known values, of those that have a vocabulary."""
        categorical = (f for f in self.features if f.has_vocabulary)
        return {feature.name: feature.vocabulary_size for feature in categorical}

    def fits(self, other: "Schema") -> bool:
        """Whether a model of one has the layers of the other's, whatever was learned."""
        both = ([dataclasses.replace(f, vocabulary_size=0) for f in each.features]
                for each in (self, other))  # fmt: skip
        return next(both) == next(both)

    def to_dict(self) -> dict:
        """Without ancestors where there are none: so do older examples read."""
        later = {"ancestors": list(self.ancestors), "earlier": list(self.earlier)}
        return {
            **{key: names for key, names in later.items() if names},
            "format": FORMAT,
            "features": [feature.to_dict() for feature in self.features],
            "tasks": [task.to_dict() for task in self.tasks],
            "score": self.score,
            "truths": list(self.truths),
            "group": self.group,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, document: dict, source: Path) -> "Schema":
        """Read what ``to_dict`` gave.

        Raises:
            InputError: It is of another format, of a next-item model, or incomplete.
        """
        if str(document.get("format")).startswith(SEQUENCES):
            raise InputError(
                f"{source} is of a next-item model. Ranking models alone are taken here; "
                "with model.kind: next_item in --config, train, export, evaluate and run "
                "take the other kind, too, and release and inspect need no config."
            )
        if document.get("format") not in READ:
            raise InputError(
                f"{source}: format must be {FORMAT}. Received: "
                f"{document.get('format')!r}. Preprocess the log again."
            )
        require(document, RankingSchema, source)
        try:
            return cls(
                tuple(Feature.from_dict(f) for f in document["features"]),
                tuple(Task.from_dict(t) for t in document["tasks"]),
                document["score"],
                tuple(document["truths"]),
                document["group"],
                document["fingerprint"],
                tuple(document.get("ancestors", ())),
                tuple(document.get("earlier", ())),
            )
        except TypeError as error:
            raise InputError(
                f"{source} is corrupt: {error}. Preprocess the log again."
            ) from None


Vocabularies = Callable[[str], Iterable[bytes]]  # feature -> what is in its file


def seal(schema, vocabularies: Vocabularies, base=None, *, moved: bool = False):
    """A schema with its fingerprint and, if it differs from its base, that as ancestor.

    Args:
        schema: Without either; of a kind's examples, as ``Schema`` is of ranking models.
        vocabularies: Its own.
        base: What it grew from.
        moved: Whether rows of the dead are used again: nothing that reads ids of before
            may read these.
    """
    if moved:
        sealed = dataclasses.replace(schema, earlier=base.line, fingerprint="")
        found = compute_fingerprint(sealed, vocabularies)
        return dataclasses.replace(sealed, fingerprint=found)
    before = base.ancestors if base else ()
    if base and getattr(base, "earlier", ()):
        schema = dataclasses.replace(schema, earlier=base.earlier)
    sealed = dataclasses.replace(schema, ancestors=before, fingerprint="")
    found = compute_fingerprint(sealed, vocabularies)
    if base and found != base.fingerprint:
        line = (*before, base.fingerprint)
        sealed = dataclasses.replace(sealed, ancestors=line)
        found = compute_fingerprint(sealed, vocabularies)
    return dataclasses.replace(sealed, fingerprint=found)


def vocabularies_in(vocab: Path) -> Vocabularies:
    """Those that stand in a folder."""

    def chunks(feature: str) -> Iterator[bytes]:
        with vocab_path(vocab, feature).open("rb") as file:
            while chunk := file.read(READ_AT_ONCE):
                yield chunk

    return chunks


def compute_fingerprint(schema, vocabularies: Vocabularies) -> str:
    """SHA-256 of the schema and of its vocabularies, in hex."""
    document = {**schema.to_dict(), "fingerprint": ""}
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name in schema.vocabularies:
        for chunk in vocabularies(name):
            digest.update(chunk)
    return digest.hexdigest()


def counts_path(path: Path, feature: str) -> Path:
    """The file of the counts of a feature's values."""
    return path / "counts" / f"{feature.replace('/', '_')}.parquet"


def vocab_path(vocab: Path, feature: str) -> Path:
    """The file of a feature's vocabulary."""
    return vocab / f"{feature.replace('/', '_')}.txt"


@dataclass(frozen=True)
class ExampleSet:
    """A whole example set; of ranking models, where a kind does not say otherwise.

    Attributes:
        path: Its folder.
        schema: Its schema.
        manifest: What preprocessing counted.
        source: Where the examples are, if they were left on object storage; ``""``: here.
    """

    SCHEMA: ClassVar = Schema
    WHAT: ClassVar = "an example set"
    MANIFEST: ClassVar = RankingManifest
    path: Path
    schema: Any
    manifest: dict
    source: str = ""

    @classmethod
    def open(cls, path: Path) -> "ExampleSet":
        """Open an example set and check that all its files are there, whole.

        Raises:
            InputError: It is not one, or a file is missing or cut off; it is named.
        """
        path = Path(path)
        read_json(path / "manifest.json", cls.WHAT)  # which is written last
        schema = cls.read_schema(path)  # and says of which kind the set is
        manifest = read_json(path / "manifest.json", cls.WHAT, cls.MANIFEST)
        if schema.fingerprint != manifest["fingerprint"]:
            raise InputError(
                f"{path}: schema.json does not belong to manifest.json: its fingerprint "
                f"must be {manifest['fingerprint'][:12]}. Received: "
                f"{schema.fingerprint[:12]}. Preprocess the log again."
            )
        for name in schema.vocabularies:
            _check_there(vocab_path(path / "vocab", name))
        held = vocabularies_in(path / "vocab")
        if compute_fingerprint(schema, held) != schema.fingerprint:
            raise InputError(
                f"{path}: schema.json or a file of vocab/ was changed after it was "
                "written; ids would mean other values. Preprocess the log again."
            )
        source = (path / SOURCE).read_text() if (path / SOURCE).exists() else ""
        for file in manifest["files"]:
            _check_encoding(path, file, schema)
            if not source:  # else sizes were checked when the rest was fetched
                check_size(path / file["path"], file["bytes"])
        kept = manifest.get("histories") or ()  # a next-item set has a list of files
        for file in kept["files"] if isinstance(kept, dict) else kept:
            if not source:
                check_size(path / file["path"], file["bytes"])
        _check_rows(path, manifest)
        return cls(path, schema, manifest, source)

    @classmethod
    def read_schema(cls, path: Path) -> Any:
        """The schema of an example set alone."""
        document = read_json(path / "schema.json", cls.WHAT)
        schema = cls.SCHEMA.from_dict(document, path / "schema.json")
        if document["format"] != cls.SCHEMA.FORMAT:
            raise InputError(
                f"{path} holds examples of format {document['format']}, as versions before "
                f"wrote them; this one reads format {cls.SCHEMA.FORMAT}. Preprocess the "
                "log again."
            )
        return schema

    def has_ids_of(self, schema) -> bool:
        """Whether ids mean here what they mean to a model: it was trained on these
        examples, or on some that they grew from."""
        return schema.fingerprint in (self.schema.fingerprint, *self.schema.ancestors)

    def only(self, windows: Collection[str]) -> "ExampleSet":
        """The same set with some of its training windows alone.

        Raises:
            InputError: It holds no such windows.
        """
        held = self.windows("train")
        unknown = [window for window in windows if window not in held]
        if unknown or not windows:
            raise InputError(
                f"{self.path} holds the training windows {', '.join(held)}. "
                f"Received: {', '.join(unknown) or 'none'}."
            )
        files = [
            file
            for file in self.manifest["files"]
            if file["split"] != "train" or file["window"] in windows
        ]
        rows = sum(file["rows"] for file in files if file["split"] == "train")
        splits = {**self.manifest["splits"], "train": {"rows": rows}}
        manifest = {**self.manifest, "files": files, "splits": splits}
        return dataclasses.replace(self, manifest=manifest)

    def windows(self, split: str) -> dict[str, list[Path]]:
        """Window -> its files, windows and files in order."""
        found: dict[str, list[Path]] = {}
        for file in sorted(self.manifest["files"], key=lambda f: f["path"]):
            if file["split"] == split:
                found.setdefault(file["window"], []).append(self.path / file["path"])
        return found

    def paths(self) -> list[Path]:
        """All its files of examples, in order."""
        return sorted(self._files)

    def readable(self, path: Path) -> str:
        """The name by which one of the files is read."""
        if not self.source:
            return str(path)
        return f"{self.source}/{path.relative_to(self.path).as_posix()}"

    def encoding(self, path: Path) -> str:
        """The fingerprint that the records of one of the files carry."""
        return self._files[path]["encoding"]

    def blocks(self, path: Path) -> int:
        """How many records one of the files must give, each time that it is read."""
        return -(-self._files[path]["rows"] // BLOCK_ROWS)

    @functools.cached_property
    def _files(self) -> dict[Path, dict]:
        return {self.path / file["path"]: file for file in self.manifest["files"]}

    def span(self, split: str) -> str:
        """A split and its days in words: ``test (2024-01-14)``."""
        return span_of(split, self.windows(split))

    def label_means(self) -> dict[str, float]:
        """Task -> mean of its transformed label over its sample space in training."""
        path = self.path / "statistics.json"
        labels = read_json(path, "an example set", Statistics)["labels"]
        return {name: float(found["mean"]) for name, found in labels.items()}

    def label_lows(self) -> dict[str, float | None]:
        """Task -> the least label over its sample space in training; None: of no rows."""
        path = self.path / "statistics.json"
        labels = read_json(path, "an example set", Statistics)["labels"]
        return {name: found.get("min") for name, found in labels.items()}

    def rows(self, split: str, window: str | None = None) -> int:
        """Of a split, or of one window of it."""
        if window is None:
            return self.manifest["splits"][split]["rows"]
        return sum(self._files[path]["rows"] for path in self.windows(split)[window])


def _check_there(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        said = f"{path} is missing; the example set is not whole."
        raise fault(said, error) from None


def _check_encoding(path: Path, file: dict, schema: Schema) -> None:
    """Ids of a file must be those of the schema, or of one that it grew from."""
    if file.get("encoding") not in schema.line:
        raise InputError(
            f"{path / file['path']} was encoded by a schema with fingerprint "
            f"{str(file.get('encoding'))[:12]}; {path / 'schema.json'} has "
            f"{schema.fingerprint[:12]} and did not grow from it. Ids would mean other "
            "values: preprocess the log again."
        )


def _check_rows(path: Path, manifest: dict) -> None:
    """Nothing lost: rows read, or drawn, are written, duplicates, rejected or left out."""
    rows = manifest["rows"]
    written = sum(file["rows"] for file in manifest["files"])
    lost = [*rows["rejected"].values(), *rows.get("dropped", {}).values()]
    kept = written + rows["duplicates"] + sum(lost)
    if written != rows["written"] or kept != rows["read"] + rows.get("drawn", 0):
        raise InputError(
            f"{path / 'manifest.json'}: the counts do not add up: {rows}, and {written} "
            "rows in the files. Preprocess the log again."
        )


def check_size(path: Path, size: int) -> None:
    """Raise InputError where a file does not hold as many bytes as were written."""
    found = _check_there(path)
    if found != size:
        raise InputError(
            f"{path} is cut off or was changed: it must hold {size} bytes. Received: "
            f"{found}. Preprocess the log again."
        )
