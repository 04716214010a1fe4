"""What only all rows together tell: ids that are written in two ways, days out of time.

Readers count, every file by itself; what the counts amount to is known before the first
row is final.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from steadyrank.pipeline.raw_log.columns import in_one_piece, is_text
from steadyrank.pipeline.raw_log.times import DAY_MS, shown, suspected_unit

SPELLED, DAYS = "spelled/", "day/"
PLAIN, POINT, OTHER = "plain", "point", "other"  # 107, 107.0, anything else
WHOLE = r"^-?\d+(\.0+)?$"
FIRST = 256  # values of a batch, which show most columns of texts
ZEROS = r"\.0+$"


@dataclass(frozen=True)
class Findings:
    """What the counts of all files amount to.

    Attributes:
        whole: Columns of texts which all are whole numbers, some of them as ``107.0``.
        earliest, latest: Milliseconds between which rows are in time.
        early, late: Why a row before, or after, is rejected.
        newest: The last millisecond of the last day (in UTC) of rows that are in time.
    """

    whole: frozenset[str] = frozenset()
    earliest: int = -(2**63)
    latest: int = 2**63 - 1
    early: str = ""
    late: str = ""
    newest: int = 2**63 - 1

    @classmethod
    def of(cls, counts: Mapping[str, int], data, time: str, before=None) -> "Findings":
        """Sum up.

        Args:
            counts: Of all files.
            data: A config's section.
            time: The column of times; ``""``: there is none.
            before: What ``spellings`` gave of the log that is added to.
        """
        found = spellings(counts, before)
        whole = frozenset(n for n, c in found.items() if c[POINT] and not c[OTHER])
        days = {
            int(k.removeprefix(DAYS)): n for k, n in counts.items() if k.startswith(DAYS)
        }
        if not days:
            return cls(whole)
        if data.max_gap_days is None:
            return cls(whole, newest=(max(days) + 1) * DAY_MS - 1)
        span = _span(days, data.max_gap_days, data.time_unit, time)
        return cls(whole, *span, newest=span[1])

    def in_time(self, ms: np.ndarray) -> np.ndarray:
        """Where no row is rejected for its time."""
        early = (ms < self.earliest) & bool(self.early)
        return ~(early | ((ms > self.latest) & bool(self.late)))

    def out_of_time(self, ms: np.ndarray) -> np.ndarray:
        """The reason to reject each row, or ``""``."""
        reasons = np.full(len(ms), "", object)
        reasons[ms < self.earliest] = self.early
        reasons[ms > self.latest] = self.late
        return reasons

    @property
    def all_in_time(self) -> bool:
        return not (self.early or self.late)


def _span(days: dict[int, int], most: int, unit: str, time: str):
    """The days of most rows without a gap that is too long, and what is said of others."""
    order = np.array(sorted(days))
    rows = np.array([days[day] for day in order.tolist()])
    parts = np.concatenate([[0], np.cumsum(np.diff(order) > most)])
    sizes = np.bincount(parts, rows)
    main = len(sizes) - 1 - int(np.argmax(sizes[::-1]))  # of equal ones, the latest
    own = order[parts == main]

    def said(others: np.ndarray, word: str) -> str:
        if not len(others):
            return ""
        first, last = (shown(day * DAY_MS) for day in (others[0], others[-1]))
        span = first if first == last else f"{first} to {last}"
        other = suspected_unit(int(others[0]), int(own[0]), unit)
        hint = f" (perhaps in {other}, not {unit}, as data.time_unit says)" if other else ""
        return (
            f"{time}: {span}, more than data.max_gap_days={most} {word} all other "
            f"rows{hint}"
        )

    return (
        int(own[0]) * DAY_MS,
        (int(own[-1]) + 1) * DAY_MS - 1,
        said(order[parts < main], "before"),
        said(order[parts > main], "after"),
    )


def count_days(ms: np.ndarray) -> dict[str, int]:
    """Rows by the day, in UTC."""
    if not len(ms):
        return {}
    days = ms // DAY_MS
    first = int(days.min())
    if int(days.max()) - first > len(days):  # rows that are strewn over centuries
        found, counts = np.unique(days, return_counts=True)
    else:
        counts = np.bincount(days - first)
        found = np.flatnonzero(counts)
        counts, found = counts[found], found + first
    pairs = zip(found.tolist(), counts.tolist(), strict=True)
    return {f"{DAYS}{day}": count for day, count in pairs}


def count_spellings(table: pa.Table, names: Iterable[str]) -> Counter:
    """How whole numbers are written in columns of texts.

    Where the first values are not all numbers, the column is of texts: the others are
    not looked at.
    """
    counts: Counter = Counter()
    for name in names:
        values = in_one_piece(table[name])
        if not is_text(values.type):
            continue
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        found = _spelled(values[:FIRST])
        if not found[OTHER] and len(values) > FIRST:
            found = _spelled(values)
        counts.update({f"{SPELLED}{name}/{kind}": count for kind, count in found.items()})
    return counts


def _spelled(values: pa.Array) -> dict[str, int]:
    counts = values.drop_null().value_counts()
    each, rows = counts.field("values"), counts.field("counts").to_numpy()
    whole = pc.match_substring_regex(each, WHOLE)
    pointed = pc.and_(whole, pc.match_substring(each, "."))
    wholes, points, empty = (
        int(rows[found.to_numpy(zero_copy_only=False)].sum())
        for found in (whole, pointed, pc.equal(each, ""))
    )
    others = int(rows.sum()) - wholes - empty
    return {PLAIN: wholes - points, POINT: points, OTHER: others}


def spellings(counts: Mapping[str, int], before=None) -> dict[str, dict[str, int]]:
    """Column -> how many values are written in which way.

    Args:
        counts: Of all files.
        before: The same of the log that is added to.
    """
    found: dict[str, dict[str, int]] = {}
    for key, count in counts.items():
        if key.startswith(SPELLED):
            name, _, kind = key.removeprefix(SPELLED).rpartition("/")
            found.setdefault(name, dict.fromkeys((PLAIN, POINT, OTHER), 0))[kind] += count
    for name, old in (before or {}).items():
        if name in found:
            found[name] = {kind: found[name][kind] + old[kind] for kind in found[name]}
    return found


def mixed(found: Mapping[str, dict[str, int]]) -> list[str]:
    """Columns in which some whole number may be two values: not all of it are numbers."""
    return [n for n, c in found.items() if c[PLAIN] and c[POINT] and c[OTHER]]


def as_integers(table: pa.Table, whole: Iterable[str]) -> pa.Table:
    """Some columns of texts with every whole number written in one way."""
    for name in whole:
        if name not in table.column_names or not is_text(table.schema.field(name).type):
            continue
        values = without_zeros(in_one_piece(table[name]))
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def without_zeros(values: pa.Array) -> pa.Array:
    """``107.0`` as ``107``; texts that are no whole numbers lose what looks so, too."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return pc.replace_substring_regex(values, ZEROS, "")
