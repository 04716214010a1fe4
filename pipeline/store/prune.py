"""What of a store may go: old nights but for their records, and old releases.

A night is whole as long as it is among the last ones, or its release among those that can
be served again: the next night starts from it.  Of all others ``night.json`` stays, and
with it the memory of the days that were left out.
"""

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from steadyrank.pipeline.evaluate.release import (
    BLESSED,
    LOCK,
    WITHDRAWN,
    forget_releases,
)
from steadyrank.pipeline.export.card import versions_of
from steadyrank.pipeline.files.lock import locked
from steadyrank.pipeline.gates.verdicts import PASS
from steadyrank.pipeline.store.begun import BEGUN
from steadyrank.pipeline.store.records import (
    NIGHTS,
    RECORD,
    SERVED,
    nights_of,
    served_now,
)

STAYS = (RECORD, BEGUN)  # of a night that goes


@dataclass(frozen=True)
class Pruned:
    """What goes, or went.

    Attributes:
        nights: Days of which the record alone stays.
        releases: Versions.
        bytes: That are freed.
    """

    nights: tuple[str, ...]
    releases: tuple[int, ...]
    bytes: int


def prune(
    store: Path, *, nights: int | None, releases: int | None, dry_run: bool = False
) -> Pruned:
    """Remove old nights and releases; the caller holds the store's lock.

    Args:
        store: The store.
        nights: The last ones that stay whole, 1 at least; None: all.
        releases: The last ones that stay, 1 at least; None: all.
        dry_run: Whether nothing is removed, only told.
    """
    served = store / SERVED
    if not (served / BLESSED).exists():
        return _gone(store, _old_nights(store, nights, set()), [], dry_run)
    with locked(served / LOCK):
        entries = served_now(served)["releases"]
        kept = entries if releases is None else entries[-releases:]
        whole = {entry["content"] for entry in kept}
        oldest = kept[0]["version"]
        # the highest number stays in use: none is given twice
        old = [v for folder in (served, served / WITHDRAWN) for v in versions_of(folder)]
        old = sorted(v for v in old if releases is not None and v < oldest)
        if not dry_run and len(kept) < len(entries):
            forget_releases(served, kept)  # first: no rollback may go where nothing is
        return _gone(store, _old_nights(store, nights, whole), old, dry_run)


def _old_nights(store: Path, last: int | None, whole: set[str]) -> list[str]:
    """The nights that are neither among the last, nor what a release was made of."""
    found = nights_of(store)
    old = [] if last is None else list(found)[:-last]

    def goes(day: str) -> bool:
        night, folder = found[day], store / NIGHTS / day
        pinned = night["verdict"] == PASS and night["content"] in whole
        return not pinned and any(p.name not in STAYS for p in folder.iterdir())

    return [day for day in old if goes(day)]


def _gone(store: Path, days: list[str], versions: list[int], dry_run: bool) -> Pruned:
    served = store / SERVED
    places = [p for v in versions for p in (served / f"{v}", served / WITHDRAWN / f"{v}")]
    folders = [store / NIGHTS / day for day in days]
    places += [p for f in folders for p in f.iterdir() if p.name not in STAYS]
    places = [place for place in places if place.exists()]
    freed = _bytes_of(places)
    for place in () if dry_run else places:
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    return Pruned(tuple(days), tuple(versions), freed)


def _bytes_of(places: list[Path]) -> int:
    """Bytes that go with some places: of files that have no other name elsewhere."""
    names: Counter = Counter()
    found: dict[int, os.stat_result] = {}
    for place in places:
        for file in place.rglob("*") if place.is_dir() else [place]:
            if file.is_file():
                stat = file.lstat()
                names[stat.st_ino] += 1
                found[stat.st_ino] = stat
    return sum(s.st_size for inode, s in found.items() if names[inode] >= s.st_nlink)
