"""What negatives are drawn of, where a log holds positives alone."""

import re
from dataclasses import dataclass

import numpy as np

from steadyrank.pipeline.propose.goes_with import goes_with
from steadyrank.pipeline.propose.look import Column, Sample

ITEM = re.compile(
    r"item|movie|film|video|product|article|song|track|artist|book|(^|_)(ad|doc|sku|asin|news|"
    r"content|game|app|poi|venue|listing|job|recipe)(_?id)?$",
    re.I,
)
FEWEST_ITEMS = 20
WINDOWS = {"1d": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000, "90d": 7_776_000_000}
ENOUGH_ITEMS = 50  # of a window, for a row on the average


@dataclass(frozen=True)
class Drawn:
    """What ``data.negatives`` says.

    Attributes:
        task: What is to be foretold: mostly no column of the log.
        item: The column that is drawn.
        columns: What goes with it.
        window: Of ``data.window``; None: all of the log is one.
    """

    task: str
    item: str
    columns: tuple[str, ...]
    window: str | None


def drawn_of(sample: Sample, time: Column | None, group: Column | None) -> Drawn | None:
    """What would be drawn in a log of positives; None: no column is of users, or items.

    Args:
        sample: Of the log.
        time: The column of times, if there is one.
        group: That of the users.
    """
    others = (c for c in sample.columns.values() if c is not group and c is not time)
    items = [
        c
        for c in others
        if ITEM.search(c.name)
        and c.kind in ("integer", "text")
        and FEWEST_ITEMS <= c.distinct <= 0.8 * sample.rows
    ]
    if not items or group is None:
        return None
    item = max(items, key=lambda c: (bool(re.search("id$", c.name, re.I)), c.distinct))
    own = (group.name, item.name, time.name if time else "")
    names = [name for name in sample.columns if name not in own]
    columns = goes_with({n: c.values for n, c in sample.columns.items()}, item.name, names)
    certain = [
        c.name for c in sample.columns.values() if c.kind == "integer" and c.distinct == 1
    ]
    task = next((n for n in certain if sample.columns[n].numbers.max() == 1), "chosen")
    window = _window(item, time) if time else None
    return Drawn(task, item.name, tuple(columns), window)


def _window(item: Column, time: Column) -> str | None:
    """The shortest window in which a row has items enough to be told from."""
    codes = item.values.dictionary_encode().indices.fill_null(-1).to_numpy()
    ms = time.time[1]
    for name, length in WINDOWS.items():
        window = ms // length
        pairs = np.unique(np.stack([window, codes]), axis=1)[0]
        windows, items = np.unique(pairs, return_counts=True)
        rows = np.unique(window, return_counts=True)[1]
        if np.average(items, weights=rows) >= ENOUGH_ITEMS:
            return name
    return None
