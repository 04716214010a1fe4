"""The nights of a store, a row each: what all that shows them is made from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steadyrank.pipeline.evaluate.release import BLESSED
from steadyrank.pipeline.export.card import versions_of
from steadyrank.pipeline.store.records import (
    NIGHTS,
    SERVED,
    figures_of,
    nights_of,
    released,
    served_now,
)


@dataclass(frozen=True)
class Row:
    """A night.

    Attributes:
        day: That it judged on.
        verdict: ``PASS``, ``HOLD``, ``REFUSE`` or ``DIVERGED``.
        why: The reasons of one that did not pass.
        rows: Of the day that were judged on; None: a version before did not say.
        base: The night that it started from.
        version: That its model was released as.
        state: ``served``, ``withdrawn``, ``""``.
        figures: Task -> its ``metric``, the ``value`` and the ``interval``, and the base's.
        seconds: That its stages took.
        bytes: Of its files; what it shares with nights before it is theirs.
        left_out: The day that is left out of training since.
        judged_at: When.
        pruned: Whether all but its record is gone.
    """

    day: str
    verdict: str
    why: tuple[str, ...]
    rows: int | None
    base: str | None
    version: int | None
    state: str
    figures: dict[str, dict[str, Any]]
    seconds: float
    bytes: int
    left_out: str | None
    judged_at: str | None
    pruned: bool

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def rows_of(store: Path) -> list[Row]:
    """The nights of a store, in order."""
    served, seen, rows = store / SERVED, set(), []
    versions, standing = released(served), set(versions_of(served))
    named = (served / BLESSED).exists()
    current = served_now(served)["current"] if named else None
    for day, night in nights_of(store).items():
        version = versions.get(night["content"]) if night["verdict"] == "PASS" else None
        state = "served" if version and version == current else ""
        if version and version not in standing:
            state = "withdrawn"
        folder = store / NIGHTS / day
        rows.append(
            Row(
                day=day,
                verdict=night["verdict"],
                why=tuple(night["reasons"]),
                rows=night.get("rows"),
                base=night.get("base"),
                version=version,
                state=state,
                figures=figures_of(night),
                seconds=sum((night.get("seconds") or {}).values()),
                bytes=own_bytes(folder, seen),
                left_out=night["left_out"],
                judged_at=night.get("judged_at"),
                pruned=bool(night["content"]) and not (folder / "export").exists(),
            )
        )
    return rows


def own_bytes(folder: Path, seen: set[int]) -> int:
    """Bytes of the files below a folder, but of those that were counted before.

    Args:
        folder: The folder.
        seen: Numbers of files (inodes) that count no more; those found are added.
    """
    total = 0
    for file in folder.rglob("*"):
        found = file.lstat()
        if file.is_file() and found.st_ino not in seen:
            seen.add(found.st_ino)
            total += found.st_size
    return total
