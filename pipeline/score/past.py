"""What came before the rows that are scored: the state that an example set ends with.

``histories/latest`` of an example set is what a request right after its newest event
would be given, a file for each ``by``.  Rows of an earlier moment would see their own
future: they are rejected.  Of a key that is not there nothing is known: empty lists,
counts of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from steadyrank.pipeline.config import Config
from steadyrank.pipeline.config.events import is_from_events, made_as
from steadyrank.pipeline.config.log import Data
from steadyrank.pipeline.files.errors import InputError
from steadyrank.pipeline.files.publish import read_json
from steadyrank.pipeline.files.shapes import RankingManifest
from steadyrank.pipeline.preprocess.histories import FOLDER
from steadyrank.pipeline.preprocess.past import LATEST
from steadyrank.pipeline.preprocess.rows import NO_TIME, read_times
from steadyrank.pipeline.raw_log.columns import in_one_piece
from steadyrank.pipeline.raw_log.join import find_rows

EARLIER = "not after the newest event of the histories"


@dataclass(frozen=True)
class LatestOf:
    """What one file holds.

    Attributes:
        path: The file.
        by: The columns of its key.
        names: Features.
        counts: Of these, counts.
    """

    path: str
    by: tuple[str, ...]
    names: tuple[str, ...]
    counts: tuple[str, ...]


@dataclass(frozen=True)
class LatestPast:
    """What an example set says of each key's past.

    Attributes:
        files: A file for each ``by``.
        newest: The moment of the newest event in it, ms; None: it has none.
        data: How the log writes times.
        time: The column of the rows that says when they were; None: they do not say it.
    """

    files: tuple[LatestOf, ...]
    newest: int | None
    data: Data
    time: str | None = None

    @property
    def by(self) -> list[str]:
        """All columns of keys, each once."""
        return [*dict.fromkeys(name for file in self.files for name in file.by)]

    @property
    def names(self) -> list[str]:
        """All features."""
        return [name for file in self.files for name in file.names]

    def of_rows(self, columns: Sequence[str]) -> "LatestPast":
        """The same, of rows with such columns.

        Raises:
            InputError: They hold what the histories give.
        """
        if both := sorted({*self.names} & {*columns}):
            raise InputError(
                f"the rows to be scored have a column {both[0]!r}, which --histories "
                "gives. Leave out --histories, or the column."
            )
        return replace(self, time=self.data.time if self.data.time in columns else None)


def find_past(folder: Path, config: Config) -> LatestPast:
    """What a model's features ``from: events`` are, at the end of an example set.

    Args:
        folder: The example set, or its ``histories/latest``.
        config: The model's.

    Raises:
        InputError: There are no such features, the folder is no example set that keeps
            them, or they were made otherwise than for the model.
    """
    folder = Path(folder)
    if folder.name == LATEST and folder.parent.name == FOLDER:
        folder = folder.parent.parent
    made = list(filter(is_from_events, config.features))
    if not made:
        raise InputError(
            f"--histories {folder}: the model has no features from: events. Leave it out."
        )
    manifest = read_json(folder / "manifest.json", "an example set", RankingManifest)
    kept = manifest.get("histories")
    if not kept:
        raise InputError(f"{folder} keeps no histories: name the model's own example set.")
    _require_made_alike(config, manifest, folder)
    by_key: dict[tuple[str, ...], list] = {}
    for item in made:
        by_key.setdefault(tuple(item.by or [config.data.group]), []).append(item)
    places = {tuple(f["by"]): f["path"] for f in kept["files"] if f["what"] == LATEST}
    if missing := [by for by in by_key if by not in places]:
        raise InputError(
            f"{folder} keeps no histories by {', '.join(missing[0])}: name the model's own "
            "example set."
        )
    files = [
        LatestOf(
            str(folder / places[by]),
            by,
            tuple(item.name for item in items),
            tuple(i.name for i in items if getattr(i, "measure", None) == "count"),
        )
        for by, items in by_key.items()
    ]
    return LatestPast(tuple(files), kept.get("newest"), config.data)


def _require_made_alike(config: Config, manifest: dict, folder: Path) -> None:
    features = manifest.get("config", {}).get("features", [])
    theirs = {feature["name"]: made_as(feature) for feature in features}
    for feature in config.model_dump(mode="json")["features"]:
        if (own := made_as(feature)) and theirs.get(feature["name"]) != own:
            raise InputError(
                f"features.{feature['name']} is made otherwise in {folder} than for the "
                "model: name the model's own example set."
            )


def read_past(past: LatestPast | None) -> list[pa.Table]:
    """The tables of what came before, a file each."""
    return [] if past is None else [_read(file) for file in past.files]


def _read(file: LatestOf) -> pa.Table:
    try:
        held = pq.ParquetFile(file.path, page_checksum_verification=True)
        return held.read([*file.by, *file.names])
    except FileNotFoundError:
        raise InputError(f"{file.path} is missing. Preprocess the log again.") from None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.path} is corrupt: {error}. Preprocess again.") from None


def with_past(
    table: pa.Table, past: LatestPast | None, held: Sequence[pa.Table]
) -> pa.Table:
    """Rows with the features of what came before them, null or 0 where nothing did.

    As in training, a row without a key has no count at all.

    Args:
        table: The rows, with the columns of all keys.
        past: Where it is from.
        held: From ``read_past``.
    """
    for file, known in zip(past.files if past else (), held, strict=True):
        index = find_rows([table[n] for n in file.by], [known[n] for n in file.by])
        has_key = np.ones(len(table), bool)
        for name in file.by:
            has_key &= in_one_piece(table[name]).is_valid().to_numpy(zero_copy_only=False)
        for name in file.names:
            values = in_one_piece(known[name]).take(index)
            if name in file.counts:
                none = pc.and_(pc.is_null(values), pa.array(has_key))
                values = pc.if_else(none, 0.0, values)
            table = table.append_column(name, values)
    return table


def not_in_time(table: pa.Table, past: LatestPast | None) -> tuple[np.ndarray, str]:
    """Why rows are not after what is known of the past, ``[n]``; ``""`` where they are.

    Returns:
        The reasons, and the column that they are about.
    """
    reasons = np.full(len(table), "", object)
    if past is None or past.time is None or past.newest is None:
        return reasons, ""
    ms, bad = read_times(table[past.time], past.data)
    reasons[ms <= past.newest] = EARLIER
    reasons[bad] = NO_TIME
    return reasons, past.time
